"""What Python makes of an expression that sympy has written, without running it."""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable
from fractions import Fraction
from typing import Any, TypeVar

Number = int | float

#: No whole number has more bits.
MAX_BITS = 1 << 18
#: No binomial coefficient of a broken number has more factors, or is of one with more bits.
MAX_FACTORS = 100


class Unreadable(ValueError):
    """A text begins with no expression, or with one that has no value within the limits."""


_CONSTANTS = {"pi": math.pi, "tau": math.tau}
_NAMES = "sqrt exp log sin cos tan asin acos atan sinh cosh tanh asinh acosh atanh floor"
_FUNCTIONS: dict[str, Callable[..., Number]] = {
    name: getattr(math, name) for name in _NAMES.split()
}
_OPERATORS: dict[type[ast.AST], Callable[[Any, Any], Number]] = {
    ast.Add: operator.add,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}


def evaluated(text: str) -> Number:
    """The value of an expression of numbers, names and functions of Python's ``math``.

    Raises ValueError, TypeError, ArithmeticError or SyntaxError where Python does, where a name is
    none of Python's, a number is complex, or a whole one is longer than :data:`MAX_BITS`.
    """
    return _value(ast.parse(text, mode="eval").body)


def _value(node: ast.AST) -> Number:
    match node:
        case ast.Constant(value=int() as number):
            return number
        case ast.Name(id=name) if name in _CONSTANTS:
            return _CONSTANTS[name]
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_value(operand)
        case ast.BinOp(left=left, op=ast.Pow(), right=right):
            return _power(_value(left), _value(right))
        case ast.BinOp(left=left, op=op, right=right):
            return _bounded(_OPERATORS[type(op)](_value(left), _value(right)))
        case ast.Compare(left=left, ops=[op], comparators=[right]):
            return int(_OPERATORS[type(op)](_value(left), _value(right)))
        case ast.Call(func=ast.Name(id="factorial"), args=[of]):
            return _factorial(_value(of))
        case ast.Call(func=ast.Name(id="binomial"), args=[of, ast.Constant(value=int() as k)]):
            n = _value(of)
            return chosen(n, k) if isinstance(n, float) else chosen(Fraction(n), k).numerator
        case ast.Call(func=ast.Name(id=name), args=arguments) if name in _FUNCTIONS:
            return _FUNCTIONS[name](*map(_value, arguments))
    raise Unreadable(f"no number: {ast.unparse(node)}")


def _bounded(number: Number) -> Number:
    if isinstance(number, int) and number.bit_length() > MAX_BITS:
        raise Unreadable(f"a number of {number.bit_length()} bits")
    return number


def _power(base: Number, exponent: Number) -> Number:
    whole = isinstance(base, int) and isinstance(exponent, int)
    if whole and int(base).bit_length() * exponent > MAX_BITS:
        raise Unreadable("a power of too many bits")
    found = base**exponent
    if isinstance(found, complex):
        raise TypeError("a complex number")
    return found


def _factorial(of: Number) -> int:
    if not isinstance(of, int):
        raise TypeError("the factorial of a broken number")
    if of * of.bit_length() > MAX_BITS:
        raise Unreadable("a factorial of too many bits")
    return math.factorial(of)


_Base = TypeVar("_Base", Fraction, float)


def chosen(n: _Base, k: int) -> _Base:
    """The binomial coefficient of ``n`` over a natural number."""
    if isinstance(n, Fraction) and n.denominator == 1 and n >= 0:
        k = min(k, n.numerator - k)
        if k * n.numerator.bit_length() > MAX_BITS:
            raise Unreadable("a binomial coefficient of too many bits")
        return Fraction(math.comb(n.numerator, k) if k >= 0 else 0)
    bits = n.denominator.bit_length() if isinstance(n, Fraction) else 0
    if max(k, bits) > MAX_FACTORS:
        raise Unreadable("a binomial coefficient of too many factors or bits")
    found = n
    for i in range(1, k):
        found = found * (n - i) / (i + 1)
    return found
