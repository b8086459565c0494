r"""The value of a plain LaTeX expression: ``\frac{3\sqrt{2}}{4}-2\pi``.

Nearly every formula that models answer with is one of these, and a parser of all of LaTeX takes
thousands of times as long to say the same. A rational value is exact, any other a float. What could
be read in two ways (``1/2\pi``) and what floating point cannot tell reliably has no value here.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from fractions import Fraction

Value = Fraction | float

#: Numbers of more bits than this are left to others.
MAX_BITS = 8192
#: So deep may brackets, roots and powers be nested.
MAX_DEPTH = 24
#: A sum whose parts are so many times as large as it is has lost its digits.
_CANCELLED = 1e7

_TOKEN = re.compile(
    r"""\s*(?:
    (?P<mixed>\d{1,9}(?:\s?\\frac\s?\{\s?\d{1,9}\s?\}\s?\{\s?\d{1,9}\s?\}
             |\s\d{1,9}\s?/\s?\d{1,9}(?![\d./])))
    |(?P<repeating>\d{0,20}\.\d{0,20}(?:\\(?:overline|bar|dot)\s?\{\d{1,20}\}|\(\d{1,20}\)))
    |(?P<spaced>\d{1,3}(?:[ ]\d{3})+(?![\d/]|[ ]\d)(?:\.\d+)?)
    |(?P<plain>(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d{1,4}(?!\w))?)
    |(?P<sign>\\(?:sqrt|frac|binom|pi|times|cdot)(?![a-zA-Z])|\S))""",
    re.ASCII | re.VERBOSE,
)
_INTEGERS = re.compile(r"\d+")
_TIMES = ("*", r"\times", r"\cdot")
#: What may stand behind a factor without a sign of multiplication between them. A parenthesis only
#: where no space divides it from what it multiplies: ``12 (twelve)`` is no product.
_JOINED = (r"\sqrt", r"\pi", r"\frac")


def value(latex: str) -> Value | None:
    """What an expression of numbers, roots, fractions, powers and pi comes to; None for any other
    text."""
    found = prefix(latex)
    return found[0] if found is not None and not latex[found[1] :].strip() else None


def prefix(latex: str) -> tuple[Value, int] | None:
    """The value of the longest expression that a text begins with, and where that ends; None where
    it begins with none."""
    reader = _Reader(latex)
    try:
        found = reader.sum()
    except (ValueError, ArithmeticError):
        return None
    if isinstance(found, float):
        lost = reader.largest >= _CANCELLED * max(1.0, abs(found))
        if lost or not math.isfinite(found):
            return None
    return found, reader.end


class _Reader:
    """Recursive descent. Raises ValueError where the text is no such expression."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.end = 0
        self.depth = 0
        self.largest = 0.0
        self.next()

    def next(self) -> None:
        """Look at the token behind ``end``."""
        match = _TOKEN.match(self.text, self.end)
        self.kind = match.lastgroup if match else None
        self.token = match[self.kind] if match and self.kind else ""
        self.behind = match.end() if match else self.end

    def take(self, *wanted: str) -> str:
        """The token if it is one of these, else the empty string."""
        token = self.token
        if self.kind != "sign" or token not in wanted:
            return ""
        self.end = self.behind
        self.next()
        return token

    def need(self, token: str) -> None:
        if not self.take(token):
            raise ValueError(f"expected {token}")

    def nested(self, closing: str) -> Value:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise ValueError("too deep")
        inner = self.sum()
        self.need(closing)
        self.depth -= 1
        return inner

    def braced(self) -> Value:
        self.need("{")
        return self.nested("}")

    def sum(self) -> Value:
        sign = self.take("+", "-")
        total = self.product()
        if sign == "-":
            total = -total
        while sign := self.take("+", "-"):
            part = self.product()
            added = total + part if sign == "+" else total - part
            if isinstance(added, float):
                self.largest = max(self.largest, abs(float(total)), abs(float(part)))
            total = bounded(added)
        return total

    def product(self) -> Value:
        total, divided, integer = self.power(), False, self.integer
        while True:
            if self.take(*_TIMES):
                total = bounded(total * self.power())
            elif self.take("/"):
                total, divided = bounded(total / self.power()), True
            elif self.joined(integer) and not divided:
                before = self.end
                try:
                    total = bounded(total * self.power())
                except ValueError:  # "5(units)": what stands there is no factor
                    self.end = before
                    self.next()
                    return total
            else:
                return total
            integer = self.integer

    def joined(self, integer: bool) -> bool:
        """Whether the token is a factor without a sign before it. A fraction behind an integer may
        be a mixed number's."""
        if self.token == "(":
            return self.text[self.end : self.end + 1] == "("
        return self.token in _JOINED and not (integer and self.token == r"\frac")

    def power(self) -> Value:
        base = self.atom()
        if self.take("!"):
            base = _factorial(base)
        if not self.take("^"):
            return base
        self.integer = False
        exponent = self.braced() if self.token == "{" else self.plain()
        if self.token in ("^", "!"):
            raise ValueError("a power of a power")
        return bounded(_power(base, exponent))

    def plain(self) -> Value:
        """An exponent without braces: its sign and its digits."""
        negative = bool(self.take("-"))
        if self.kind != "plain":
            raise ValueError("no exponent")
        exponent = self.number()
        return -exponent if negative else exponent

    def atom(self) -> Value:
        self.integer = False
        if self.kind != "sign":
            self.integer = self.kind == "plain" and bool(_INTEGERS.fullmatch(self.token))
            return self.number()
        if self.token == "{":
            return self.braced()
        if self.take("("):
            return self.nested(")")
        if self.take(r"\pi"):
            return math.pi
        if self.take(r"\sqrt"):
            index = self.nested("]") if self.take("[") else Fraction(2)
            found = _power(self.braced(), Fraction(1) / Fraction(index))
        elif self.take(r"\frac"):
            found = self.braced() / self.braced()
        elif self.take(r"\binom"):
            found = _binomial(self.braced(), self.braced())
        else:
            raise ValueError(self.token)
        self.integer = False
        return bounded(found)

    def number(self) -> Fraction:
        if self.kind is None:
            raise ValueError("the end")
        found = _NUMBERS[self.kind](self.token)
        bounded(found)
        self.end = self.behind
        self.next()
        return found


def _plain(token: str) -> Fraction:
    mantissa, _, exponent = token.lower().partition("e")
    if len(mantissa) > 2000 or len(exponent) > 4:
        raise ValueError("too long")
    return Fraction(mantissa.rstrip(".")) * Fraction(10) ** int(exponent or 0)


def _mixed(token: str) -> Fraction:
    whole, above, below = map(int, _INTEGERS.findall(token))
    if not 0 < above < below:
        raise ValueError("no mixed number")
    return whole + Fraction(above, below)


def _repeating(token: str) -> Fraction:
    digits = re.findall(r"\d+", token.partition(".")[2])
    before, period = ("", digits[0]) if len(digits) == 1 else digits
    start = Fraction(f"{token.partition('.')[0] or 0}.{before or 0}")
    return start + Fraction(int(period), 10 ** len(before) * (10 ** len(period) - 1))


_NUMBERS: dict[str, Callable[[str], Fraction]] = {
    "mixed": _mixed,
    "repeating": _repeating,
    "spaced": lambda token: _plain(token.replace(" ", "")),
    "plain": _plain,
}


def bounded(number: Value) -> Value:
    """The number, where it is small enough to go on with."""
    if isinstance(number, Fraction):
        if max(number.numerator.bit_length(), number.denominator.bit_length()) > MAX_BITS:
            raise ValueError("too large")
    elif not math.isfinite(number):
        raise ValueError("not finite")
    return number


def _factorial(base: Value) -> Fraction:
    if not isinstance(base, Fraction) or base.denominator != 1 or not 0 <= base <= 500:
        raise ValueError("no factorial")
    return Fraction(math.factorial(int(base)))


def _binomial(above: Value, below: Value) -> Fraction:
    if any(not isinstance(n, Fraction) or n.denominator != 1 for n in (above, below)):
        raise ValueError("no binomial coefficient")
    if not 0 <= below <= above <= 1000:
        raise ValueError("no binomial coefficient")
    return Fraction(math.comb(int(above), int(below)))


def _power(base: Value, exponent: Value) -> Value:
    """Exact where base and result are rational."""
    if not isinstance(base, Fraction) or not isinstance(exponent, Fraction):
        if base < 0:
            raise ValueError("not real")
        return float(base) ** float(exponent)
    above, below = exponent.numerator, exponent.denominator
    small = abs(above) * max(p.bit_length() for p in base.as_integer_ratio()) <= 2 * MAX_BITS
    if below == 1:
        if not small:
            raise ValueError("too large")
        return base**above
    if base < 0:
        if below % 2 == 0 or above != 1:
            raise ValueError("not real, or one of several roots")
        return -_power(-base, exponent)
    root, divisor = (_root(part, below) for part in base.as_integer_ratio())
    if not small or root is None or divisor is None:
        return float(base) ** float(exponent)
    return Fraction(root, divisor) ** above


def _root(number: int, degree: int) -> int | None:
    """The integer whose ``degree``-th power a number is; None where there is none."""
    if degree == 2:
        root = math.isqrt(number)
    elif degree > 64 or number.bit_length() > 1000:
        return number if number in (0, 1) else None
    else:
        root = round(number ** (1 / degree))
    return root if root**degree == number else None
