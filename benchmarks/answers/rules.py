"""The judge without a model that every benchmark can use: an answer is read, and compared.

A benchmark says what it asked as an :class:`Asked`. The answer is what
:func:`benchmarks.answers.reading.read` reads, compared as its kind says, with no credit where there
is none. A verdict says what it rests on: ``ok``, an answer was read and judged; ``unparsed``, none
was given; ``undecided``, one was found, and rules cannot tell whether it is right. A response that
is a program is ``undecided``: model output is never run.
"""

from __future__ import annotations

import math
import re
from fractions import Fraction

from benchmarks.answers.asked import Asked, Kind, asked_of
from benchmarks.answers.equality import equivalent
from benchmarks.answers.numerals import numbers
from benchmarks.answers.prose import is_prose
from benchmarks.answers.quantities import compute
from benchmarks.answers.reading import Reading, read
from benchmarks.base import Item, Verdict

#: Part of the scorers' ids: raised by hand whenever a verdict can change.
VERSION = 4

__all__ = ["VERSION", "Asked", "Kind", "asked_of", "judge", "judge_reading", "right"]


def judge(item: Item, response: str, asked: Asked) -> Verdict:
    """The verdict of the rules on a response, as the kind of answer says."""
    if asked.kind == "formula" and asked.gold.strip() and response.strip() == asked.gold.strip():
        return Verdict(item.id, True, asked.gold, "ok", "verbatim")
    return judge_reading(item, read(response, asked), asked)


def judge_reading(item: Item, reading: Reading, asked: Asked) -> Verdict:
    """The verdict on what was read of a response."""
    said, status = reading.answer, reading.status
    if said is None:
        return Verdict(item.id, False, None, status, reading.rule, span=reading.span)
    correct = right(said, asked)
    if not correct and status == "ok" and asked.kind == "formula" and is_prose(said):
        status = "undecided"
    if correct:
        status = "ok"
    return Verdict(item.id, correct, said, status, reading.rule, span=reading.span)


def right(answer: str, asked: Asked) -> bool:
    """Whether an answer that was read is the gold.

    ``choice``: its letter, or another with the same text; ``number``: the same value, rounded to
    ``decimals`` where the question says how many; ``list``: the same numbers in order; ``text``:
    the same words; ``formula``: :func:`benchmarks.answers.equality.equivalent`.
    """
    gold = asked.gold
    if asked.kind == "choice":
        options = asked.options
        return answer == gold or (answer in options and options[answer] == options.get(gold) != "")
    if asked.kind == "number":
        return _same_number(answer, gold, asked.decimals)
    if asked.kind == "list":
        given, wanted = ([number.value for number in numbers(text)] for text in (answer, gold))
        return given == wanted
    if asked.kind == "text":
        return _words(answer) == _words(gold)
    return equivalent(answer, gold) or equivalent(_LABEL.sub("$", answer, count=1), gold)


#: What a formula is said to be, in words: "Total S.A. $=3222.80$".
_LABEL = re.compile(r"^[^$=]{1,80}\$\s?=")


def _same_number(answer: str, gold: str, decimals: int | None) -> bool:
    given, wanted = compute(answer), compute(gold)
    if given is None or wanted is None:
        return False
    try:
        if decimals is not None:
            return str(round(float(given), decimals)) == gold
        if isinstance(given, Fraction) and isinstance(wanted, Fraction):
            return given == wanted
        return math.isclose(given, wanted, rel_tol=1e-9)
    except OverflowError:
        return False


def _words(text: str) -> list[str]:
    return text.strip(" .").casefold().split()
