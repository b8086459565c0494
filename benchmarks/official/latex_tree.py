"""What latex2sympy2 1.9.1 makes of the parts of an expression, and how sympy writes that out.

Next to nothing is simplified. The text is what the owners evaluate as Python, so its oddities are
theirs: ``-pi/1/20`` for minus pi over a twentieth.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from functools import cache
from typing import Any, NamedTuple

from benchmarks.official.latex_values import chosen


class Node(NamedTuple):
    """A sum (``+``), a product (``*``), a power (``**``) or a relation (``<``, ``<=``, ...) of its
    parts; else a function or a name, as Python knows it if at all."""

    head: str
    parts: tuple[Expression, ...] = ()


Expression = Fraction | Node

PI, TAU = Node("pi"), Node("tau")
#: Names that Python does not know: there is no value where they are written.
E, SYMBOL, NOTHING = Node("E"), Node("symbol"), Node("nothing")

_HALF = Fraction(1, 2)
_RELATIONS = ("<", "<=", ">", ">=")
#: The order of factors: numbers, names, products, sums, powers, functions.
_NUMBER = (1, 0, "")
_ORDER = {"*": (3, 0), "+": (3, 1), "**": (3, 2), "exp": (4, 10), "log": (4, 11)} | {
    name: (4, 20 + n) for n, name in enumerate(("sin", "cos", "tan"))
}
#: What binds tighter is larger.
_RELATION, _SUM, _PRODUCT, _POWER, _ATOM = range(5)


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
    return Node("**", (base, exponent))


def root(degree: Expression, of: Expression) -> Expression:
    if isinstance(degree, Fraction):
        return raised(of, 1 / degree) if degree else NOTHING
    return raised(of, raised(_powered(degree), Fraction(-1)))


def _powered(base: Expression) -> Expression:
    """A base that sympy simplifies: it knows only a power of ``e`` by a name that Python has."""
    if base == E:
        return Node("exp", (Fraction(1),))
    if isinstance(base, Fraction) or base.head not in ("*", "**"):
        return base
    first, *others = base.parts
    if base.head == "**":
        return Node("**", (_powered(first), *others))
    return Node("*", tuple(map(_powered, base.parts)))


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
    """Computed by sympy where ``k`` is a whole number that stands there as such."""
    if not isinstance(k, Fraction) or k.denominator != 1:
        return NOTHING
    if k < 2:
        return n if k == 1 else Fraction(int(k == 0))
    return chosen(n, k.numerator) if isinstance(n, Fraction) else Node("binomial", (n, k))


# ------------------------------------------------------------------------------ how it is written


def written(of: Expression, value: Callable[[str], float]) -> str:
    """The text that sympy writes. It puts the parts of a sum in ascending order: ``value`` is that
    of what is written of a part, and its errors are passed on."""
    return _Writer(value).text(of)


class _Writer:
    def __init__(self, value: Callable[[str], float]) -> None:
        self.value = cache(value)
        self.node = cache(self._node)
        self.rank = cache(self._rank)

    def text(self, of: Expression, least: int = _RELATION) -> str:
        """In parentheses where it binds less than ``least``."""
        inner = str(of) if isinstance(of, Fraction) else self.node(*of)
        return f"({inner})" if _binds(of) < least else inner

    def _node(self, head: str, parts: tuple[Expression, ...]) -> str:
        if head == "+":
            return " + ".join(map(self.text, self.terms(parts)))
        if head == "*":
            return self.product(parts)
        if head == "**":
            return self.power(*parts)
        if head in _RELATIONS:
            return f" {head} ".join(self.text(part, _SUM) for part in parts)
        return f"{head}({', '.join(map(self.text, parts))})" if parts else head

    def terms(self, parts: tuple[Expression, ...]) -> Sequence[Expression]:
        if len(parts) == 2:
            return parts
        return sorted(parts, key=lambda part: self.value(self.text(part)))

    def _rank(self, of: Expression) -> tuple[Any, ...]:
        """What sympy sorts the factors of a product by."""
        if isinstance(of, Fraction):
            return _NUMBER, (0, ()), (), of
        coefficient = Fraction(1)
        power: Expression = Fraction(1)
        if of.head == "*" and isinstance(of.parts[0], Fraction):
            coefficient, others = of.parts[0], of.parts[1:]
            of = Node("*", others) if len(others) > 1 else others[0]
        if isinstance(of, Node) and of.head == "**":
            of, power = of.parts
        if isinstance(of, Fraction):
            return _NUMBER, (1, (str(of),)), self.rank(power), coefficient
        parts = of.parts
        if of.head == "+":
            parts = tuple(self.terms(parts))
        ranks = tuple(map(self.rank, parts))
        ranks = tuple(sorted(ranks)) if of.head == "*" else ranks
        kind = _ORDER.get(of.head, (4, 10_000) if parts else (2, 0))
        named = (len(ranks), ranks) if parts else (1, (of.head,))
        return (*kind, of.head), named, self.rank(power), coefficient

    def power(self, base: Expression, exponent: Expression) -> str:
        if exponent in (_HALF, -_HALF):
            return ("" if exponent == _HALF else "1/") + f"sqrt({self.text(base)})"
        if exponent == -1:
            return f"1/{self.text(base, _ATOM)}"
        return f"{self.text(base, _ATOM)}**{self.text(exponent, _ATOM)}"

    def product(self, parts: tuple[Expression, ...]) -> str:
        """A quotient. Sympy puts its parts in parentheses as the whole needs them: a negative one,
        which binds less, has none around a product or a fraction below the line."""
        least = _binds(Node("*", parts)) + 1
        if parts[0] == 1 or any(map(_numeric, parts[1:])):
            return self.plain_product(parts, least)
        first, *others = parts
        if len(others) == 1 and isinstance(first, Fraction) and first < 0 and first != -1:
            others = [_powered(other) if _head(other) == "**" else other for other in others]
        above, below, sign = [], [], ""
        for part in sorted((first, *others), key=self.rank):
            divisor = _below(part)
            if isinstance(part, Fraction):
                upper, lower = abs(part.numerator), part.denominator
                above += [str(upper)] * (upper != 1)
                below += [str(lower)] * (lower != 1)
                sign = "-" if part < 0 else ""
            elif divisor is None:
                above.append(self.text(part, least))
            else:
                text = self.text(divisor, least)
                composed = part.parts[1] == -1 and _head(divisor) in ("*", "**")
                below.append(f"({text})" if composed else text)
        return sign + _quotient(above or ["1"], below)

    def plain_product(self, parts: tuple[Expression, ...], least: int) -> str:
        """One with a number behind its first part: all parts in their order."""
        upper = [part for part in parts if _below(part) is None]
        lower = [part for part in map(_below, parts) if part is not None]
        above = [self.text(part, least) for part in upper] or ["1"]
        below = [self.text(part, least) for part in lower]
        if upper and _negative(upper[0]) and _head(upper[0]) != "+":
            above[0] = self.text(upper[0])
        if len(lower) > 1 and _negative(lower[0]):
            below[0] = self.text(lower[0])
        return _quotient(above, below)


def _quotient(above: list[str], below: list[str]) -> str:
    divisor = "*".join(below)
    return "*".join(above) + (f"/({divisor})" if len(below) > 1 else f"/{divisor}" if below else "")


def _head(of: Expression) -> str:
    return of.head if isinstance(of, Node) else ""


def _binds(of: Expression) -> int:
    if isinstance(of, Fraction):
        return _SUM if of < 0 else _PRODUCT if of.denominator != 1 else _ATOM
    if of.head == "*":
        return _SUM if _negative(of) else _PRODUCT
    if of.head in _RELATIONS:
        return _RELATION
    return {"+": _SUM, "**": _POWER}.get(of.head, _ATOM)


def _negative(of: Expression) -> bool:
    """Whether sympy sees a minus in front of it."""
    if isinstance(of, Fraction):
        return of < 0
    if of.head == "*":
        return isinstance(of.parts[0], Fraction) and of.parts[0] < 0
    return of.head == "+" and 2 * sum(map(_negative, of.parts)) > len(of.parts)


def _numeric(part: Expression) -> bool:
    return isinstance(part, Fraction) or (
        part.head == "**"
        and all(isinstance(p, Fraction) and p.denominator == 1 for p in part.parts)
    )


def _below(part: Expression) -> Expression | None:
    """What is written below the line for a power with a negative exponent."""
    if not isinstance(part, Node) or part.head != "**":
        return None
    base, exponent = part.parts
    if _head(exponent) == "+" or not _negative(exponent):
        return None
    if isinstance(exponent, Fraction):
        return base if exponent == -1 else raised(base, -exponent)
    first, *others = exponent.parts
    return raised(base, Node("*", (negative(first), *others)))
