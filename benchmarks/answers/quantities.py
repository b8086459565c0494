from __future__ import annotations

import re
from fractions import Fraction

from benchmarks.answers import arithmetic
from benchmarks.answers.equality import normalise, rational
from benchmarks.answers.numerals import numbers
from benchmarks.answers.prose import plain


def compute(text: str) -> Fraction | float | None:
    r = rational(text)
    if r is not None:
        return r
    if "=" in text:
        return compute(text.rpartition("=")[2])
    v = arithmetic.value(normalise(text))
    if v is not None:
        return v
    t = re.sub(r"\\text\s?\{([^{}]*)\}", r" \1 ", text).replace("\\$", "").replace("$", "")
    m = list(numbers(plain(t)))
    if (
        len(m) == 1
        and re.fullmatch(r"\s*(?:[A-Za-z]+:)?\s*", t[: m[0].start])
        and re.fullmatch(
            r"\s*[a-zA-Z]*\s*[a-zA-Z]*\.?|[€°%度元]|\s?平?方?厘米", t[m[0].end :].strip()
        )
    ):
        return m[0].value
    if len(m) == 2 and m[0].value == m[1].value:
        return m[0].value
    return None
