"""Saved answers of other tools: files of responses that benchmarks' owners and toolkits publish.

A file is recognised by its columns, not by its name:

- MathVista ``output_*.json``: an object of rows by pid, with ``response`` (``execution`` where a
  program was the response and ran) and perhaps ``extraction``, ``true_false``;
- MathVision ``output_*.jsonl``: ``id``, ``response`` and perhaps ``model_answer``, ``correct``;
- MathVerse ``output_*.json``: ``model_answer``, and perhaps ``extraction``, ``judgement``;
- We-Math: rows with ``ID``, ``key`` and ``response``, ``prediction`` or ``output``;
- VLMEvalKit: TSV, CSV, JSON or xlsx with ``index`` and ``prediction``, as inference writes it or
  with the columns that its scorer adds.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.base import Benchmark, DataError, Generation, Item
from benchmarks.data import tables
from benchmarks.data.formats import FORMATS, Format
from benchmarks.data.questions import Row
from benchmarks.official.benchmark import OfficialBenchmark


@dataclass(frozen=True)
class Answer:
    """One saved response. ``extraction`` is what the owners' extraction made of it, ``published``
    the verdict in the file; None where the file holds none."""

    generation: Generation
    extraction: Any = None
    published: bool | None = None


@dataclass(frozen=True)
class Published:
    """A file of answers: what it is, and the items where the file itself holds their golds.
    ``notes`` say what the file can have lost."""

    format: str
    answers: tuple[Answer, ...]
    items: tuple[Item, ...] | None
    notes: tuple[str, ...] = ()


def benchmark_of(path: Path) -> str | None:
    """The benchmark that a file is of, where its format tells. Raises :class:`DataError`."""
    return _recognise(path, tables.rows(path)).benchmark


def read(path: Path, one: Benchmark) -> Published:
    """The answers of a published file to the items of a benchmark.

    Raises :class:`DataError` naming file and row: no known format, another benchmark's, a field
    that is missing, a row that is cut, an id twice.
    """
    rows = tables.rows(path)
    known = _recognise(path, rows)
    if known.benchmark not in (None, one.name):
        raise DataError(f"{path}: is a {known.title} file, not one of {one.name}.")
    answers: list[Answer] = []
    owners: list[Row] = []
    seen: dict[str, str] = {}
    for where, row in rows:
        try:
            given = {key: value for key, value in row.items() if not _missing(value)}
            name = known.id(given)
            if path.suffix == ".xlsx" and name.startswith("="):
                raise DataError(
                    f"{where}: its id is the formula {name!r}; save the sheet as values."
                )
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
        except DataError:
            raise
        except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError) as error:
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
    notes = _lost(answers) if path.suffix == ".xlsx" else ()
    return Published(known.title, tuple(answers), items, notes)


def _recognise(path: Path, rows: Sequence[Row]) -> Format:
    if not rows:
        raise DataError(f"{path}: holds no rows.")
    columns = set(rows[0][1])
    for known in FORMATS:
        if columns.issuperset(known.needs):
            return known
    wanted = "; ".join(f"{f.title}: {', '.join(f.needs)}" for f in FORMATS)
    raise DataError(
        f"{rows[0][0]}: no known format of saved answers. Columns there: "
        f"{', '.join(sorted(map(str, columns)))}. Known formats by their columns: {wanted}."
    )


def _missing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


def _lost(answers: Sequence[Answer]) -> tuple[str, ...]:
    texts = [answer.generation.text for answer in answers]
    empty = sum(text == "" for text in texts)
    full = sum(len(text) >= tables.MAX_CELL for text in texts)
    found = []
    if empty:
        found.append(
            f"responses in empty cells: {empty}; some writers drop what is too long for one"
        )
    if full:
        found.append(
            f"responses that fill their cell: {full}; a sheet cuts text at {tables.MAX_CELL} "
            "characters"
        )
    return tuple(found)


def _verdict(where: str, value: Any) -> bool | None:
    if value is None or isinstance(value, bool):
        return value
    text = str(value).strip().lower()
    if text in ("1", "1.0", "true"):
        return True
    if text in ("0", "0.0", "false"):
        return False
    raise DataError(f"{where}: the published verdict {value!r} is neither true nor false.")
