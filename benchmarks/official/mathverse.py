"""MathVerse (arXiv 2403.14624): 788 problems, each in five versions from text to picture.

Rules of ``evaluation/score_answer_s2.py`` of ZrrSkywalker/MathVerse, whose extraction and verdict
are asked of a language model; the rules here are what can be decided without one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.aggregate import accuracies, by_item
from benchmarks.answers import rules
from benchmarks.answers.asked import asked_of, letter_of_text
from benchmarks.answers.candidates import MAX_BARE
from benchmarks.answers.prose import plain
from benchmarks.answers.reading import read
from benchmarks.base import DataError, Edition, Item, Scorer, Values, Verdict
from benchmarks.official.benchmark import FunctionScorer, OfficialBenchmark, image, literal

REVISION = "937b090"
VERSIONS = ("Text Dominant", "Text Lite", "Vision Intensive", "Vision Dominant", "Vision Only")
#: The sixth version is no part of the overall accuracy: it shows what is known without a picture.
TEXT_ONLY = "Text Only"
IN_THE_IMAGE = "Please answer the question shown in the image."
OPTION = re.compile(r"^[ \t]*\(?([A-H])[ \t]*[:.)]([^\n]*)", re.M)
_LABEL = re.compile(r"^[^$=]{0,80}\$\s?=")
LETTER = re.compile(r"(?<![A-Za-z])[A-H](?![A-Za-z])")


#: How many of the 788 problems are of a kind; each version asks them all.
_COUNTS = {
    ("question_type", "multi-choice"): 436, ("question_type", "free-form"): 352,
    ("subject", "Plane Geometry"): 510, ("subject", "Functions"): 159,
    ("subject", "Solid Geometry"): 119,
    ("subfield", "Plane Geometry Angle"): 193, ("subfield", "Plane Geometry Length"): 158,
    ("subfield", "Plane Geometry Applied"): 69, ("subfield", "Plane Geometry Area"): 47,
    ("subfield", "Plane Geometry Analytic"): 43, ("subfield", "Functions Property"): 71,
    ("subfield", "Functions Applied"): 40, ("subfield", "Functions Expression"): 32,
    ("subfield", "Functions Coordinate"): 16, ("subfield", "Solid Geometry Volume"): 51,
    ("subfield", "Solid Geometry Area"): 44, ("subfield", "Solid Geometry Length"): 24,
}  # fmt: skip


def _counts(*versions: str) -> dict[tuple[str, str], int]:
    return {("version", version): 788 for version in versions} | {
        kind: n * len(versions) for kind, n in _COUNTS.items()
    }


def _one_version(version: str, remote: str) -> Edition:
    """A version alone, as VLMEvalKit publishes a table of each. ``remote`` is its name there."""
    name = f"MathVerse_MINI_{version.replace(' ', '_')}"
    kit = (f"{name}.tsv", f"{name}_cot.tsv", f"{remote}.tsv")
    split = version.lower().replace(" ", "_")
    return Edition(split, 788, 788, _counts(version), kit=kit)


class MathVerse(OfficialBenchmark):
    name = "mathverse"
    title = "MathVerse (testmini)"
    headline = "mathverse/accuracy"
    scorers = ("rules", "official+extract", "official")
    templates = ("mathverse", "mathverse_cot")
    editions: tuple[Edition, ...] = (
        Edition(
            "testmini",
            3940,
            788,
            _counts(*VERSIONS),
            kit=("MathVerse_MINI.tsv", "MathVerse_MINIV.tsv"),
        ),
        _one_version("Text Dominant", "MathVerse_MINITDom"),
        _one_version("Text Lite", "MathVerse_MINITLite"),
        _one_version("Vision Intensive", "MathVerse_MINIVInt"),
        _one_version("Vision Dominant", "MathVerse_MINIVDom"),
        _one_version("Vision Only", "MathVerse_MINIVOnly"),
    )
    judged = ("problem_version", "question_type")

    def item(self, where: str, row: Mapping[str, Any], pictures: Path | None) -> Item:
        version = row["problem_version"]
        known = (*VERSIONS, TEXT_ONLY)
        if version not in known or row["question_type"] not in ("multi-choice", "free-form"):
            raise DataError(
                f"{where}: problem_version {version!r} must be one of {', '.join(known)}, and "
                f"question_type {row['question_type']!r} multi-choice or free-form."
            )
        question = row["question"] or ""
        if version == "Vision Only" or not question.strip():
            question = IN_THE_IMAGE
        images = image(where, row, pictures, required=version != TEXT_ONLY)
        asked = row.get("question_for_eval") or row["question"] or ""
        return Item(
            id=str(row["sample_index"]),
            question=question,
            answer=str(row["answer"]),
            images=images,
            cluster=str(row["problem_index"]),
            meta={
                **literal(where, row, "metadata"),
                "problem_version": version,
                "question_type": row["question_type"],
                "options": {letter: text.strip() for letter, text in OPTION.findall(asked)},
                "question_for_eval": asked,
                **{query: row[query] for query in ("query_wo", "query_cot") if row.get(query)},
            },
        )

    def facets(self, item: Item) -> Iterable[tuple[str, str]]:
        meta = item.meta
        yield "version", meta["problem_version"]
        yield "question_type", meta["question_type"]
        if meta.get("subject"):
            yield "subject", meta["subject"]
            if meta.get("subfield"):
                yield "subfield", f"{meta['subject']} {meta['subfield']}"

    def values(self, items: Sequence[Item], verdicts: Iterable[Verdict]) -> list[Values]:
        """``accuracy`` over the five versions, and by facet; Text Only rows, where there are any,
        count in ``version/text_only`` alone."""
        found = by_item(items, verdicts)
        five = [item for item in items if item.meta["problem_version"] != TEXT_ONLY]
        rest = [item for item in items if item.meta["problem_version"] == TEXT_ONLY]
        out: list[Values] = []
        if five:
            out += accuracies(self.name, five, (found[item.id] for item in five), self.facets)
        if rest:
            apart = f"{self.name}/version/text_only"
            (one, *_) = accuracies(self.name, rest, (found[i.id] for i in rest), lambda item: ())
            out.append(Values(apart, one.units, one.clusters, one.values))
        return out

    def make_scorers(self) -> Mapping[str, Scorer]:
        base = f"mathverse/official@{REVISION}"
        return {
            "rules": FunctionScorer(f"mathverse/rules{rules.VERSION}", score_by_rules),
            "official+extract": FunctionScorer(f"{base}+extract4", score_extracted),
            "official": FunctionScorer(
                base, score_official, lambda item, text: score_official(item, str(text))
            ),
        }


class MathVerseTextOnly(MathVerse):
    """The Text Only version, a benchmark of its own so that it never enters the overall."""

    name = "mathverse_text_only"
    title = "MathVerse (Text Only)"
    headline = "mathverse_text_only/accuracy"
    editions = (
        Edition(
            "testmini_text_only",
            788,
            788,
            _counts(TEXT_ONLY),
            "data/testmini_text_only.json of ZrrSkywalker/MathVerse",
        ),
    )

    def item(self, where: str, row: Mapping[str, Any], pictures: Path | None) -> Item:
        if row["problem_version"] != TEXT_ONLY:
            raise DataError(
                f"{where}: is of version {row['problem_version']!r}, which {self.name} does not "
                "ask; the five versions with a picture are the benchmark mathverse."
            )
        return super().item(where, row, pictures)

    def values(self, items: Sequence[Item], verdicts: Iterable[Verdict]) -> list[Values]:
        return accuracies(self.name, items, verdicts, self.facets)


def score_official(item: Item, response: str) -> Verdict:
    """The owners' quick match: the response, without repeated "Extracted Answer: ", is the gold."""
    extraction = response.replace("Extracted Answer: ", "").strip()
    if not extraction:
        return Verdict(item.id, False, None, "unparsed", "official/quick match")
    return Verdict(item.id, extraction == item.answer, extraction, "ok", "official/quick match")


def score_extracted(item: Item, response: str) -> Verdict:
    """The criterion that the owners give their judge, by rules, which is that of ``rules``: of
    multiple choice the gold's letter, or the text of its option; of free form the same meaning,
    which is :func:`benchmarks.answers.equality.equivalent`."""
    return score_by_rules(item, response)


def golds(item: Item) -> list[str]:
    """The letters that are right, of multiple choice; empty for an answer of free form. A few golds
    are the text of an option."""
    if item.meta["question_type"] != "multi-choice":
        return []
    letter = letter_of_text(item.answer, item.meta["options"])
    return LETTER.findall(item.answer) or [letter] * bool(letter)


def asked(item: Item) -> rules.Asked:
    """What an item asks for, to our reader; of several right letters the first."""
    if letters := golds(item):
        options = item.meta["options"] or dict.fromkeys("ABCD", "")
        return asked_of(item.meta["question_for_eval"], {"options": options}, letters[0])
    gold = _LABEL.sub("$", plain(item.answer), count=1)  # "Total S.A. $=...$", and 35掳 for 35°
    return rules.Asked("formula", item.question, gold)


def score_by_rules(item: Item, response: str) -> Verdict:
    """Multiple choice: the gold's letter or the text of its option, of several all letters. Free
    form: the same meaning."""
    gold = golds(item)
    if len(gold) < 2:
        return rules.judge(item, response, asked(item))
    reading = read(response, rules.Asked("text"))
    said = reading.answer
    if said is None and 0 < len(response.strip()) <= MAX_BARE:
        said = response.strip()  # "C", new line, "D"
    if said is None:
        return Verdict(item.id, False, None, reading.status, reading.rule, span=reading.span)
    right = set(LETTER.findall(said)) == set(gold)
    return Verdict(item.id, right, said, "ok", reading.rule, span=reading.span)
