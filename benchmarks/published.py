"""Saved answers of other tools: files of responses that benchmarks' owners and toolkits publish.

A file is recognised by its columns, not by its name:

- MathVista ``output_*.json``: an object of rows by pid, with ``response`` (``execution`` where a
  program was the response and ran) and perhaps ``extraction``, ``true_false``;
- MathVision ``output_*.jsonl``: ``id``, ``response`` and perhaps ``model_answer``, ``correct``;
- MathVerse ``output_*.json``: ``model_answer``, and perhaps ``extraction``, ``judgement``;
- We-Math: rows with ``ID``, ``key`` and ``response``, ``prediction`` or ``output``;
- VLMEvalKit: TSV, CSV, JSON or xlsx with ``index`` and ``prediction``.
"""

from __future__ import annotations

import ast
import csv
import importlib
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .base import Benchmark, DataError, Generation, Item
from .official import OfficialBenchmark
from .questions import Row, jsonl_rows

#: Columns that hold the response, in the order of preference.
RESPONSE = ("response", "prediction", "output")


@dataclass(frozen=True)
class Answer:
    """One saved response. ``extraction`` is what the owners' extraction made of it, ``published``
    the verdict in the file; None where the file holds none."""

    generation: Generation
    extraction: Any = None
    published: bool | None = None


@dataclass(frozen=True)
class Published:
    """A file of answers: what it is, and the items where the file itself holds their golds."""

    format: str
    answers: tuple[Answer, ...]
    items: tuple[Item, ...] | None


@dataclass(frozen=True)
class _Format:
    """``needs``: the columns that tell the format. ``row`` makes of a row one in the owners'
    columns; where it is None the golds are elsewhere."""

    title: str
    benchmark: str | None
    needs: tuple[str, ...]
    id: Callable[[Mapping[str, Any]], str]
    response: tuple[str, ...]
    extraction: str | None
    verdict: tuple[str, ...]
    row: Callable[[Mapping[str, Any]], dict[str, Any]] | None


def benchmark_of(path: Path) -> str | None:
    """The benchmark that a file is of, where its format tells. Raises :class:`DataError`."""
    rows = _rows(path)
    return _recognise(path, rows, None).benchmark


def read(path: Path, one: Benchmark) -> Published:
    """The answers of a published file to the items of a benchmark.

    Raises :class:`DataError` naming file and row: no known format, another benchmark's, a field
    that is missing, a row that is cut, an id twice.
    """
    rows = _rows(path)
    known = _recognise(path, rows, one.name)
    if known.benchmark not in (None, one.name):
        raise DataError(f"{path}: is a {known.title} file, not one of {one.name}.")
    answers: list[Answer] = []
    owners: list[Row] = []
    seen: dict[str, str] = {}
    for where, row in rows:
        try:
            given = {key: value for key, value in row.items() if not _missing(value)}
            name = known.id(given)
            column = next((c for c in known.response if c in row), None)
            if column is None:
                raise KeyError(" or ".join(known.response))
            if known.row is not None:
                owners.append((where, known.row(given)))
        except KeyError as error:
            raise DataError(
                f"{where}: no field {error.args[0]!r}, which a {known.title} file has. Fields "
                f"there: {', '.join(sorted(map(str, row)))}."
            ) from None
        except (ValueError, SyntaxError, TypeError) as error:
            raise DataError(f"{where}: not a row of a {known.title} file ({error}).") from None
        if name in seen:
            raise DataError(f"{where}: id {name!r} is already taken by {seen[name]}.")
        seen[name] = where
        text = next((str(given[c]) for c in known.response if c in given), "")
        verdict = next((given[c] for c in known.verdict if c in given), None)
        answers.append(
            Answer(
                Generation(name, "greedy", 0, text),
                given.get(known.extraction) if known.extraction else None,
                _verdict(where, verdict),
            )
        )
    items = None
    if known.row is not None and isinstance(one, OfficialBenchmark):
        items = tuple(one.items(str(path), owners))
    return Published(known.title, tuple(answers), items)


def _recognise(path: Path, rows: Sequence[Row], name: str | None) -> _Format:
    if not rows:
        raise DataError(f"{path}: holds no rows.")
    columns = set(rows[0][1])
    for known in _formats(name):
        if columns.issuperset(known.needs):
            return known
    wanted = "; ".join(f"{f.title}: {', '.join(f.needs)}" for f in _formats(name))
    raise DataError(
        f"{rows[0][0]}: no known format of saved answers. Columns there: "
        f"{', '.join(sorted(map(str, columns)))}. Known formats by their columns: {wanted}."
    )


def _missing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


def _verdict(where: str, value: Any) -> bool | None:
    if value is None or isinstance(value, bool):
        return value
    text = str(value).strip().lower()
    if text in ("1", "1.0", "true"):
        return True
    if text in ("0", "0.0", "false"):
        return False
    raise DataError(f"{where}: the published verdict {value!r} is neither true nor false.")


# ------------------------------------------------------------------------------------------ formats


def _formats(name: str | None) -> Iterator[_Format]:
    yield _Format(
        "VLMEvalKit",
        None,
        ("index", "prediction"),
        _VLMEVALKIT_ID.get(name or "", lambda row: str(row["index"])),
        ("prediction",),
        None,
        ("hit", "score", "match"),
        _VLMEVALKIT.get(name or ""),
    )
    yield _Format(
        "MathVerse",
        "mathverse",
        ("sample_index", "model_answer"),
        lambda row: str(row["sample_index"]),
        ("model_answer",),
        "extraction",
        ("judgement", "judgment"),
        dict,
    )
    yield _Format(
        "MathVista",
        "mathvista",
        ("answer_type", "question_type", "response"),
        lambda row: str(row["pid"]),
        ("execution", "response"),
        "extraction",
        ("true_false",),
        lambda row: {"choices": None, "precision": None, **row},
    )
    yield _Format(
        "We-Math",
        "wemath",
        ("ID", "key", "answer", "option"),
        _wemath_id,
        RESPONSE,
        None,
        ("hit",),
        lambda row: {"question": "", "knowledge concept": "", **row},
    )
    yield _Format(
        "MathVision",
        "mathvision",
        ("id", "response"),
        lambda row: str(row["id"]),
        ("response",),
        "model_answer",
        ("correct",),
        None,
    )


def _wemath_id(row: Mapping[str, Any]) -> str:
    return f"{row['ID']}/{str(row['key']).rpartition('_')[2]}"


def _literal(value: Any) -> Any:
    return ast.literal_eval(value) if isinstance(value, str) and len(value) < 100_000 else value


def _kit_mathvista(row: Mapping[str, Any]) -> dict[str, Any]:
    choices = _literal(row.get("choices")) or None
    answer = str(row["answer"])
    decimals = len(answer.partition(".")[2])
    return {
        "pid": row["index"],
        "question": row["question"],
        "choices": choices,
        "question_type": row.get("question_type", "multi_choice" if choices else "free_form"),
        "answer_type": row["answer_type"],
        "unit": row.get("unit"),
        "precision": row.get("precision", decimals),
        "answer": answer,
        "image": row["index"],
        "metadata": {"task": row.get("task"), "skills": _literal(row.get("skills")) or []},
    }


def _kit_wemath(row: Mapping[str, Any]) -> dict[str, Any]:
    options = "; ".join(f"{letter}. {row[letter]}" for letter in "ABCDEFGH" if letter in row)
    return {
        "ID": row["ID"],
        "key": row["key"],
        "question": row["question"],
        "option": options,
        "answer": row["answer"],
        "knowledge concept": row.get("knowledge concept", ""),
    }


def _kit_mathverse(row: Mapping[str, Any]) -> dict[str, Any]:
    answer = str(row["answer"])
    return {
        "sample_index": row["index"],
        "problem_index": row.get("problem_index", row["index"]),
        "problem_version": row["problem_version"],
        "question": row["question"],
        "question_for_eval": row.get("question_for_eval"),
        "answer": answer,
        "question_type": row.get(
            "question_type", "multi-choice" if answer in list("ABCDEFGH") else "free-form"
        ),
        "metadata": row.get("metadata", {}),
    }


def _kit_mathvision(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "id": row["index"],
        "question": row["question"],
        "options": _literal(row.get("choices")) or [],
        "answer": row["answer"],
        "level": row.get("level", "unknown"),
        "subject": row.get("category", "unknown"),
    }


_VLMEVALKIT: Mapping[str, Callable[[Mapping[str, Any]], dict[str, Any]]] = {
    "mathvista": _kit_mathvista,
    "wemath": _kit_wemath,
    "mathverse": _kit_mathverse,
    "mathvision": _kit_mathvision,
}
_VLMEVALKIT_ID: Mapping[str, Callable[[Mapping[str, Any]], str]] = {"wemath": _wemath_id}

# -------------------------------------------------------------------------------------------- files


def _rows(path: Path) -> list[Row]:
    if not path.is_file():
        raise DataError(f"{path}: no such file.")
    if path.suffix == ".jsonl":
        return list(jsonl_rows(path))
    if path.suffix == ".json":
        return list(_json(path))
    if path.suffix in (".tsv", ".csv"):
        return list(_table(path))
    if path.suffix == ".xlsx":
        return list(_sheet(path))
    raise DataError(
        f"{path}: a file of saved answers ends in .json, .jsonl, .tsv, .csv or .xlsx; our own are "
        "generations.parquet and the folders that hold it."
    )


def _json(path: Path) -> Iterator[Row]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=_unique)
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path}: not a readable JSON file ({error}).") from None
    if isinstance(content, dict):
        named = [(f"{path}, row {key!r}", {"pid": key}, row) for key, row in content.items()]
    elif isinstance(content, list):
        named = [(f"{path}, row {number}", {}, row) for number, row in enumerate(content)]
    else:
        raise DataError(f"{path}: must hold a list or an object of rows.")
    for where, key, row in named:
        if not isinstance(row, dict):
            raise DataError(f"{where}: must be an object, is {type(row).__name__}.")
        yield where, {**key, **row}


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object whose names are unique: of two rows with one id, JSON keeps the last in silence."""
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the row or field {twice!r} is there twice")
    return found


def _table(path: Path) -> Iterator[Row]:
    csv.field_size_limit(1 << 30)
    delimiter = "\t" if path.suffix == ".tsv" else ","
    try:
        with path.open(encoding="utf-8", newline="") as file:
            reader = csv.reader(file, delimiter=delimiter, strict=True)
            yield from _with_header(path, reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: not a readable table ({error}).") from None


def _sheet(path: Path) -> Iterator[Row]:
    try:
        openpyxl = importlib.import_module("openpyxl")
    except ImportError:
        raise DataError(
            f"{path}: reading .xlsx needs the package openpyxl: install it (pip install openpyxl), "
            "or save the sheet as .tsv or .json."
        ) from None
    try:
        book = openpyxl.load_workbook(path, read_only=True, data_only=True)
    except Exception as error:  # zip, XML and format errors of several libraries
        raise DataError(f"{path}: not a readable .xlsx file ({error}).") from None
    yield from _with_header(path, book.worksheets[0].iter_rows(values_only=True))


def _with_header(path: Path, lines: Any) -> Iterator[Row]:
    header: list[str] | None = None
    for number, line in enumerate(lines):
        values = list(line)
        if header is None:
            header = [str(name) for name in values]
            continue
        where = f"{path}, row {number}"
        if len(values) != len(header):
            raise DataError(
                f"{where}: holds {len(values)} fields, and the header names {len(header)}: is it "
                "cut?"
            )
        yield where, {n: None if v == "" else v for n, v in zip(header, values, strict=True)}
