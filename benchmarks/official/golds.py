"""Whether a benchmark's own answers are right by its scorers, and the official golds that are not.

A gold fed back as the response must score 1.0. Where it does not, the item counts against every
model alike; the ones in the published data are known below by id, with the reason, and
:func:`failures` finds those in any other data.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from benchmarks.base import Benchmark, Item

BARE, BOXED = "{}", "\\boxed{{{}}}"


@dataclass(frozen=True)
class GoldException:
    """Golds of the published data that their own scorer calls wrong."""

    items: tuple[str, ...]
    scorers: tuple[str, ...]
    reason: str


_EVERY = ("official+extract", "official", "official-2023", "rules")
_KNOWN: dict[str, tuple[GoldException, ...]] = {
    "mathvista": (
        GoldException(
            ("168", "849"),
            _EVERY,
            "the gold is the choice whose text is '(b)', which reads as the letter of another",
        ),
        GoldException(
            ("225", "506"),
            ("official", "official-2023"),
            "a list, which their rules leave to a language model",
        ),
        GoldException(
            ("18", "134"), ("rules",), "a question as an answer; without a box it is not read"
        ),
    ),
    "mathvision": (
        GoldException(
            ("2804",),
            ("official+extract", "official"),
            "degrees in the gold, which the owners' parser does not read",
        ),
        GoldException(
            ("2866",),
            ("official+extract", "official"),
            "an unknown in the gold: their clean-up changes its text, and it has no value",
        ),
        GoldException(
            ("2828", "2833", "2875", "2877"),
            ("official+extract", "official"),
            "the gold stands in a box itself; in a second box their clean-up breaks it",
        ),
    ),
    "mathverse_text_only": (
        GoldException(
            ("343", "344", "368", "370", "372", "381", "418", "724"),
            ("official",),
            "white space around the gold, which quick match takes off the response only",
        ),
        GoldException(
            ("663",),
            ("rules",),
            "words before and behind a formula; without a box it alone is read",
        ),
    ),
}


def gold_exceptions(benchmark: str, scorer: str | None = None) -> dict[str, str]:
    """Item id to reason: the golds in the published data that ``scorer`` (None: any) calls wrong.

    MathVerse's five versions are not among them: their rows were not at hand.
    """
    return {
        item: one.reason
        for one in _KNOWN.get(benchmark, ())
        if scorer is None or scorer in one.scorers
        for item in one.items
    }


def forms(benchmark: str, scorer: str) -> tuple[str, ...]:
    """How an answer has to be written for this scorer to read it: bare, in a box, or either.

    Most of the owners' rules read no box, and hand what is no bare answer to a language model.
    """
    if scorer == "official+extract":
        return (BOXED,)
    if scorer.startswith("official") and benchmark != "mathvision":
        return (BARE,)
    return (BARE, BOXED)


def failures(one: Benchmark, items: Iterable[Item], scorer: str) -> dict[str, str]:
    """Item id to response: the golds that are wrong by the scorer in a form that it reads."""
    judge = one.scorer(scorer)
    responses = (
        (item, form.format(item.answer)) for item in items for form in forms(one.name, scorer)
    )
    return {item.id: said for item, said in responses if not judge.score(item, said).correct}
