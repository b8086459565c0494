"""Numbers in prose: all that a text holds, and the one that a response settles on."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

from .prose import REFUSAL, by_weight, plain, sentences

_DIGITS = "one|two|three|four|five|six|seven|eight|nine"
_TEENS = "ten|eleven|twelve|thirteen|fourteen|fifteen|sixteen|seventeen|eighteen|nineteen"
_TENS = "twenty|thirty|forty|fifty|sixty|seventy|eighty|ninety"
_WORDS = {word: n for n, word in enumerate(f"zero|{_DIGITS}|{_TEENS}".split("|"))}
_WORDS |= {word: 10 * n for n, word in enumerate(_TENS.split("|"), 2)}
_WORD_NUMBER = (
    rf"(?:(?:{_TENS})[- ](?:{_DIGITS})|zero|{_DIGITS}|{_TEENS}|{_TENS})"
    r"(?:\s+(?:hundred|thousand|million))?"
)
_SCALE = {"hundred": 100, "thousand": 1000, "million": 1_000_000}
_NUMBER = re.compile(
    r"(?P<fraction>(?<![\w.])-?\\[dt]?frac\s?\{\s?-?[\d.]{1,15}\s?\}\s?\{\s?[\d.]{1,15}\s?\}"
    r"|(?<![\w./])-?\d{1,12}\s?/\s?\d{1,12}(?![\d./]))"
    r"|(?P<number>(?<![\w.])-?(?:\d{1,3}(?:,\d{3}){1,5}(?![\d,])|\d{1,40}|(?=\.\d))(?:\.\d{1,40})?"
    r"|(?<=[a-z_=$£€(\[{,:/°])-?\d{1,40}(?:\.\d{1,40})?)"
    rf"|\b(?P<word>{_WORD_NUMBER})\b",
    re.I,
)  # fmt: skip


@dataclass(frozen=True)
class Number:
    """A number in a text: its value, as it is written, and where."""

    value: Fraction
    text: str
    start: int
    end: int


def numbers(text: str) -> Iterator[Number]:
    """The numbers of a text in order: decimal, grouped by thousands, a fraction, or in words."""
    for match in _NUMBER.finditer(text):
        value = _value(match)
        if value is not None:
            yield Number(value, match.group().strip(), match.start(), match.end())


def _value(match: re.Match[str]) -> Fraction | None:
    try:
        if match["word"]:
            head, _, scale = match["word"].lower().replace("-", " ").rpartition(" ")
            if scale not in _SCALE:
                head, scale = f"{head} {scale}", ""
            return Fraction(sum(_WORDS[word] for word in head.split()) * _SCALE.get(scale, 1))
        if match["fraction"]:
            above, below = re.findall(r"-?[\d.]+", match["fraction"])
            sign = -1 if match["fraction"].startswith("-\\") else 1
            return sign * Fraction(above) / Fraction(below)
        return Fraction(match["number"].replace(",", ""))
    except (ValueError, ZeroDivisionError, KeyError):
        return None


_COPULA = re.compile(
    r"(?:\b(?:is|are|was|were|be|been|equals?|equal to|has|have|had|approximately|about|around|"
    r"exactly|roughly|only|total of|gives|to|by|of|costs?|needs?|remains?|leaves?|leaving)|[:=≈])"
    r"[\s$({\[]{0,4}(?:\\approx\s?)?$",
    re.I,
)
_NONE = re.compile(
    r"\b(?:there (?:is|are|were|was|will be)|has|have|with) no(?:ne)?\b|\bnone of\b|^none\b", re.I
)

_BLANK = re.compile(r"\(?_{1,9}\)?(\s\w+\s\w+)")


def read_number(response: str, question: str, unit: str = "") -> tuple[str | None, str]:
    """The number that a response settles on, as it is written, and the rule that chose it.

    ``stated``: behind "the answer is"; ``conclusion``: in the last sentence that concludes;
    ``blank``: where the question leaves a blank, before the words that follow it there;
    ``first``: in a first sentence that answers the question; ``last``: in the last sentence with a
    number of its own. Numbers that the question names are passed over where there are others.
    """
    lines = sentences(response)
    if blank := _BLANK.search(question):
        for line in reversed(lines):
            for number in numbers(line):
                if line[number.end :].lower().startswith(blank[1].lower()):
                    return number.text, "blank"
    given = {number.value for number in numbers(plain(question))}
    for rule, candidates in by_weight(lines, question):
        for line in candidates:
            found = pick(line, given, unit, rule)
            if found is not None:
                return found, rule
    return None, "none"


def pick(line: str, given: set[Fraction], unit: str, rule: str) -> str | None:
    """The number of a sentence that answers: behind its ``=``, else one with the unit, behind a
    verb or preposition, or its last; numbers that are ``given`` are passed over."""
    found = list(numbers(line))
    own = [n for n in found if n.value not in given] or found
    if rule != "stated" and REFUSAL.search(line):
        return None
    if not own:
        return "0" if _NONE.search(line) else None
    if rule == "stated":
        equal = line.rfind("=")
        behind = [n for n in found if n.start > equal] if equal >= 0 else []
        return (behind or found)[0].text
    equal = max(line.rfind("="), line.rfind("≈"))
    if equal >= 0 and (behind := [n for n in found if n.start > equal]):
        return behind[0].text
    if unit:
        held = [n for n in own if line[n.end :].lstrip(" -").startswith(unit)]
        own = held or own
    linked = [n for n in own if _COPULA.search(line[max(0, n.start - 24) : n.start])]
    return (linked or own)[-1 if rule != "first" else 0].text
