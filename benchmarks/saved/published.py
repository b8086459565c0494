"""Saved answers of other tools: files of responses that benchmarks' owners and toolkits publish.

A file is recognised by its columns, not by its name:

- MathVista ``output_*.json``: an object of rows by pid, with ``response`` (``execution`` where a
  program was the response and ran) and perhaps ``extraction``, ``true_false``;
- MathVision ``output_*.jsonl``: ``id``, ``response`` and perhaps ``model_answer``, ``correct``;
- MathVerse ``output_*.json``: ``model_answer``, and perhaps ``extraction``, ``judgement``;
- We-Math: rows with ``ID``, ``key`` and ``response``, ``prediction`` or ``output``;
- VLMEvalKit: TSV, CSV, JSON or xlsx with ``index`` and ``prediction``, as inference writes it or
  with the columns that its scorer adds;
- sample logs of lm-eval and lmms-eval: see :mod:`benchmarks.saved.logs`.

A list in place of a response holds samples of the item, as many in every row. A row with ``error``
and no response, as MathVista's script writes it, is an answer that failed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.base import Benchmark, DataError, Item
from benchmarks.data import tables
from benchmarks.data.formats import FORMATS, Format
from benchmarks.data.questions import Row
from benchmarks.official.benchmark import OfficialBenchmark
from benchmarks.saved import logs
from benchmarks.saved.answer import Answer, Published, Reply, answers, of_each, responses


def benchmark_of(path: Path) -> str | None:
    """The benchmark that a file is of, where its format tells. Raises :class:`DataError`."""
    rows = tables.rows(path)
    if logs.is_log(rows):
        return logs.benchmark_of(rows)
    return next(iter(_recognise(path, rows).benchmarks), None)


def read(path: Path, one: Benchmark, items: Sequence[Item] | None = None) -> Published:
    """The answers of a published file to the items of a benchmark. ``items`` are those of its data,
    where that is at hand: of a log they can say which of them a row answers.

    Raises :class:`DataError` naming file and row: no known format, another benchmark's, a field
    that is missing, a row that is cut, an id twice.
    """
    rows = tables.rows(path)
    if logs.is_log(rows):
        return logs.read(path, rows, one, items)
    known = _recognise(path, rows)
    if known.benchmarks and one.name not in known.benchmarks:
        raise DataError(f"{path}: is a {known.title} file, not one of {one.name}.")
    replies: list[Reply] = []
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
            replies.append(_reply(where, name, row, given, known))
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
    said = answers(replies)
    held = None
    if known.row is not None and isinstance(one, OfficialBenchmark):
        held = tuple(one.items(str(path), owners))
    notes = _lost(said) if path.suffix == ".xlsx" else ()
    return Published(known.title, said, held, notes)


def _reply(
    where: str, name: str, row: Mapping[str, Any], given: Mapping[str, Any], known: Format
) -> Reply:
    """What a row holds. KeyError where it has neither a column of responses nor an error."""
    if "error" in given and all(given.get(column, "") == "" for column in known.response):
        return Reply(where, name, ())
    if not any(column in row for column in known.response):
        raise KeyError(" or ".join(known.response))
    texts = responses(where, next((given[c] for c in known.response if c in given), ""))
    extraction = given.get(known.extraction) if known.extraction else None
    column = next((c for c in known.verdict if c in given), "")
    verdicts = of_each(where, column, given.get(column), len(texts))
    return Reply(
        where,
        name,
        texts,
        of_each(where, str(known.extraction), extraction, len(texts)),
        tuple(_verdict(where, verdict) for verdict in verdicts),
    )


def _recognise(path: Path, rows: Sequence[Row]) -> Format:
    """The format of a file by the columns of its rows; the first may lack what an error kept from
    being written."""
    if not rows:
        raise DataError(f"{path}: holds no rows.")
    columns = {column for _, row in rows for column in row}
    for known in FORMATS:
        if columns.issuperset(known.needs):
            return known
    wanted = "; ".join(f"{f.title}: {', '.join(f.needs)}" for f in FORMATS)
    raise DataError(
        f"{rows[0][0]}: no known format of saved answers. Columns there: "
        f"{', '.join(sorted(map(str, rows[0][1])))}. Known formats by their columns: {wanted}; "
        f"{logs.TITLE}: {', '.join(logs.NEEDS)}."
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
