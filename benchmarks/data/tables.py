"""Rows of a file as another tool saved them: JSON, JSON lines, TSV, CSV or a sheet (.xlsx)."""

from __future__ import annotations

import csv
import importlib
import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from benchmarks.base import DataError
from benchmarks.data.questions import Row, jsonl_rows

#: What a sheet's cell can hold; writers cut or drop what is longer.
MAX_CELL = 32_767
#: How a sheet writes a control character.
_ESCAPED = re.compile(r"_x(00[01][0-9A-Fa-f])_")


def rows(path: Path) -> list[Row]:
    """Every row with its place, for messages. An empty cell is None; the formula of a sheet's cell
    is the text it was made from: tools write a response such as ``=3+4`` as a formula, and its
    saved value is not what the model said.

    Raises :class:`DataError` naming file and row.
    """
    if not path.is_file():
        raise DataError(f"{path}: no such file.")
    if path.suffix == ".jsonl":
        return list(jsonl_rows(path))
    if path.suffix == ".json":
        return list(_json(path))
    if path.suffix in (".tsv", ".csv"):
        return list(_delimited(path))
    if path.suffix == ".xlsx":
        return list(_sheet(path))
    raise DataError(
        f"{path}: a file of saved answers ends in .json, .jsonl, .tsv, .csv or .xlsx; our own are "
        "generations.parquet and the folders that hold it."
    )


def _json(path: Path) -> Iterator[Row]:
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"), object_pairs_hook=_unique)
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path}: not a readable JSON file ({error}).") from None
    if isinstance(content, dict):
        named = [(f"{path}, row {key!r}", {"pid": key}, row) for key, row in content.items()]
    elif isinstance(content, list):
        named = [(f"{path}, row {number}", {}, row) for number, row in enumerate(content, 1)]
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


def _delimited(path: Path) -> Iterator[Row]:
    csv.field_size_limit(1 << 30)
    delimiter = "\t" if path.suffix == ".tsv" else ","
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            yield from _with_header(path, csv.reader(file, delimiter=delimiter, strict=True))
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
        book = openpyxl.load_workbook(path)
        lines = [
            [_cell(c) for c in line] for line in book.worksheets[0].iter_rows(values_only=True)
        ]
    except Exception as error:  # zip, XML and format errors of several libraries
        raise DataError(f"{path}: not a readable .xlsx file ({error}).") from None
    # A cell that was coloured and emptied makes a sheet longer and wider than its table.
    while lines and all(cell is None for cell in lines[-1]):
        lines.pop()
    if not lines:
        return
    width = max((n + 1 for n, name in enumerate(lines[0]) if name is not None), default=0)
    for number, line in enumerate(lines):
        if any(cell is not None for cell in line[width:]):
            raise DataError(f"{path}, row {number}: holds a cell right of the last named column.")
    yield from _with_header(path, (line[:width] for line in lines))


def _cell(value: Any) -> Any:
    if hasattr(value, "text") and hasattr(value, "ref"):  # openpyxl's ArrayFormula: text is "=..."
        return f"{{{value.text}}}"
    if isinstance(value, str):
        return _ESCAPED.sub(lambda match: chr(int(match[1], 16)), value)
    return value


def _with_header(path: Path, lines: Iterable[list[Any]]) -> Iterator[Row]:
    header: list[str] | None = None
    for number, values in enumerate(lines):
        if header is None:
            header = [str(name) for name in values]
            twice = next((name for name in header if header.count(name) > 1), None)
            if twice is not None:
                raise DataError(f"{path}: the column {twice!r} is there twice.")
            continue
        where = f"{path}, row {number}"
        if len(values) != len(header):
            raise DataError(
                f"{where}: holds {len(values)} fields, and the header names {len(header)}: is it "
                "cut?"
            )
        yield where, {n: None if v == "" else v for n, v in zip(header, values, strict=True)}
