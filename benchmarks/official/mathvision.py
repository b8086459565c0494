"""MathVision, or MATH-V (arXiv 2402.14804): 3040 competition problems, about half with five
options.

The owners' rules are in :mod:`benchmarks.official.mathvision_rules`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from benchmarks.answers import rules
from benchmarks.answers.asked import asked_of
from benchmarks.answers.numerals import leading_number
from benchmarks.answers.quantities import compute
from benchmarks.answers.reading import read
from benchmarks.base import DataError, Edition, Item, Scorer, Verdict
from benchmarks.official.benchmark import FunctionScorer, OfficialBenchmark, image
from benchmarks.official.mathvision_rules import LETTERS, clean, is_equal, official_extraction
from benchmarks.official.mathvision_rules import letter as _letter

REVISION = "a1f5cc3"
_COUNTED = re.compile(r"\d\s*(?:\\text\s?\{\s*)?[A-Za-z]{2}")
PLACEHOLDER = re.compile(r"[ \t]*<image\d*>")
#: Rows of ``test`` by subject; ``testmini`` has 19 of each.
SUBJECTS = {
    "algebra": 345, "analytic geometry": 84, "arithmetic": 140, "combinatorial geometry": 308,
    "combinatorics": 168, "counting": 67, "descriptive geometry": 104, "graph theory": 90,
    "logic": 119, "metric geometry - angle": 173, "metric geometry - area": 500,
    "metric geometry - length": 449, "solid geometry": 244, "statistics": 58, "topology": 23,
    "transformation geometry": 168,
}  # fmt: skip


class MathVision(OfficialBenchmark):
    name = "mathvision"
    title = "MathVision (test)"
    headline = "mathvision/accuracy"
    scorers = ("rules", "official+extract", "official")
    templates = ("mathvision",)
    editions = (
        Edition(
            "test",
            3040,
            counts={
                ("level", str(level)): n
                for level, n in enumerate((237, 738, 551, 830, 684), start=1)
            }
            | {("subject", subject): n for subject, n in SUBJECTS.items()},
            source="data/test.jsonl of mathllm/MATH-V",
            kit=("MathVision.tsv",),
        ),
        Edition(
            "testmini",
            304,
            counts={
                ("level", str(level)): n for level, n in enumerate((53, 82, 56, 45, 68), start=1)
            }
            | {("subject", subject): 19 for subject in SUBJECTS},
            source="data/testmini.jsonl of mathllm/MATH-V",
            kit=("MathVision_MINI.tsv",),
        ),
    )
    judged = ("options", "level", "subject")

    def item(self, where: str, row: Mapping[str, Any], pictures: Path | None) -> Item:
        options, answer = [str(option) for option in row["options"]], str(row["answer"])
        if options and answer not in LETTERS[: len(options)]:
            raise DataError(f"{where}: answer {answer!r} names none of the {len(options)} options.")
        question = PLACEHOLDER.sub("", row["question"]).strip()
        said = [
            PLACEHOLDER.sub("", option).strip() for option in options
        ]  # some are in the picture
        query = f"{row['question']}\n"  # the owners' prompt keeps the marks of pictures
        if options and options != LETTERS:
            named = list(zip(LETTERS, options, strict=False))
            query += "".join(f"({letter}) {text}\n" for letter, text in named)
            if any(said):
                question += "".join(f"\n({letter}) {text}" for letter, text in named)
        return Item(
            id=str(row["id"]),
            question=question,
            answer=answer,
            images=image(where, row, pictures),
            cluster=str(row["id"]),
            solution=row.get("solution") or "",
            meta={
                "options": options,
                "level": row["level"],
                "subject": row["subject"],
                "query": query,
            },
        )

    def facets(self, item: Item) -> Iterable[tuple[str, str]]:
        yield "level", str(item.meta["level"])
        yield "subject", item.meta["subject"]
        yield "level_subject", f"{item.meta['level']} {item.meta['subject']}"

    def make_scorers(self) -> Mapping[str, Scorer]:
        base = f"mathvision/official@{REVISION}+latex2sympy1.9.1"
        return {
            "rules": FunctionScorer(
                f"mathvision/rules{rules.VERSION}",
                lambda item, text: rules.judge(item, text, asked(item)),
            ),
            "official+extract": FunctionScorer(f"{base}+extract4", score_extracted),
            "official": FunctionScorer(base, score_official, score_extraction),
        }


def asked(item: Item) -> rules.Asked:
    """What an item asks for, to our reader."""
    return asked_of(item.question, item.meta, item.answer)


def score_extraction(item: Item, extraction: Any, rule: str = "official") -> Verdict:
    """The owners' verdict on an extraction (``model_answer`` in their published files): equal to
    the gold, or to the text of the gold's option. Which is the end of the rule: ``official/gold``,
    ``official/option``, or ``official/neither``."""
    extraction = str(extraction)
    golds = {"gold": item.answer}
    if item.meta["options"]:
        golds["option"] = item.meta["options"][LETTERS.index(item.answer)]
    how = next((name for name, gold in golds.items() if is_equal(extraction, gold)), "neither")
    return Verdict(item.id, how != "neither", extraction, "ok", f"{rule}/{how}")


def score_official(item: Item, response: str) -> Verdict:
    """The owners' extraction and verdict."""
    extraction = official_extraction(response)
    if not extraction:
        return Verdict(item.id, False, None, "unparsed", "official/empty")
    return score_extraction(item, extraction)


def _uncounted(said: str) -> str:
    """The number of what was counted: of "12 triangles" 12. Theirs reads no nouns."""
    if not _COUNTED.search(said):
        return said
    if place := leading_number(said):
        return said[slice(*place)]
    number = compute(said)
    return said if number is None else str(number)


def score_extracted(item: Item, response: str) -> Verdict:
    """The owners' clean-up and verdict on the answer that
    :func:`benchmarks.answers.reading.read` reads."""
    reading = read(response, asked(item))
    said = reading.answer
    if said is None:
        return Verdict(item.id, False, None, reading.status, reading.rule, span=reading.span)
    verdict = score_extraction(item, _letter(clean(_uncounted(said))), reading.rule)
    return Verdict(item.id, verdict.correct, said, "ok", reading.rule, span=reading.span)
