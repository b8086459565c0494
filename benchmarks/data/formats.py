"""The formats of saved answers: by which columns each is told, and where it keeps what.

VLMEvalKit's columns are those of ms-vlmeval 0.0.20: a prediction file has ``index`` and
``prediction`` beside the data set's columns; its judged copies add ``hit`` (multiple choice),
``res`` (MathVista, MathVision), ``extract`` and ``score`` (MathVerse), or ``verifier_score``.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

Cells = Mapping[str, Any]
#: A field that is longer than this is no Python literal that a tool wrote.
MAX_LITERAL = 100_000


@dataclass(frozen=True)
class Format:
    """``benchmarks``: those whose answers a file of this format can hold, the usual one first;
    none: the format does not tell. ``needs``: the columns that tell the format. ``response``: the
    columns that may hold the response, in the order of preference. ``row`` makes of a row one in
    the owners' columns; where it is None the golds are elsewhere."""

    title: str
    benchmarks: tuple[str, ...]
    needs: tuple[str, ...]
    id: Callable[[Cells], str]
    response: tuple[str, ...]
    extraction: str | None
    verdict: tuple[str, ...]
    row: Callable[[Cells], dict[str, Any]] | None


def identity(value: Any) -> str:
    """An id as text; a number that became a float on its way through a table is whole again."""
    return re.sub(r"(?<=\d)\.0$", "", str(value))


def _gold(value: Any) -> str:
    """A gold as text; one that a table read as a float is whole again, one that was written so
    stays."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def wemath_id(row: Cells) -> str:
    """Of a row of We-Math: its group, and which of its questions it is."""
    return f"{row['ID']}/{str(row['key']).rpartition('_')[2]}"


# --------------------------------------------------------------------------------------- VLMEvalKit


def _list(row: Cells, column: str) -> list[Any]:
    """A list that a table's cell holds as a Python literal; an empty cell holds none."""
    value = row.get(column)
    if value is None or (isinstance(value, str) and not value.strip()):
        return []
    try:
        if len(str(value)) >= MAX_LITERAL:
            raise ValueError
        found = ast.literal_eval(value) if isinstance(value, str) else value
        if not isinstance(found, list | tuple):
            raise ValueError
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        said = "must be empty or a list such as \"['3', '5']\""
        raise ValueError(f"{column!r} {said}, and is {str(value)[:80]!r}") from None
    return list(found)


_DECIMALS = {"one": 1, "two": 2, "three": 3}
_HINT = re.compile(r"with (one|two|three) decimal place")
_BEFORE = re.compile(r"Hint: [^\n]*\nQuestion: ")


def _question(row: Cells, options: str, given: bool) -> str:
    """A question without the options that some tables write under it, from the text ``options``
    on, where they are ``given`` in columns of their own. Empty: it is in the picture."""
    question = str(row.get("question", ""))
    return question.partition(options)[0] if given else question


def _kit_mathvista(row: Cells) -> dict[str, Any]:
    """Golds that a table read as numbers (``14.0``, or ``2`` for 2.0) are written as the owners'
    again, and a choice is taken by its letter, which no table changes."""
    choices = [str(choice) for choice in _list(row, "choices")] or None
    answer, kind = str(row["answer"]), row["answer_type"]
    hint = _HINT.search(str(row["question"]))
    question = _BEFORE.sub("", _question(row, "\nChoices:", bool(choices)), count=1)
    question, unit = _without_unit(question, row.get("unit"))
    decimals = _DECIMALS[hint[1]] if hint else max(1, len(answer.partition(".")[2]))
    precision = int(float(row.get("precision", decimals)))
    letter = str(row.get("answer_option", ""))
    if choices and len(letter) == 1 and 0 <= ord(letter) - ord("A") < len(choices):
        answer = choices[ord(letter) - ord("A")]
    elif not choices and kind == "integer":
        answer = identity(answer)
    elif not choices and kind == "float":
        answer = str(round(float(answer), precision))
    return {
        "pid": identity(row["index"]),
        "question": question,
        "choices": choices,
        "question_type": row.get("question_type", "multi_choice" if choices else "free_form"),
        "answer_type": kind,
        "unit": unit,
        "precision": precision if kind == "float" else None,
        "answer": answer,
        "image": f"images/{identity(row['index'])}.jpg",  # all 1000 of the owners' are named so
        "metadata": {
            "skills": _list(row, "skills"),
            **{
                facet: row[facet]
                for facet in ("task", "category", "context", "grade", "source", "language")
                if facet in row
            },
        },
    }


def _without_unit(question: str, unit: str | None) -> tuple[str, str | None]:
    """A question and its unit, which may be the question's end, in a table without a column for
    it."""
    asked, mark, end = question.rpartition(" (Unit: ")
    told = end.removesuffix(")")
    if not mark or told == end or not told or {")", "\n"} & set(told):
        return question, unit
    return (asked, told) if unit in (None, told) else (question, unit)


def _kit_wemath(row: Cells) -> dict[str, Any]:
    options = "; ".join(f"{letter}. {row[letter]}" for letter in "ABCDEFGH" if letter in row)
    return {
        "ID": row["ID"],
        "key": row["key"],
        "question": row.get("question", ""),
        "option": options,
        "answer": row["answer"],
        "knowledge concept": row.get("knowledge concept", ""),
    }


def _kit_mathverse(row: Cells) -> dict[str, Any]:
    answer = _gold(row["answer"])
    return {
        "sample_index": identity(row["index"]),
        "problem_index": identity(row.get("problem_index", row["index"])),
        "problem_version": row["problem_version"],
        "question": row.get("question", ""),
        "question_for_eval": row.get("question_for_eval"),
        "answer": answer,
        "question_type": row.get(
            "question_type", "multi-choice" if answer in list("ABCDEFGH") else "free-form"
        ),
        "metadata": row.get("metadata", {}),
    }


def _kit_mathvision(row: Cells) -> dict[str, Any]:
    options = _list(row, "choices")
    return {
        "id": identity(row["index"]),
        "question": _question(row, "\n(A) ", bool(options)),
        "options": options,
        "answer": _gold(row["answer"]),
        "level": identity(row.get("level", "unknown")),
        "subject": row.get("category", "unknown"),
    }


def _kit(
    title: str,
    benchmarks: tuple[str, ...],
    needs: tuple[str, ...],
    row: Callable[[Cells], dict[str, Any]] | None,
    id: Callable[[Cells], str] = lambda row: identity(row["index"]),
    extraction: str | None = None,
    verdict: tuple[str, ...] = ("verifier_score",),
) -> Format:
    columns = ("index", "prediction", *needs)
    return Format(title, benchmarks, columns, id, ("prediction",), extraction, verdict, row)


#: Every format, the more particular before the more general.
FORMATS = (
    _kit(
        "VLMEvalKit We-Math", ("wemath",), ("ID", "key"), _kit_wemath, wemath_id, verdict=("hit",)
    ),
    _kit(
        "VLMEvalKit MathVista", ("mathvista",), ("answer_type",), _kit_mathvista, extraction="res"
    ),
    _kit(
        "VLMEvalKit MathVerse",
        ("mathverse",),
        ("problem_version",),
        _kit_mathverse,
        extraction="extract",
        verdict=("score", "verifier_score"),
    ),
    _kit("VLMEvalKit MathVision", ("mathvision",), ("choices",), _kit_mathvision, extraction="res"),
    _kit("VLMEvalKit", (), (), None, verdict=("hit", "score", "verifier_score")),
    Format(
        "MathVerse",
        ("mathverse", "mathverse_text_only"),
        ("sample_index", "model_answer"),
        lambda row: str(row["sample_index"]),
        ("model_answer",),
        "extraction",
        ("judgement", "judgment"),
        dict,
    ),
    Format(
        "MathVista",
        ("mathvista",),
        ("answer_type", "question_type", "response"),
        lambda row: str(row["pid"]),
        ("execution", "response"),
        "extraction",
        ("true_false",),
        lambda row: {"choices": None, "precision": None, **row},
    ),
    Format(
        "We-Math",
        ("wemath",),
        ("ID", "key", "answer", "option"),
        wemath_id,
        ("response", "prediction", "output"),
        None,
        ("hit",),
        lambda row: {"question": "", "knowledge concept": "", **row},
    ),
    Format(
        "MathVision",
        ("mathvision",),
        ("id", "response"),
        lambda row: str(row["id"]),
        ("response",),
        "model_answer",
        ("correct",),
        None,
    ),
)
