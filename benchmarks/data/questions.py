"""Question files: what a training pool or a set of synthetic questions is stored as.

A question file is JSONL, one object a line: ``id``, ``question`` (or ``problem``), ``answer``,
``images`` (paths relative to the file), ``solution``, ``cluster``, ``meta``; or parquet with the
same columns, pictures embedded as Hugging Face stores them (``{"bytes", "path"}``). An ``<image>``
in the question is the place of a picture. A hub source
``hub:owner/name@revision[split]`` is the parquet files of one split of a dataset.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.atomic import remove_unfinished, whole_file
from benchmarks.base import DataError, Item, Picture, placed
from benchmarks.data.hub import at_hub

_SHARD = re.compile(r"(?P<name>.*)-(?P<number>\d{5})-of-(?P<total>\d{5})(?:-.*)?")
#: How the usual image files begin: PNG, JPEG, GIF, WebP.
_SIGNATURES = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF8", b"RIFF")
_SURROGATE = re.compile("[\ud800-\udfff]")
_KNOWN = ("id", "question", "problem", "answer", "images", "image", "solution", "cluster", "meta")

Row = tuple[str, dict[str, Any]]  # (where it stands, for messages; the row)


def load_questions(source: Path | str, any_picture: bool = False) -> list[Item]:
    """The questions of a JSONL or parquet file, a folder that :func:`save_questions` wrote, or a
    hub source. Columns that are not listed above are kept in ``meta``; a row without id gets its
    number. ``any_picture`` lets a file pass that is no image, for a caller who looks at them all.

    Raises :class:`DataError` naming file and row.
    """
    rows, folder = _rows(source)
    items = distinct(
        (where, _item(where, row, folder, n, any_picture)) for n, (where, row) in enumerate(rows)
    )
    if not items:
        raise DataError(f"{source}: holds no questions.")
    return items


def distinct(items: Iterable[tuple[str, Item]]) -> list[Item]:
    """The items, each of which comes with where it stands. Raises :class:`DataError` where an id
    is there twice."""
    places: dict[str, str] = {}
    kept: list[Item] = []
    for where, item in items:
        if item.id in places:
            raise DataError(f"{where}: id {item.id!r} is already taken by {places[item.id]}.")
        places[item.id] = where
        kept.append(item)
    return kept


def _rows(source: Path | str) -> tuple[Iterator[Row], Path]:
    if (hub := at_hub(source)) is not None:
        if not hub.split:
            raise DataError(f"{source!r}: name the split too, as in {source}[train].")
        folder = hub.download()
        return parquet_rows(split_files(folder, hub.split)), folder
    path = Path(source)
    if path.is_dir():
        path = path / "questions.jsonl"
    if not path.is_file():
        raise DataError(f"{path}: no such question file (.jsonl or .parquet).")
    if path.suffix == ".parquet":
        return parquet_rows([path]), path.parent
    if path.suffix == ".jsonl":
        return jsonl_rows(path), path.parent
    raise DataError(f"{path}: a question file ends in .jsonl or .parquet, not {path.suffix!r}.")


def jsonl_rows(path: Path) -> Iterator[Row]:
    """The objects of a JSONL file, blank lines left out."""
    try:
        with path.open(encoding="utf-8-sig") as file:
            for number, line in enumerate(file, 1):
                if not line.strip():
                    continue
                where = f"{path}, line {number}"
                try:
                    row = json.loads(line)
                except (ValueError, RecursionError) as error:
                    raise DataError(f"{where}: not JSON ({error}).") from None
                if not isinstance(row, dict):
                    raise DataError(f"{where}: must be a JSON object, is {type(row).__name__}.")
                yield where, row
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read ({error}).") from None


def parquet_rows(files: Sequence[Path]) -> Iterator[Row]:
    """The rows of parquet files, in the order given, a few at a time."""
    import pyarrow
    import pyarrow.parquet

    for path in files:
        number = 1
        try:
            with pyarrow.parquet.ParquetFile(path) as table:
                for batch in table.iter_batches(batch_size=64):
                    for row in batch.to_pylist():
                        yield f"{path}, row {number}", row
                        number += 1
        except (OSError, ValueError, MemoryError, pyarrow.ArrowException) as error:
            raise DataError(f"{path}: not a readable parquet file ({error}).") from None


def split_files(folder: Path, split: str) -> list[Path]:
    """The parquet files of one split: ``split-*.parquet``, ``split.parquet`` or ``split/*.parquet``
    anywhere below the folder, in the order of their names.

    Raises :class:`DataError` where there is none, or a part of a numbered set is missing.
    """
    chosen = parquet_files(folder, split)
    if not chosen:
        names = sorted({re.split(r"-\d{5}", p.stem)[0] for p in folder.rglob("*.parquet")})
        known = f"; splits there: {', '.join(names)}" if names else "; it holds no parquet file"
        raise DataError(f"{folder}: no parquet file of a split {split!r}{known}.")
    return chosen


def parquet_files(folder: Path, split: str) -> list[Path]:
    """As :func:`split_files`, none where the folder holds none."""
    chosen = [
        p
        for p in sorted(folder.rglob("*.parquet"))
        if p.stem == split or p.stem.startswith(f"{split}-") or p.parent.name == split
    ]
    parts: dict[tuple[Path, str, int], set[int]] = {}
    for path in chosen:
        if match := _SHARD.fullmatch(path.stem):
            whole = (path.parent, match["name"], int(match["total"]))
            parts.setdefault(whole, set()).add(int(match["number"]))
    for (where, name, total), there in parts.items():
        if missing := sorted(set(range(total)) - there):
            raise DataError(
                f"{where}: {name}.parquet is in {total} parts, and part {missing[0]:05d} of "
                f"{total:05d} is missing ({len(missing)} in all)."
            )
    return chosen


def _item(where: str, row: Mapping[str, Any], folder: Path, number: int, any_picture: bool) -> Item:
    question = row.get("question", row.get("problem"))
    if not isinstance(question, str) or not question.strip():
        raise DataError(f"{where}: 'question' must be a text, is {question!r}.")
    given = row.get("images", row.get("image"))
    pictures = [] if given is None else given if isinstance(given, list) else [given]
    meta = row.get("meta") or {}
    if not isinstance(meta, Mapping):
        raise DataError(f"{where}: 'meta' must be an object, is {meta!r}.")
    extra = {k: v for k, v in row.items() if k not in _KNOWN and v is not None}
    identity = row.get("id")
    return Item(
        id=str(number if identity is None else identity),
        question=placed(where, question, len(pictures)).strip(),
        answer=_text(where, row, "answer"),
        images=tuple(picture(where, given, folder, any_picture) for given in pictures),
        cluster=_text(where, row, "cluster"),
        solution=_text(where, row, "solution"),
        meta={**extra, **meta},
    )


def _text(where: str, row: Mapping[str, Any], key: str) -> str:
    value = row.get(key)
    if value is None:
        return ""
    if isinstance(value, str | int | float):
        return str(value)
    raise DataError(f"{where}: {key!r} must be a text or a number, is {value!r}.")


def picture(where: str, given: object, folder: Path, any_file: bool = False) -> Picture:
    """A picture as a row gives it: a path, bytes, or ``{"bytes", "path"}``. It must be there, and
    begin as an image does unless ``any_file`` will do."""
    if isinstance(given, Mapping):
        given = given.get("bytes") or given.get("path")
    if isinstance(given, bytes) and given:
        if not any_file and not is_image(given):
            raise DataError(f"{where}: its picture is not an image ({len(given)} bytes).")
        return given
    if not isinstance(given, str) or not given:
        raise DataError(f"{where}: a picture must be a path or bytes, is {given!r}.")
    path = folder / given
    if not path.is_file():
        raise DataError(f"{where}: picture {path} does not exist.")
    if not any_file and not is_image(path):
        raise DataError(f"{where}: picture {path} is not an image.")
    return path


def is_image(given: Picture) -> bool:
    """Whether a picture begins as image files do: a web page or the pointer to a file that was
    never fetched does not. Its end is not looked at."""
    if isinstance(given, bytes):
        start = given[:16]
    else:
        with given.open("rb") as file:
            start = file.read(16)
    if start.startswith(_SIGNATURES):
        return True
    from PIL import Image

    try:
        with Image.open(given if isinstance(given, Path) else io.BytesIO(given)):
            return True
    except Exception:  # decoders raise of every kind
        return False


def save_questions(items: Iterable[Item], folder: Path) -> Path:
    """Write ``questions.jsonl`` and ``images/`` (each picture once, named by its content).

    The file and each picture appear when they are complete; one process writes to a folder at a
    time, and what a killed one left is removed. Returns the file's path.
    """
    pictures = folder / "images"
    pictures.mkdir(parents=True, exist_ok=True)
    for place in (folder, pictures):
        remove_unfinished(place)
    path = folder / "questions.jsonl"
    with whole_file(path) as fresh, fresh.open("w", encoding="utf-8") as file:
        for item in items:
            row: dict[str, Any] = {"id": item.id, "question": item.question, "answer": item.answer}
            row["images"] = [f"images/{_store(p, pictures)}" for p in item.images]
            row |= {"solution": item.solution, "cluster": item.cluster, "meta": dict(item.meta)}
            file.write(json_line(row))
    return path


def json_line(row: Mapping[str, Any]) -> str:
    """An object as a line of a JSONL file, for people to read; what UTF-8 cannot hold, half of a
    surrogate pair, stays the escape that it was."""
    text = json.dumps(row, ensure_ascii=False)
    return _SURROGATE.sub(lambda match: f"\\u{ord(match[0]):04x}", text) + "\n"


def _store(given: Picture, folder: Path) -> str:
    content = given if isinstance(given, bytes) else given.read_bytes()
    suffix = given.suffix.lower() if isinstance(given, Path) else _suffix(content)
    name = hashlib.sha256(content).hexdigest()[:16] + suffix
    if not (folder / name).exists():
        with whole_file(folder / name) as fresh:
            fresh.write_bytes(content)
    return name


def _suffix(content: bytes) -> str:
    if content.startswith(b"\x89PNG"):
        return ".png"
    if content.startswith(b"\xff\xd8"):
        return ".jpg"
    return ".webp" if content[8:12] == b"WEBP" else ".img"
