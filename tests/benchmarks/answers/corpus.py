r"""Labelled responses: what a careful reader credits, and what not.

``rows/*.jsonl`` hold one response a line, in our own wording, after the forms that models write and
that public reports say are misread. A label is what a person would grant who knows the question and
the gold and sees nothing but the response:

* units are optional, and another spelling, order of a set or equal value is the same answer; a unit
  of another size or kind is none (``5 cm`` is ``50 mm`` and not ``5 m``). ``28%`` is 28, not 0.28.
* a kind ``int`` wants exactly that value, ``f1`` and ``f2`` a number that rounds to the gold at one
  or two decimals, ``list`` these numbers in order, ``free`` the same value or expression, exact
  where the gold is.
* several answers, ranges, bounds and placeholders are no answer; one answer said with a doubt is.
* a denial names what the answer is not. A retracted answer does not count, its correction does.
* a thought is no answer: nothing behind it, or no end of it, is no answer. An answer before a
  thought stands.
* an option's letter beside another option's text contradicts itself, and neither is granted: to
  grant one is to guess, and a reward that guesses pays for the habit.
* "no correct answer" or "cannot be determined" as an option is chosen by saying just that, never by
  refusing to answer.

``misread`` in a row says why the reader is known to read it otherwise.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from backends.base.reward import Rollout
from backends.base.stage import RewardTerm
from backends.rewards import score
from benchmarks.base import Benchmark, Item
from benchmarks.official.benchmark import OfficialBenchmark
from benchmarks.registry import benchmark

ROWS = Path(__file__).parent / "rows"
KINDS = ("choice", "int", "f1", "f2", "list", "free")
FIELDS = {"kind", "question", "choices", "gold", "response", "right", "why", "misread"}
#: Of a row without a question.
QUESTION = "What is asked for?"
ACCURACY = (RewardTerm(name="accuracy"),)
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


@dataclass(frozen=True)
class Row:
    """One labelled response. ``where`` is its file and line."""

    where: str
    kind: str
    gold: str
    response: str
    right: bool
    why: str
    question: str = QUESTION
    choices: Mapping[str, str] = field(default_factory=dict, hash=False)
    misread: str = ""

    @property
    def file(self) -> str:
        return self.where.partition(":")[0]

    def __str__(self) -> str:
        options = "".join(f" {letter}: {text};" for letter, text in self.choices.items())
        want = "right" if self.right else "not right"
        return f"{self.where} [{self.kind}, gold {self.gold},{options} {want}] {self.response!r}"


@cache
def rows() -> tuple[Row, ...]:
    """Every row of every file."""
    return tuple(
        Row(where=f"{path.stem}:{number}", **json.loads(line))
        for path in sorted(ROWS.glob("*.jsonl"))
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
    )


def files() -> list[str]:
    """The names of the files."""
    return sorted({row.file for row in rows()})


def items(row: Row) -> Iterator[tuple[Benchmark, Item]]:
    """The row's question as an item of every benchmark that can ask it."""
    for name, make in _MAKERS.items():
        columns = make(row)
        if columns is not None:
            one = official(name)
            yield one, one.item("row", columns, None)


def official(name: str) -> OfficialBenchmark:
    """A benchmark by its name."""
    one = benchmark(name)
    assert isinstance(one, OfficialBenchmark)
    return one


def paid(item: Item, response: str) -> bool:
    """Whether the accuracy reward pays for a response, asked as a training asks it."""
    group = Rollout(
        item.id, item.question, (response,), (1,), ("stop",), 4096, item.answer, item.meta
    )
    return score(group, ACCURACY).rewards == (1.0,)


def _mathvista(row: Row) -> dict[str, Any] | None:
    if row.kind == "free":
        return None
    kinds = {"choice": "text", "int": "integer", "f1": "float", "f2": "float", "list": "list"}
    return {
        "pid": "1",
        "question": row.question,
        "image": "1.png",
        "choices": list(row.choices.values()) or None,
        "unit": None,
        "precision": {"f1": 1, "f2": 2}.get(row.kind),
        "answer": row.choices.get(row.gold, row.gold),
        "question_type": "multi_choice" if row.choices else "free_form",
        "answer_type": kinds[row.kind],
        "metadata": {},
    }


def _wemath(row: Row) -> dict[str, Any] | None:
    from benchmarks.official.wemath import options

    text = "; ".join(f"{letter}. {option}" for letter, option in row.choices.items())
    if row.kind != "choice" or options(text) != row.choices:
        return None
    return {
        "ID": "2steps_1",
        "key": "2steps_1",
        "question": row.question,
        "option": text,
        "answer": row.gold,
        "image_path": "1.png",
        "knowledge concept": "Angles",
    }


def _mathvision(row: Row) -> dict[str, Any] | None:
    if row.kind not in ("choice", "free") or len(row.choices) > 5:
        return None
    return {
        "id": "1",
        "question": f"{row.question}\n<image1>",
        "options": list(row.choices.values()),
        "answer": row.gold,
        "image": "1.png",
        "level": 1,
        "subject": "counting",
    }


def _mathverse(row: Row) -> dict[str, Any] | None:
    if row.kind not in ("choice", "free") or len(row.choices) > 8:
        return None
    asked = row.question
    if row.choices:
        named = (f"{letter}:{text}" for letter, text in row.choices.items())
        asked += "\nChoices:\n" + "\n".join(named)
    return {
        "sample_index": "1",
        "problem_index": "1",
        "problem_version": "Text Only",
        "question": asked,
        "question_for_eval": asked,
        "image": "",
        "answer": row.gold,
        "question_type": "multi-choice" if row.choices else "free-form",
        "metadata": {},
    }


_MAKERS = {
    "mathvista": _mathvista,
    "wemath": _wemath,
    "mathvision": _mathvision,
    "mathverse_text_only": _mathverse,
}
