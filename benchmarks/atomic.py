"""A file or a folder that appears whole or not at all.

It is written beside its place, under a hidden name that holds the writer's process, and moved there
by one rename: a reader sees the old one or the new one, never a part. This stands at the very
bottom because all three packages write so: question files here, checkpoints and saved states in
``backends``, results and reports in ``harness``.
"""

from __future__ import annotations

import glob
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def whole_file(path: Path, sync: bool = False) -> Iterator[Path]:
    """Where to write a file that takes its place at ``path`` when the block ends. Where the block
    raises, what is at ``path`` stays. With ``sync`` its content is on the disk before it appears,
    and its name when the block has ended.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = _beside(path, "new")
    try:
        yield fresh
        if sync:
            to_disk(fresh)
        fresh.replace(path)
        if sync:
            to_disk(path.parent)
    finally:
        with suppress(OSError):
            fresh.unlink()


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """Where to make a folder that takes the place of any at ``path`` when the block ends. What is
    in it is on the disk before it appears: a folder that is there is whole, also after a power cut.

    One process makes a folder at a time: what a killed one left of it is removed.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh, stale = _beside(path, "new"), _beside(path, "old")
    remove_unfinished(path.parent, path.name)
    yield fresh
    for written in (*fresh.rglob("*"), fresh):
        to_disk(written)
    if path.exists():
        path.rename(stale)
    fresh.rename(path)
    to_disk(path.parent)
    shutil.rmtree(stale, ignore_errors=True)


def write_text(path: Path, text: str) -> None:
    """Replace a text file (UTF-8) in one instant."""
    with whole_file(path) as fresh:
        fresh.write_text(text, encoding="utf-8")


def remove_unfinished(folder: Path, name: str | None = None) -> None:
    """Remove what any process has left of writing to a folder (to ``name`` in it): for places that
    one process writes to at a time."""
    pattern = "*" if name is None else glob.escape(name)
    for end in ("new", "old"):
        for leftover in folder.glob(f".{pattern}.*.{end}"):
            if leftover.is_dir():
                shutil.rmtree(leftover, ignore_errors=True)
            else:
                leftover.unlink(missing_ok=True)


def _beside(path: Path, end: str) -> Path:
    return path.with_name(f".{path.name}.{os.getpid()}.{end}")


def to_disk(path: Path) -> None:
    """Force what is written to a file, or the names in a folder, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
