"""Content ids of files and folders of this machine, remembered so that they are read once."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from harness.store.files import read_object, sha256, write_json
from harness.store.keys import digest


class Hashes:
    """sha256 of files, remembered by (path, size, time of change) so that 15 GB are read once.

    ``save`` writes the memory below an existing root; without one nothing is created.
    """

    def __init__(self, root: Path) -> None:
        self._file = root / "work" / "content-ids.json"
        self._known: dict[str, list[object]] = read_object(self._file)
        self._new = False

    def file(self, path: Path) -> str:
        path = path.resolve()
        state = path.stat()
        seen = [state.st_size, state.st_mtime_ns]
        entry = self._known.get(str(path))
        if entry and entry[:2] == seen:
            return str(entry[2])
        value = sha256(path)
        self._known[str(path)] = [*seen, value]
        self._new = True
        return value

    def folder(self, folder: Path) -> str:
        """One id for all regular files of a folder by relative name; hidden ones do not count.

        Links count as what they lead to, files and folders alike: that is what a loader reads.
        """
        names = sorted(path.relative_to(folder).as_posix() for path in _files(folder))
        return "sha256:" + digest({name: self.file(folder / name) for name in names})

    def content(self, path: Path) -> str:
        """The content id of a file or of a folder."""
        return self.folder(path) if path.is_dir() else f"sha256:{self.file(path)}"

    def save(self) -> None:
        if self._new:
            write_json(self._file, self._known)
            self._new = False


def _files(folder: Path) -> Iterator[Path]:
    """The regular files below a folder, in no order. (``rglob`` follows no linked folder.)"""
    for where, folders, names in os.walk(folder, followlinks=True):
        here = Path(where)
        place = here.resolve()
        folders[:] = [
            name
            for name in folders
            # A link to a folder that it lies in would go round for ever.
            if name[0] != "." and not place.is_relative_to((here / name).resolve())
        ]
        yield from (here / name for name in names if name[0] != "." and (here / name).is_file())
