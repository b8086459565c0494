"""VLMEvalKit's TSV of a benchmark: one table with its pictures in base64.

A cell of ``image`` holds a picture, a list of one, or (up to 64 characters) the index of the row
that holds it; without that column, ``image_path`` holds paths. Rules of
``vlmeval/dataset/image_base.py``; the columns are those its code reads, as published headers are
not at hand.
"""

from __future__ import annotations

import ast
import base64
import binascii
import hashlib
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from benchmarks.base import DataError
from benchmarks.data import tables
from benchmarks.data.formats import FORMATS, identity
from benchmarks.data.questions import Row

#: Longer cells are pictures, shorter ones name the row that holds theirs.
REFERENCE = 64
#: md5 of the published tables, each by one of its names, from VLMEvalKit's code at e8e78f05.
MD5 = {
    "MathVista_MINI.tsv": "f199b98e178e5a2a20e7048f5dcb0464",
    "WeMath.tsv": "b5e969a075f01290a542411fb7766388",
    "MathVerse_MINI.tsv": "5017caca32b7fa110c350a1bea861b65",
    "MathVerse_MINI_Vision_Only.tsv": "68a11d4680014ac881fa37adeadea3a4",
    "MathVerse_MINI_Vision_Dominant.tsv": "b8fb63852d261ab2aaefba29cc2414d3",
    "MathVerse_MINI_Vision_Intensive.tsv": "01cbd35be202bb0c4873a4186a63bc19",
    "MathVerse_MINI_Text_Lite.tsv": "19e4b13bdd30b89a03b2e358bcfefa04",
    "MathVerse_MINI_Text_Dominant.tsv": "4f5cd2fa6630ea00bb11d6fde1f6fe6a",
    "MathVision.tsv": "93f6de14f7916e598aa1b7165589831e",
    "MathVision_MINI.tsv": "060fe4fa5d868987ce179307bd5f8a33",
}


def rows(path: Path, name: str, pictures: bool = True) -> Iterator[Row]:
    """The rows of a TSV in the owners' columns of the benchmark ``name``.

    Raises :class:`DataError` naming file and row: a cut table, a picture that is no base64, a
    reference to no row.
    """
    convert = next((f.row for f in FORMATS if name in f.benchmarks and "index" in f.needs), None)
    if convert is None:
        raise DataError(f"{path}: the columns of {name} in a TSV of VLMEvalKit are not known.")
    _whole(path)
    table = tables.rows(path)
    cells = {identity(row.get("index")): row.get("image") for _, row in table}
    for where, row in table:
        given = {key: value for key, value in row.items() if value is not None}
        try:
            owners = convert(given)
        except KeyError as error:
            raise DataError(
                f"{where}: no field {error}, which VLMEvalKit's table of {name} has. Fields there: "
                f"{', '.join(sorted(given))}."
            ) from None
        except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError) as error:
            raise DataError(f"{where}: not a row of VLMEvalKit's {name} ({error}).") from None
        for query in ("query_wo", "query_cot"):
            if query in given:
                owners[query] = given[query]
        owners.pop("image_path", None)
        owners["image"] = owners.get("image") or identity(row.get("index"))
        if pictures:
            owners["decoded_image"] = _picture(where, given, cells)
        yield where, owners


def md5(path: Path) -> str:
    """The md5 of a table, computed once for each state of the file."""
    state = path.stat()
    return _md5(path, state.st_mtime_ns, state.st_size)


@lru_cache(maxsize=32)
def _md5(path: Path, changed: int, size: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest()


def has_pictures(path: Path) -> bool:
    """Whether a table has the column of pictures."""
    with path.open("rb") as file:
        return b"image" in file.readline(1 << 20).rstrip().split(b"\t")


def _whole(path: Path) -> None:
    """A table that was written to its end ends with a line break."""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - 1))
        if file.read(1) not in (b"\n", b""):
            raise DataError(f"{path}: does not end with a line break; is it cut?")


def _picture(where: str, row: Mapping[str, Any], cells: Mapping[str, Any]) -> Any:
    cell = row.get("image")
    if cell is None:
        path = _one(where, row.get("image_path"))
        if path is None:
            raise DataError(f"{where}: holds neither 'image' nor 'image_path'.")
        return {"path": path}
    if len(str(cell)) <= REFERENCE:
        held = cells.get(identity(cell))
        if held is None or len(str(held)) <= REFERENCE:
            raise DataError(f"{where}: its image is that of row {cell!r}, which holds none.")
        cell = held
    try:
        return {"bytes": base64.b64decode(_one(where, cell) or "", validate=True)}
    except (binascii.Error, ValueError) as error:
        raise DataError(f"{where}: its image is no base64 ({error}).") from None


def _one(where: str, cell: Any) -> str | None:
    """The one text of a cell, which may be written as a list of one."""
    if cell is None:
        return None
    text = str(cell)
    if not text.startswith("["):
        return text
    try:
        texts = ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError) as error:
        raise DataError(f"{where}: its image is no list ({error}).") from None
    if not isinstance(texts, list) or len(texts) != 1:
        raise DataError(f"{where}: holds {len(texts)} images; expected one.")
    return str(texts[0])
