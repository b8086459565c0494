"""What the owners of a benchmark published, and what a copy of it holds otherwise.

An :class:`benchmarks.base.Edition` has the numbers of rows, and where the rows themselves were at
hand a fingerprint of each (``published_rows/<benchmark>-<split>.txt``): all that a verdict depends
on, without regard to white space, and where the pictures were at hand their bytes. Of VLMEvalKit's
tables, whose wording is another, the md5 of the file is compared.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from benchmarks.base import DataError, Edition, Item
from benchmarks.data import vlmevalkit_tsv
from benchmarks.data.files import Files

#: Of a fingerprint: 48 bits.
DIGITS = 12
_FOLDER = Path(__file__).parent / "published_rows"


def fingerprint(item: Item, judged: Sequence[str]) -> str:
    """Twelve hex digits over id, question, gold, cluster and the fields of ``meta`` that ``judged``
    names, white space left out."""
    fields = [item.id, item.question, item.answer, item.cluster]
    said = ascii([_bare(each) for each in (*fields, *(item.meta.get(name) for name in judged))])
    return hashlib.sha256(said.encode()).hexdigest()[:DIGITS]


def _bare(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_bare(each) for each in value]
    return "" if value is None else "".join(str(value).split())


def picture_mark(item: Item) -> str:
    """Twelve hex digits over the bytes of an item's pictures; empty where it was loaded without."""
    held = [p if isinstance(p, bytes) else p.read_bytes() for p in item.images]
    return hashlib.sha256(b"".join(held)).hexdigest()[:DIGITS] if held else ""


@cache
def published(name: str, split: str) -> Mapping[str, tuple[str, str]]:
    """(fingerprint, picture's mark or "") by id; empty where the rows were not at hand."""
    path = _FOLDER / f"{name}-{split}.txt"
    if not path.is_file():
        return {}
    lines = [line.split(" ") for line in path.read_text(encoding="utf-8").splitlines()]
    return {id: (mark, picture[0] if picture else "") for id, mark, *picture in lines}


def compared(name: str, edition: Edition, source: Files) -> str:
    """What :func:`differences` can tell of this source, and what it cannot."""
    if source.kit:
        known = f"md5 of {edition.kit[0]}" if edition.kit else "no md5 known of such a table"
        return f"numbers of rows; {known}"
    rows = published(name, edition.split)
    if not rows:
        return f"numbers of rows; no fingerprints known of {name} {edition.split}"
    shown = any(picture for _, picture in rows.values())
    pictures = "each picture" if shown else "no picture's fingerprint known"
    return f"numbers of rows; each row with {edition.source}; {pictures}"


def differences(
    name: str,
    edition: Edition,
    items: Sequence[Item],
    judged: Sequence[str],
    counted: Callable[[Item], Iterable[tuple[str, str]]],
    same: Callable[[Item], Iterable[Item]],
    source: Files,
) -> list[str]:
    """One line for each kind of difference, with how many rows and which first. ``same`` are the
    forms in which a file can hold the row of an item.

    Of items that were loaded without their pictures, those are not compared.
    """
    lines: list[str] = []
    if len(items) != edition.n:
        lines.append(f"{len(items)} rows; the owners' {edition.split} has {edition.n}")
    if source.kit:
        lines += _other_table(source.paths[0], edition)
    elif rows := published(name, edition.split):
        there_are = {item.id for item in items}
        lines += _some("rows are missing", [i for i in rows if i not in there_are])
        lines += altered(name, edition, items, judged, same)
    groups = len({item.cluster or item.id for item in items})
    if edition.groups and groups != edition.groups:
        lines.append(f"{groups} groups; the owners have {edition.groups}")
    there = Counter(pair for item in items for pair in counted(item))
    told = {facet for facet, value in edition.counts if there[facet, value]}
    for (facet, value), n in edition.counts.items():
        if source.kit and facet not in told:
            continue  # VLMEvalKit's tables leave some of the owners' columns out
        if there[facet, value] != n:
            lines.append(f"{there[facet, value]} rows of {facet} {value!r}; the owners have {n}")
    return lines


def altered(
    name: str,
    edition: Edition,
    items: Sequence[Item],
    judged: Sequence[str],
    same: Callable[[Item], Iterable[Item]],
) -> list[str]:
    """What the rows that are there are otherwise than as published, where that is known."""
    rows = published(name, edition.split)
    if not rows:
        return []
    ours = {item.id: [fingerprint(each, judged) for each in same(item)] for item in items}
    lines = _some("rows are not the owners'", [i for i in ours if i not in rows])
    changed = [i for i in ours if i in rows and rows[i][0] not in ours[i]]
    lines += _some(f"rows ask or answer otherwise than {edition.source}", changed)
    shown = {i.id: picture_mark(i) for i in items if i.id in rows and rows[i.id][1]}
    other = [i for i, mark in shown.items() if mark and mark != rows[i][1]]
    return lines + _some(f"pictures have other bytes than those of {edition.source}", other)


def _some(said: str, ids: Sequence[str], n: int = 5) -> list[str]:
    if not ids:
        return []
    more = ", ..." if len(ids) > n else ""
    return [f"{len(ids)} {said}: {', '.join(ids[:n])}{more}"]


def _other_table(path: Path, edition: Edition) -> list[str]:
    """Whatever the file is called: a table that was renamed is the same table."""
    if not edition.kit:
        return []
    expected, found = vlmevalkit_tsv.MD5[edition.kit[0]], vlmevalkit_tsv.md5(path)
    if found == expected:
        return []
    return [f"{path.name} has md5 {found}; VLMEvalKit names {expected} for {edition.kit[0]}"]


def write(name: str, split: str, items: Sequence[Item], judged: Sequence[str]) -> Path:
    """Write the fingerprints of a split whose rows are the owners', and of the pictures with which
    they were loaded."""
    if len({item.id for item in items}) != len(items):
        raise DataError(f"{name} {split}: an id is there twice.")
    _FOLDER.mkdir(exist_ok=True)
    path = _FOLDER / f"{name}-{split}.txt"
    marks = [(item.id, fingerprint(item, judged), picture_mark(item)) for item in items]
    lines = [" ".join(each).rstrip() + "\n" for each in marks]
    path.write_text("".join(lines), encoding="utf-8")
    return path
