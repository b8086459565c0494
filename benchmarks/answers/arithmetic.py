r"""The value of a plain LaTeX expression: ``\frac{3\sqrt{2}}{4}-2\pi``.

Nearly every formula that models answer with is one of these, and a parser of all of LaTeX takes
thousands of times as long to say the same. What could be read in two ways (``1/2\pi``, ``2^12``,
``2\frac{1}{2}``) and what floating point cannot tell reliably has no value here.
"""

from __future__ import annotations

import math
import re

_TOKEN = re.compile(
    r"\s*(\d+(?:\.\d+)?|\\(?:sqrt|frac|pi|times|cdot)(?![a-z])|[-+*/:^(){}]|\S)", re.ASCII
)
_TIMES = ("*", r"\times", r"\cdot")
#: What may stand behind a factor without a sign of multiplication between them. No parenthesis:
#: ``3(4)`` and ``\pi(2)`` are a product, a mixed number or a function's value.
_JOINED = (r"\sqrt", r"\pi")
#: A sum whose parts are so many times as large as it is has lost its digits.
_CANCELLED = 1e7


def value(latex: str) -> float | None:
    """What an expression of numbers, roots, fractions, powers and pi comes to; None for any
    other text."""
    reader = _Reader(_TOKEN.findall(latex))
    try:
        found = reader.sum()
    except (ValueError, ArithmeticError, IndexError):
        return None
    if reader.tokens[reader.at :] != [""] or not math.isfinite(found):
        return None
    return found if reader.largest < _CANCELLED * max(1.0, abs(found)) else None


class _Reader:
    """Recursive descent over the tokens, an empty one behind the last. Raises ValueError where the
    text is no such expression."""

    def __init__(self, tokens: list[str]) -> None:
        self.tokens = [*tokens, ""]
        self.at = 0
        self.largest = 0.0

    def take(self, *wanted: str) -> str:
        """The next token if it is one of these, else the empty string."""
        token = self.tokens[self.at]
        if token not in wanted:
            return ""
        self.at += 1
        return token

    def need(self, token: str) -> None:
        if not self.take(token):
            raise ValueError(f"expected {token}")

    def sum(self) -> float:
        sign = self.take("+", "-")
        total = -self.product() if sign == "-" else self.product()
        while sign := self.take("+", "-"):
            part = self.product()
            self.largest = max(self.largest, abs(total), abs(part))
            total += part if sign == "+" else -part
        return total

    def product(self) -> float:
        total, divided = self.power(), False
        while True:
            if self.take(*_TIMES):
                total *= self.power()
            elif self.take("/", ":"):
                total, divided = total / self.power(), True
            elif self.tokens[self.at] in _JOINED and not divided:
                total *= self.power()
            else:
                return total

    def power(self) -> float:
        base = self.atom()
        if not self.take("^"):
            return base
        exponent = self.braced() if self.tokens[self.at] == "{" else self.digit()
        if base < 0 or self.tokens[self.at] == "^":
            raise ValueError("not read here")
        return float(base**exponent)

    def digit(self) -> float:
        token = self.tokens[self.at]
        if not re.fullmatch(r"\d", token, re.ASCII):
            raise ValueError("an exponent without braces")
        self.at += 1
        if not token.isascii():  # other digits are none to a parser of LaTeX
            raise ValueError(token)
        return float(token)

    def braced(self) -> float:
        self.need("{")
        inner = self.sum()
        self.need("}")
        return inner

    def atom(self) -> float:
        token = self.tokens[self.at]
        if token == "{":
            return self.braced()
        self.at += 1
        if token == "(":
            inner = self.sum()
            self.need(")")
            return inner
        if token == r"\pi":
            return math.pi
        if token == r"\sqrt":
            return math.sqrt(self.braced())
        if token == r"\frac":
            return self.braced() / self.braced()
        if not token.isascii():  # other digits are none to a parser of LaTeX
            raise ValueError(token)
        return float(token)
