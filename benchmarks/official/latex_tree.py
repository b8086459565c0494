"""What latex2sympy2 1.9.1 makes of the parts of an expression, and what Python makes of that.

The owners let sympy write out an expression that is hardly simplified and evaluate the text: its
value is that of floating point, in the order in which sympy writes the parts. A name that Python
does not know there (``E``, ``Abs``, ``cot``, an unknown) is an error: no value.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from fractions import Fraction
from functools import reduce
from operator import add, ge, gt, le, lt, mul
from typing import Any, NamedTuple

#: Bits of the longest whole number; a longer one is no value.
MAX_BITS = 1 << 18

Number = int | float


class Unreadable(ValueError):
    """The text begins with no expression, or with one that has no value."""


class Node(NamedTuple):
    """A sum (``+``), a product (``*``), a power (``^``) or a relation (``<``, ``<=``, ...) of its
    parts; a function, by its name in Python's ``math``, or ``binomial``; ``pi``, ``tau``, ``e``;
    ``symbol``, any other unknown; ``nothing``, what has no value."""

    head: str
    parts: tuple[Expression, ...] = ()


Expression = Fraction | Node

_HALF = Fraction(1, 2)
PI, TAU, E, SYMBOL, NOTHING = map(Node, ("pi", "tau", "e", "symbol", "nothing"))


# ------------------------------------------------------------------------------------ its parts


def added(left: Expression, right: Expression) -> Expression:
    return Node("+", (*_parts("+", left), *_parts("+", right)))


def times(left: Expression, right: Expression) -> Expression:
    return Node("*", (*_parts("*", left), *_parts("*", right)))


def _parts(head: str, of: Expression) -> tuple[Expression, ...]:
    return of.parts if isinstance(of, Node) and of.head == head else (of,)


def divided(upper: Expression, lower: Expression) -> Expression:
    return Node("*", (upper, raised(lower, Fraction(-1))))


def negative(of: Expression) -> Expression:
    return -of if isinstance(of, Fraction) else times(Fraction(-1), of)


def raised(base: Expression, exponent: Expression) -> Expression:
    return Node("^", (base, exponent))


def root(degree: Expression, of: Expression) -> Expression:
    if not isinstance(degree, Fraction):
        return raised(of, raised(degree, Fraction(-1)))
    return raised(of, 1 / degree) if degree else NOTHING


def function(name: str, of: Expression, base: Expression | None) -> Expression:
    """A function by its name in Python; the base of a logarithm is 10."""
    if name == "log":
        return Node("log", (of, Fraction(10) if base is None else base))
    if name == "exp":
        return exponential(of)
    return Node(name, (of,)) if name else NOTHING


def exponential(exponent: Expression) -> Expression:
    """What sympy's ``exp`` makes of it, which takes every logarithm for a natural one."""
    if isinstance(exponent, Fraction):
        return E if exponent == 1 else Node("exp", (exponent,)) if exponent else Fraction(1)
    head, parts = exponent
    if head == "log":
        return parts[0]
    if head == "*":
        logarithms = [part for part in parts if isinstance(part, Node) and part.head == "log"]
        if len(logarithms) == 1:
            others = tuple(part for part in parts if part is not logarithms[0])
            return raised(logarithms[0].parts[0], Node("*", others))
    if head == "+":
        powers = [Node("exp", (part,)) if part == 1 else exponential(part) for part in parts]
        if any(isinstance(power, Fraction) or power.head != "exp" for power in powers):
            return Node("*", tuple(powers))
    return Node("exp", (exponent,))


def binomial(n: Expression, k: Expression) -> Expression:
    if not isinstance(k, Fraction):
        return NOTHING
    if k == 0:
        return Fraction(1)
    if k == 1:
        return n
    if k.denominator != 1:
        return Fraction(1) if n == k else NOTHING
    if not isinstance(n, Fraction):
        return Node("binomial", (n, k)) if k > 0 else Fraction(0)
    if k < 0 or (n.denominator == 1 and 0 <= n < k):
        return Fraction(0)
    whole = min(k, n - k) if n.denominator == 1 and n >= 0 else k
    _bounded(whole.numerator * (n.numerator.bit_length() + n.denominator.bit_length()))
    return _falling(n, whole.numerator)


def _falling(n: Fraction | float, k: int) -> Any:
    return reduce(mul, (n - i for i in range(k))) / math.factorial(k)


def common(name: str, of: Sequence[Expression]) -> Expression:
    """The ``gcd`` or ``lcm`` of numbers."""
    numbers = [number for number in of if isinstance(number, Fraction)]
    if len(numbers) < len(of):
        return NOTHING
    upper, lower = (math.gcd, math.lcm) if name == "gcd" else (math.lcm, math.gcd)
    return Fraction(
        upper(*(n.numerator for n in numbers)), lower(*(n.denominator for n in numbers))
    )


# ------------------------------------------------------------------------------------ its value


def value(of: Expression) -> Number:
    """What Python makes of an expression as sympy writes it. Raises ValueError, TypeError or
    ArithmeticError where that is an error, a complex number, or a whole number that is too long."""
    if isinstance(of, Fraction):
        return of.numerator if of.denominator == 1 else of.numerator / of.denominator
    head, parts = of
    if head == "+":  # written in ascending order
        return reduce(add, sorted(map(value, parts)))
    if head == "*":
        return _product(parts)
    if head == "^":
        return _power(value(parts[0]), parts[1])
    if head in ("pi", "tau"):
        return math.pi if head == "pi" else math.tau
    if head in _RELATIONS:
        return int(_RELATIONS[head](*map(value, parts)))
    if head == "factorial":
        return _factorial(value(parts[0]))
    if head == "binomial":
        n, k = value(parts[0]), value(parts[1])
        _bounded(int(k))
        return float(_falling(n, int(k)))
    if head in ("e", "symbol", "nothing"):
        raise Unreadable(f"{head} has no value")
    found: Number = getattr(math, head)(*map(value, parts))
    return found


_RELATIONS = {"<": lt, "<=": le, ">": gt, ">=": ge}


def _bounded(bits: int) -> None:
    if bits > MAX_BITS:
        raise Unreadable(f"a number of {bits} bits")


def _multiplied(factors: Iterable[Number]) -> Number:
    product: Number = 1
    for factor in factors:
        product *= factor
        if isinstance(product, int):
            _bounded(product.bit_length())
    return product


def _factorial(n: Number) -> int:
    if not isinstance(n, int):
        raise TypeError("the factorial of a broken number")
    _bounded(n * n.bit_length())
    return math.factorial(n)


def _product(parts: tuple[Expression, ...]) -> Number:
    """The numerators' product, divided by the product of what has a negative exponent. Where no
    number stands behind the first part, sympy writes a fraction in front as ``p`` and ``q``."""
    plain = parts[0] == 1 or any(map(_written_as_it_is, parts[1:]))
    upper: list[Number] = []
    lower: list[Number] = []
    for part in parts:
        if isinstance(part, Fraction) and not plain:
            upper.append(part.numerator)
            if part.denominator != 1:
                lower.append(part.denominator)
        elif isinstance(part, Node) and part.head == "^" and _below(part.parts[1]):
            lower.append(_power(value(part.parts[0]), _opposite(part.parts[1])))
        else:
            upper.append(value(part))
    product = _multiplied(upper)
    return product / _multiplied(lower) if lower else product


def _written_as_it_is(part: Expression) -> bool:
    return isinstance(part, Fraction) or (
        part.head == "^" and all(isinstance(p, Fraction) and p.denominator == 1 for p in part.parts)
    )


def _below(exponent: Expression) -> bool:
    """Whether it begins with a negative number."""
    if isinstance(exponent, Node) and exponent.head == "*":
        exponent = exponent.parts[0]
    return isinstance(exponent, Fraction) and exponent < 0


def _opposite(exponent: Expression) -> Expression:
    if isinstance(exponent, Fraction):
        return -exponent
    first, *rest = exponent.parts
    return Node("*", (_opposite(first), *rest))


def _power(base: Number, exponent: Expression) -> Number:
    """A power as sympy writes it: ``1/2`` as a root, which has no value below zero."""
    if exponent in (_HALF, -_HALF):
        root = math.sqrt(base)
        return root if exponent == _HALF else 1 / root
    if exponent == -1:
        return 1 / base
    by = value(exponent)
    if isinstance(base, int) and isinstance(by, int) and by > 0:
        _bounded(base.bit_length() * by)
    found = base**by
    if isinstance(found, complex):
        raise TypeError("a complex number")
    return found
