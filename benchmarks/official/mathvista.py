"""MathVista (arXiv 2310.02255): 1000 items of 31 sources, with and without choices.

Rules of ``evaluation/extract_answer.py`` and ``evaluation/calculate_score.py`` of
lupantech/MathVista.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from rapidfuzz.distance import Levenshtein

from benchmarks.answers import rules
from benchmarks.answers.asked import asked_of
from benchmarks.answers.quantities import compute
from benchmarks.answers.reading import read
from benchmarks.base import DataError, Edition, Item, Scorer, Verdict
from benchmarks.official.benchmark import FunctionScorer, OfficialBenchmark, image, literal

REVISION = "53d5258"
QUESTION_TYPES = ("multi_choice", "free_form")
ANSWER_TYPES = ("text", "integer", "float", "list")
FACETS = (
    "question_type",
    "answer_type",
    "language",
    "source",
    "category",
    "task",
    "context",
    "grade",
)
#: What the owners' prompt asks for, by type of answer; a float by its precision.
_HINTS: dict[tuple[str, int | None], str] = {
    ("text", None): "and provide the correct option letter, e.g., A, B, C, D, at the end.",
    ("integer", None): "requiring an integer answer and provide the final value, e.g., 1, 2, 3, at "
    "the end.",
    ("float", 1): "requiring a floating-point number with one decimal place and provide the final "
    "value, e.g., 1.2, 1.3, 1.4, at the end.",
    ("float", 2): "requiring a floating-point number with two decimal places and provide the final "
    "value, e.g., 1.23, 1.34, 1.45, at the end.",
    ("list", None): "requiring a Python list as an answer and provide the final list, e.g., "
    "[1, 2, 3], [1.2, 1.3, 1.4], at the end.",
}
LETTER = re.compile(r"\(([a-zA-Z])\)")
QUICK = re.compile(r'The answer is "(.*)"\.')


def hint(answer_type: str, precision: int | None) -> str:
    """The hint that the owners' prompt gives for this type of answer; empty where they have none
    (floats of other than one or two decimals)."""
    said = _HINTS.get((answer_type, precision if answer_type == "float" else None))
    return f"Please answer the question {said}" if said else ""


def letters(n: int) -> list[str]:
    """The first n capital letters: the names of n choices."""
    return [chr(ord("A") + i) for i in range(n)]


def _integer(number: Any) -> str:
    return str(int(float(number)))


def _integer_2023(number: Any) -> str:
    return str(int(number))


#: When the owners published the verdicts in results/ (their first commit, ed0d56d).
VERDICTS = "2023-10-03"
#: How an integer is read. Those verdicts come from ``int(x)``, which no revision of their code
#: holds: from the first on, it reads "3.0" as 3.
INTEGER: dict[str, Callable[[Any], str]] = {
    "official": _integer,
    "official-2023": _integer_2023,
}


class MathVista(OfficialBenchmark):
    name = "mathvista"
    title = "MathVista (testmini)"
    headline = "mathvista/accuracy"
    scorers = ("rules", "official+extract", "official", "official-2023")
    templates = ("mathvista",)
    #: Skills and grades are not counted: the owners' own files differ in them.
    editions = (
        Edition(
            "testmini",
            1000,
            counts={
                ("question_type", "multi_choice"): 540,
                ("question_type", "free_form"): 460,
                ("answer_type", "text"): 540,
                ("answer_type", "integer"): 418,
                ("answer_type", "float"): 40,
                ("answer_type", "list"): 2,
                ("language", "english"): 936,
                ("language", "chinese"): 62,
                ("language", "persian"): 2,
                ("category", "math-targeted-vqa"): 540,
                ("category", "general-vqa"): 460,
                ("task", "figure question answering"): 269,
                ("task", "geometry problem solving"): 208,
                ("task", "math word problem"): 186,
                ("task", "visual question answering"): 179,
                ("task", "textbook question answering"): 158,
            },
            source="data/testmini.json of lupantech/MathVista",
            kit=("MathVista_MINI.tsv",),
        ),
    )
    judged = ("question_type", "answer_type", "choices", "precision", "unit")

    def item(self, where: str, row: Mapping[str, Any], pictures: Path | None) -> Item:
        question_type, answer_type = row["question_type"], row["answer_type"]
        if question_type not in QUESTION_TYPES or answer_type not in ANSWER_TYPES:
            raise DataError(
                f"{where}: question_type {question_type!r} and answer_type {answer_type!r} must be "
                f"of {', '.join(QUESTION_TYPES)} and of {', '.join(ANSWER_TYPES)}."
            )
        choices = _texts(where, "choices", row["choices"])
        if (question_type == "multi_choice") != bool(choices) or len(choices) > 26:
            raise DataError(f"{where}: a {question_type} question with {len(choices)} choices.")
        precision = _precision(where, row["precision"])
        if answer_type == "float" and precision is None:
            raise DataError(f"{where}: a float answer needs a precision.")
        metadata = literal(where, row, "metadata")
        if not isinstance(metadata, Mapping):
            raise DataError(f"{where}: 'metadata' must be an object, is {metadata!r}.")
        skills = _texts(where, "skills", metadata.get("skills"))
        question = row["question"]
        if row.get("unit"):
            question += f" (Unit: {row['unit']})"
        if choices:
            named = zip(letters(len(choices)), choices, strict=True)
            question += "\nChoices:" + "".join(f"\n({name}) {text}" for name, text in named)
        own = {
            "question_type": question_type,
            "answer_type": answer_type,
            "choices": choices,
            "precision": precision,
            "unit": row.get("unit"),
            "hint": hint(answer_type, precision),
            "skills": skills,
        }
        item = Item(
            id=str(row["pid"]),
            question=question,
            answer=str(row["answer"]),
            images=image(where, row, pictures),
            cluster=str(row["image"]),
            meta={**metadata, **own},
        )
        _can_be_right(where, item)
        return item

    def forms(self, item: Item) -> Iterable[Item]:
        """A unit stands in the question whether the owners' row has it there (TabMWP) or in its own
        column (KVQA); VLMEvalKit's tables do not tell."""
        yield item
        if (unit := item.meta["unit"]) and f" (Unit: {unit})" in item.question:
            yield replace(item, meta={**item.meta, "unit": None})

    def facets(self, item: Item) -> Iterable[tuple[str, str]]:
        for facet in FACETS:
            if item.meta.get(facet):
                yield facet, str(item.meta[facet])
        for skill in item.meta.get("skills") or ():
            yield "skill", str(skill)

    def make_scorers(self) -> Mapping[str, Scorer]:
        base = f"mathvista/official@{REVISION}"
        return {
            "rules": FunctionScorer(
                f"mathvista/rules{rules.VERSION}",
                lambda item, text: rules.judge(item, text, asked(item)),
            ),
            "official+extract": FunctionScorer(f"{base}+extract4", score_extracted),
            "official": FunctionScorer(
                base, lambda item, text: score_rules(item, text, "official"), score_extraction
            ),
            "official-2023": FunctionScorer(
                f"mathvista/official-2023@{VERDICTS}",
                lambda item, text: score_rules(item, text, "official-2023"),
                lambda item, extraction: score_extraction(item, extraction, "official-2023"),
            ),
        }


def _texts(where: str, field: str, given: Any) -> list[str]:
    if given is None:
        return []
    if isinstance(given, list | tuple) and all(isinstance(each, str) for each in given):
        return list(given)
    raise DataError(f"{where}: {field!r} must be a list of texts, is {str(given)[:80]!r}.")


def _precision(where: str, given: Any) -> int | None:
    """The hub's parquet holds 1.0 where the owners' JSON holds 1."""
    if given is None:
        return None
    number = float(given)
    if number not in range(16):
        raise DataError(f"{where}: precision {given!r} must be a number of decimals, 0 to 15.")
    return int(number)


def _can_be_right(where: str, item: Item) -> None:
    """A gold that no normalised extraction can equal makes every model wrong."""
    kind, answer, choices = item.meta["answer_type"], item.answer, item.meta["choices"]
    if choices and answer not in choices:
        shown = ", ".join(map(repr, choices[:5])) + (", ..." if len(choices) > 5 else "")
        raise DataError(f"{where}: answer {answer!r} is none of its choices {shown}.")
    if kind in ("integer", "float") and not choices and _number(item, answer, _integer) != answer:
        raise DataError(
            f"{where}: answer {answer!r} must be written as the scorer writes a number of type "
            f"{kind}" + (f" and precision {item.meta['precision']}." if kind == "float" else ".")
        )


def score_extraction(item: Item, extraction: Any, rule: str = "official") -> Verdict:
    """The owners' verdict on an extraction, such as their published files hold. Its rule is theirs
    and what they made of the extraction: ``official/letter``, ``official/nearest``, ...

    Their rule credits an empty extraction of a multiple-choice item with the shortest choice.
    """
    prediction, how = normalised(item, extraction, INTEGER[rule.partition("/")[0]])
    return Verdict(item.id, prediction == item.answer, str(extraction), "ok", f"{rule}/{how}")


def normalised(
    item: Item, extraction: Any, integer: Callable[[Any], str]
) -> tuple[str | None, str]:
    """An extraction in the form of the gold (None where it has none), and how it was read:
    ``letter``, ``choice``, ``nearest`` or ``empty``; ``integer`` or ``float``, with ``no`` before
    it where it is none; ``list``."""
    meta = item.meta
    if meta["question_type"] == "multi_choice":
        choices = meta["choices"]
        extraction = str(extraction).strip()
        if found := LETTER.search(extraction):
            extraction = found.group(1).upper()
        if extraction in letters(len(choices)):
            return str(choices[ord(extraction) - ord("A")]), "letter"
        nearest = str(min(choices, key=lambda text: Levenshtein.distance(extraction, text)))
        return nearest, "choice" if nearest == extraction else "nearest" if extraction else "empty"
    kind = str(meta["answer_type"])
    if kind == "list":
        return str(extraction), kind
    number = _number(item, extraction, integer)
    return number, kind if number is not None else f"no {kind}"


def _number(item: Item, value: Any, integer: Callable[[Any], str]) -> str | None:
    try:
        if item.meta["answer_type"] == "integer":
            return integer(value)
        return str(round(float(value), item.meta["precision"]))
    except (ValueError, TypeError, OverflowError):
        return None


def score_rules(item: Item, response: str, rule: str) -> Verdict:
    """The owners' extraction as far as it is rules, then their verdict.

    They hand every other response to a language model; here it stays ``unparsed``. What their quick
    extraction read is told by the rule: ``official/quick/letter``.
    """
    if (whole := _whole(item, response)) is not None:
        return score_extraction(item, whole, rule)
    if quick := QUICK.search(response):
        return score_extraction(item, quick.group(1), f"{rule}/quick")
    return Verdict(item.id, False, None, "unparsed", f"{rule}/left to a model")


def _whole(item: Item, response: str) -> str | None:
    """A response that is nothing but an answer."""
    if response == "" or response in item.meta["choices"]:
        return response
    try:
        if item.meta["answer_type"] == "integer":
            return str(int(response))
        if item.meta["answer_type"] == "float":
            return str(float(response))
    except ValueError:
        pass
    return None


def score_extracted(item: Item, response: str) -> Verdict:
    """The owners' verdict on the answer that :func:`benchmarks.answers.reading.read` reads.

    A value that is none of the choices is the nearest one by edit distance, and an integer is what
    stands before the decimal point, as theirs is; what gives no answer is ``unparsed`` and wrong.
    """
    question = asked(item)
    reading = read(response, question)
    said = reading.answer
    if said is None:
        return Verdict(item.id, False, None, reading.status, reading.rule, span=reading.span)
    if said in question.options:
        prediction: str | None = question.options[said]
    elif question.kind == "choice":
        prediction = normalised(item, said, _integer)[0]
    elif question.kind == "list":
        prediction = said.strip().strip("$")
    else:
        number = compute(said)
        prediction = _number(item, said if number is None else number, _integer)
    correct = prediction == item.answer
    return Verdict(item.id, correct, said, "ok", reading.rule, span=reading.span)


def asked(item: Item) -> rules.Asked:
    """What an item asks for, to our reader."""
    return asked_of(item.question, item.meta, item.answer)
