"""What the owners of a benchmark published, and what a copy of it holds otherwise.

An :class:`Edition` has the numbers of rows, and where the rows themselves were at hand a
fingerprint of each (``published_rows/<benchmark>-<split>.txt``): what is asked and the gold,
without regard to white space. Pictures are not compared.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from . import vlmevalkit_tsv
from .base import DataError, Item
from .files import Files

_FOLDER = Path(__file__).parent / "published_rows"


@dataclass(frozen=True)
class Edition:
    """One split as published: ``n`` rows in ``groups`` clusters (0: not known), and how many rows
    have a value of a facet. ``source`` says where the fingerprints were taken from, ``kit`` what
    VLMEvalKit calls its table."""

    split: str
    n: int
    groups: int = 0
    counts: Mapping[tuple[str, str], int] = field(default_factory=dict)
    source: str = ""
    kit: tuple[str, ...] = ()


def fingerprint(item: Item) -> str:
    """Six hex digits over id, question and gold, white space left out."""
    said = "\0".join("".join(text.split()) for text in (item.id, item.question, item.answer))
    return hashlib.sha256(said.encode()).hexdigest()[:6]


@cache
def published(name: str, split: str) -> Mapping[str, str]:
    """Fingerprints by id; empty where the rows were not at hand."""
    path = _FOLDER / f"{name}-{split}.txt"
    if not path.is_file():
        return {}
    lines = path.read_text(encoding="utf-8").splitlines()
    return {name: mark for name, _, mark in (line.rpartition(" ") for line in lines)}


def differences(
    name: str,
    edition: Edition,
    items: Sequence[Item],
    counted: Callable[[Item], Iterable[tuple[str, str]]],
    source: Files,
) -> list[str]:
    """One line for each kind of difference, with how many rows and which first."""
    lines: list[str] = []
    if len(items) != edition.n:
        lines.append(f"{len(items)} rows; the owners' {edition.split} has {edition.n}")
    if source.kit:
        lines += _other_table(source.paths[0])
    elif rows := published(name, edition.split):
        ours = {item.id: fingerprint(item) for item in items}
        lines += _some("rows are missing", [i for i in rows if i not in ours])
        lines += _some("rows are not the owners'", [i for i in ours if i not in rows])
        changed = [i for i in ours if i in rows and rows[i] != ours[i]]
        lines += _some(f"rows ask or answer otherwise than {edition.source}", changed)
    groups = len({item.cluster or item.id for item in items})
    if edition.groups and groups != edition.groups:
        lines.append(f"{groups} groups; the owners have {edition.groups}")
    there = Counter(pair for item in items for pair in counted(item))
    for (facet, value), n in edition.counts.items():
        if there[facet, value] != n:
            lines.append(f"{there[facet, value]} rows of {facet} {value!r}; the owners have {n}")
    return lines


def _some(said: str, ids: Sequence[str], n: int = 5) -> list[str]:
    if not ids:
        return []
    more = ", ..." if len(ids) > n else ""
    return [f"{len(ids)} {said}: {', '.join(ids[:n])}{more}"]


def _other_table(path: Path) -> list[str]:
    expected = vlmevalkit_tsv.MD5.get(path.name)
    if expected is None:
        return []
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "md5").hexdigest()
    if found == expected:
        return []
    return [f"{path.name} has md5 {found}; VLMEvalKit names {expected}"]


def write(name: str, split: str, items: Sequence[Item]) -> Path:
    """Write the fingerprints of a split whose rows are the owners'."""
    if len({item.id for item in items}) != len(items):
        raise DataError(f"{name} {split}: an id is there twice.")
    _FOLDER.mkdir(exist_ok=True)
    path = _FOLDER / f"{name}-{split}.txt"
    lines = [f"{item.id} {fingerprint(item)}\n" for item in items]
    path.write_text("".join(lines), encoding="utf-8")
    return path
