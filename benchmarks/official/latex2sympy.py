r"""What the owners' parser, latex2sympy2 1.9.1, makes of a text, without evaluating it: the value
that ``round(eval(str(latex2sympy(text))), 2)`` has.

The parser reads the expression at the beginning and leaves alone what cannot follow: ``5 trees`` is
5. A character that none of its tokens begins with, or a sign that promises more than comes, ends
it: ``36^{\circ}`` and ``3+`` have no value, nor has an unknown, a list, an equation, a modulus
(``|-3|``), a natural logarithm or a complex number.

Some that have a value there have none here, since nobody answers with them: determinants and norms
of matrices, the value of an expression at a place (``x^2|_{x=3}``), common divisors and multiples,
the largest of one number, binomial coefficients below of anything but a whole number, roots of a
degree in ``e``. Nor has what takes forever there: whole numbers of more than 2^18 bits. An unknown
that is assigned (``x=3``) is what it is assigned, as in a new process of the owners: theirs forgets
how to do that once it has read a differential.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from fractions import Fraction

from benchmarks.official import latex_tree as tree
from benchmarks.official.latex_tokens import (
    ATOMS,
    CLOSERS,
    END,
    FLOORS,
    FUNCTIONS,
    PLAIN_STARTS,
    SIDES,
    STARTS,
    Token,
    tokens,
)
from benchmarks.official.latex_tree import Expression
from benchmarks.official.latex_values import Unreadable, evaluated

#: Parentheses and the like in one another.
MAX_DEPTH = 40

_REWRITTEN = (
    ("\\dfrac", "\\frac"), ("\\tfrac", "\\frac"), ("\\mathrm{d}", "d"), ("{\\rm d}", "d"),
)  # fmt: skip
_SPACES = ("\\displaystyle", "\\quad", "\\qquad", "~", "\\,", "$")
#: ``(5)_{2}``: the number of ways to put two of five in a row.
_ARRANGEMENTS = re.compile(r"\(([a-zA-Z0-9+\-*/\\ ]++)\)_\{([a-zA-Z0-9+\-*/\\ ]++)\}")


def value(text: str) -> int | float | None:
    """The value of a text in lower case, rounded to two decimals; None where it has none."""
    try:
        return round(evaluated(tree.written(read(text), evaluated)), 2)
    except (ValueError, TypeError, ArithmeticError, SyntaxError, MemoryError, RecursionError):
        return None


def read(text: str) -> Expression:
    """The expression at the beginning of a text in lower case. Raises ValueError where there is
    none, or one that has no value."""
    for old, new in _REWRITTEN:
        text = text.replace(old, new)
    text = _ARRANGEMENTS.sub(r"\\frac{(\1)!}{((\1)-(\2))!}", text)
    for old in _SPACES:
        text = text.replace(old, " ")
    return _Reader(tokens(text)).relation()


class _Reader:
    """Recursive descent by one token ahead, which ends before the first that cannot follow."""

    def __init__(self, found: Iterator[Token]) -> None:
        self.found = found
        self.ahead: list[Token] = []
        self.depth = 0

    def look(self, n: int = 0) -> Token:
        """The token that is so many after the next."""
        while len(self.ahead) <= n:
            self.ahead.append(next(self.found, END))
        return self.ahead[n]

    @property
    def kind(self) -> str:
        """The kind of the next token. Raises :class:`Unreadable` where none begins."""
        kind = self.look().kind
        if kind == "error":
            raise Unreadable("no token begins here")
        return kind

    def next(self, *kinds: str) -> str:
        """The text of the next token, which is of one of these kinds."""
        if self.kind not in kinds:
            raise Unreadable(f"expected {' or '.join(kinds)}, not {self.kind}")
        return self.ahead.pop(0).text

    def take(self, *kinds: str) -> str:
        """The kind of the next token if it is one of these; else empty."""
        return self.ahead.pop(0).kind if self.kind in kinds else ""

    def nested(self, part: Callable[[], Expression]) -> Expression:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise Unreadable(f"more than {MAX_DEPTH} deep")
        found = part()
        self.depth -= 1
        return found

    # ------------------------------------------------------------------------- from the loosest

    def relation(self) -> Expression:
        left = self.sum()
        while operator := self.take("<", "<=", ">", ">=", "=", "relation"):
            right = self.sum()
            if operator in ("=", "relation"):
                if operator == "relation" or left not in (tree.SYMBOL, tree.TAU):
                    raise Unreadable("an equation")
                left = right
            else:
                left = tree.Node(operator, (left, right))
        if self.kind in (",", ";"):
            raise Unreadable("a list")
        return left

    def sum(self) -> Expression:
        left = self.product()
        while operator := self.take("+", "-"):
            right = self.product()
            left = tree.added(left, right if operator == "+" else tree.negative(right))
        return left

    def product(self, starts: frozenset[str] = STARTS) -> Expression:
        left = self.signed(starts)
        while operator := self.take("*", "/", "mod"):
            right = self.signed(starts)
            if operator == "*":
                left = tree.times(left, right)
            else:
                left = tree.divided(left, right) if operator == "/" else tree.NOTHING
        return left

    def signed(self, starts: frozenset[str]) -> Expression:
        minuses = 0
        while sign := self.take("+", "-"):
            minuses += sign == "-"
        found = self.joined(starts)
        for _ in range(minuses):
            found = tree.negative(found)
        return found

    def joined(self, starts: frozenset[str]) -> Expression:
        """The product of operands side by side; all but the first begin with one of ``starts``."""
        operands = [self.operand()]
        while self.kind in starts:
            operands.append(self.operand())
        found = operands.pop()
        while operands:
            found = tree.times(operands.pop(), found)
        return found

    def operand(self) -> Expression:
        """A power, and the signs of factorials and transposition behind it."""
        found = self.power()
        while sign := self.take("!", "transpose"):
            if sign == "!":
                found = tree.Node("factorial", (found,))
        return found

    def power(self) -> Expression:
        natural = self.kind == "e"
        found = self.component()
        while self.take("^"):
            exponent = self.exponent()
            if self.kind == "_":
                self.index()
                natural = False
            found = tree.exponential(exponent) if natural else tree.raised(found, exponent)
            natural = False
        return found

    def exponent(self) -> Expression:
        return self.braced() if self.kind == "{" else self.nested(self.atom)

    def index(self) -> Expression:
        """What stands below. Of several: nothing."""
        self.next("_")
        if not self.take("{"):
            return self.nested(self.atom)
        found = self.nested(self.sum)
        while self.take(","):
            self.nested(self.sum)
            found = tree.NOTHING
        self.next("}")
        return found

    def braced(self) -> Expression:
        self.next("{")
        found = self.nested(self.sum)
        self.next("}")
        return found

    # --------------------------------------------------------------------------- to the tightest

    def component(self) -> Expression:
        kind = self.kind
        if kind in ATOMS:
            return self.atom()
        if kind in CLOSERS or kind == "side":
            return self.group()
        text = self.next("\\frac", "binomial", "\\sqrt", "function", "\\operatorname", "e")
        if kind == "\\frac":
            return tree.divided(self.braced(), self.braced())
        if kind == "binomial":
            return tree.binomial(self.braced(), self.braced())
        if kind == "\\sqrt":
            return self.root()
        if kind == "function":
            return self.function(text[1:])
        return self.operator() if kind == "\\operatorname" else tree.E

    def atom(self) -> Expression:
        kind = self.kind
        text = self.next(*ATOMS)
        if kind == "number":
            return Fraction(text.replace(",", ""))
        if kind == "percent":
            return Fraction(text[:-2].replace(",", "")) / 100
        if kind == "pi":
            return tree.PI
        if kind == "nothing":
            return tree.NOTHING
        if kind == "accent":
            self.braced()
        if self.kind == "_":
            self.index()
            return tree.SYMBOL
        return tree.TAU if kind == "tau" and not self.called() else tree.SYMBOL

    def called(self) -> bool:
        """Whether parentheses around one token follow, as behind the name of a function."""
        opener, _, closer = (self.look(n).text for n in range(3))
        return opener in ("(", "[") and closer in (")", "]")

    def group(self) -> Expression:
        side = SIDES[self.next("side")] if self.kind == "side" else ""
        opener = self.next(*CLOSERS)
        found = self.nested(self.sum)
        if opener == "{" and not side and self.take("\\choose"):
            found = tree.binomial(found, self.nested(self.sum))
        if side:
            self.next(side)
        self.next(CLOSERS[opener])
        return tree.Node("floor", (found,)) if opener in FLOORS else found

    def root(self) -> Expression:
        degree: Expression = Fraction(2)
        if self.take("["):
            degree = self.nested(self.sum)
            self.next("]")
        return tree.root(degree, self.braced())

    # ----------------------------------------------------------------------------- its functions

    def operator(self) -> Expression:
        self.next("{")
        name = self.next("name")
        self.next("}")
        if name not in FUNCTIONS:
            raise Unreadable(f"{name} of what is no matrix")
        return self.function(name, inverts=False)

    def function(self, name: str, inverts: bool = True) -> Expression:
        """A function behind its name. ``inverts``: the power -1 is the inverse function."""
        base: Expression | None = None
        power: Expression | None = None
        while self.kind in ("_", "^"):
            if base is None and self.kind == "_":
                base = self.index()
            elif power is None and self.take("^"):
                power = self.exponent()
            else:
                break
        argument = self.argument()
        if power == -1 and inverts and f"arc{name}" in FUNCTIONS:
            name, power = f"arc{name}", None
        if name == "ln" and base is None:
            base = tree.E
        found = tree.function(FUNCTIONS[name], argument, base)
        return found if power is None or power == 0 else tree.raised(found, power)

    def argument(self) -> Expression:
        sided = self.kind == "side"
        if self.look(int(sided)).kind != "(":
            return self.nested(lambda: self.product(PLAIN_STARTS))
        side = SIDES[self.next("side")] if sided else ""
        self.next("(")
        found = self.nested(self.sum)
        # the other side may be left out
        if not self.take(side or "\\right") and not side:
            self.take("\\mright")
        self.next(")")
        return found
