"""Results by content hash: a step whose key is here is not run again.

Layout below a root: ``store/<kind>/<label>-<key16>/`` holds finished results, ``store/FORMAT`` the
schema of their keys, ``work/<key16>/`` a step under way, whose ``out/`` becomes the result.
``manifest.json`` is written last and the folder moved by one rename, so a folder without a valid
manifest does not exist, and a process killed at any instant leaves either nothing or a work folder
from which the next one goes on.

A claim is an exclusive lock of the operating system on ``work/<key16>.lock``, held by the process
that does the work; the kernel releases it when that process dies, however it dies.
"""

from __future__ import annotations

import errno
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from benchmarks.atomic import to_disk, write_text
from harness.errors import HarnessError
from harness.store.files import read_object, sha256, write_json
from harness.store.keys import SCHEMA

MANIFEST = "manifest.json"
#: What is no step's result, but written once for its readers: its keys have no schema.
DATA = "data"


@dataclass(frozen=True)
class Result:
    """A finished step in the store: its folder and its manifest."""

    path: Path
    manifest: Mapping[str, Any]


class Store:
    """The results below ``root``. Reading creates nothing."""

    def __init__(self, root: Path) -> None:
        self.root = Path(root).resolve()
        self._seen: dict[str, Path] = {}

    def find(self, kind: str, key: str) -> Result | None:
        """The result with this key, or None. Files gone or cut short: it does not count."""
        known = self._seen.get(key)
        folders = [known] if known else list((self.root / "store" / kind).glob(f"*-{key[:16]}"))
        for folder in folders:
            manifest = _manifest(folder)
            if manifest and manifest.get("key") == key and not _damage(folder, manifest):
                self._seen[key] = folder
                return Result(folder, manifest)
        self._seen.pop(key, None)
        return None

    def results(self, kind: str | None = None) -> Iterator[Result]:
        """Every finished result (of one kind), for estimates and listings."""
        for path in sorted((self.root / "store").glob(f"{kind or '*'}/*/{MANIFEST}")):
            manifest = _manifest(path.parent)
            if manifest:
                yield Result(path.parent, manifest)

    def outdated(self) -> str:
        """What to tell people of a store whose results no key of this version can meet; empty
        where there is nothing to tell. The first new result ends it; the old ones stay."""
        if self._is_current():
            return ""
        results = (self.root / "store").glob(f"*/*/{MANIFEST}")
        if all(manifest.parts[-3] == DATA for manifest in results):
            return ""
        return (
            f"{self.root / 'store'} holds results of another version, which are kept and not used: "
            "their keys were made otherwise, so every step is run again. CHANGELOG says what "
            f"changed under 'Store format {SCHEMA}'."
        )

    def refuse_two_disks(self) -> None:
        """Raise :class:`HarnessError` where finished work could not be moved into the store."""
        kinds = (self.root / "store").glob("*/")
        for place in (self.root / "work", self.root / "store", *kinds):
            disk = place.stat().st_dev if place.exists() else None
            if disk not in (None, self.root.stat().st_dev):
                raise HarnessError(
                    f"{place} is on another disk than {self.root}: results are made in one folder "
                    f"and moved into the other, which two disks cannot do in one instant. Put all "
                    f"of {self.root} on that disk (--root, or a link in its place)."
                )

    @property
    def _format(self) -> Path:
        return self.root / "store" / "FORMAT"

    def _is_current(self) -> bool:
        try:
            return self._format.read_text(encoding="utf-8").strip() == str(SCHEMA)
        except FileNotFoundError:  # as the stores of schema 1 were
            return False

    def work(self, key: str) -> Path:
        """Where the step with this key is worked on; the same after a kill, so it can resume."""
        return self.root / "work" / key[:16]

    @contextmanager
    def claim(self, key: str, waiting: Callable[[], None] | None = None) -> Iterator[Path]:
        """Hold the step with this key; yields its work folder. Waits while another process holds
        it.

        ``waiting`` is called once if there is something to wait for. Look again with :meth:`find`
        after claiming: the other process may have finished.
        """
        work = self.work(key)
        work.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(work.with_suffix(".lock"))
        try:
            lock.acquire(timeout=0)
        except Timeout:
            if waiting:
                waiting()
            lock.acquire(poll_interval=0.2)
        try:
            yield work
        finally:
            lock.release()

    def commit(
        self,
        kind: str,
        label: str,
        key: str,
        details: Mapping[str, Any],
    ) -> Result:
        """Publish ``work/<key16>/out`` under its claim; the first finisher wins.

        ``details`` (spec, parents, times, environment) goes into the manifest beside the key and
        every file's size and sha256.
        """
        work = self.work(key)
        out = work / "out"
        manifest = {
            "kind": kind,
            "label": label,
            "key": key,
            **details,
            "files": {p.relative_to(out).as_posix(): _sealed(p) for p in _files(out)},
        }
        write_json(out / MANIFEST, manifest, sync=True)
        final = self.root / "store" / kind / f"{label}-{key[:16]}"
        final.parent.mkdir(parents=True, exist_ok=True)
        if kind != DATA and not self._is_current():
            write_text(self._format, f"{SCHEMA}\n")
        try:
            out.rename(final)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
            if self.find(kind, key) is None:
                self._put_aside(final, key)
                out.rename(final)
        to_disk(final.parent)
        shutil.rmtree(work, ignore_errors=True)
        result = self.find(kind, key)
        assert result is not None
        return result

    def put_aside(self, kind: str, key: str) -> list[str]:
        """Put a result whose bytes are not those that were written out of the store, under its
        claim. The files that are damaged; none where it is whole, or another process was first."""
        with self.claim(key):
            found = self.find(kind, key)
            damaged = self.verify(found) if found else []
            if found and damaged:
                self._put_aside(found.path, key)
            return damaged

    def _put_aside(self, folder: Path, key: str) -> None:
        """Damaged results lie beside the work folders: never silently deleted."""
        folder.rename(self.root / "work" / f"{key[:16]}-damaged-{time.time_ns()}")
        self._seen.pop(key, None)

    def verify(self, result: Result) -> list[str]:
        """The files of a result that are missing or whose sha256 differs from the manifest's."""
        return [
            name
            for name, seal in result.manifest["files"].items()
            if not (result.path / name).is_file() or sha256(result.path / name) != seal["sha256"]
        ]


def _manifest(folder: Path) -> dict[str, Any] | None:
    """What a manifest says, where it is one: whatever else lies there is no result."""
    manifest = read_object(folder / MANIFEST)
    files = manifest.get("files")
    whole = isinstance(files, dict) and all(
        isinstance(seal, dict) and {"size", "sha256"} <= seal.keys() for seal in files.values()
    )
    return manifest if whole else None


def _damage(folder: Path, manifest: Mapping[str, Any]) -> bool:
    """Sizes only: hashing a checkpoint at each look-up would cost more than it protects."""
    for name, seal in manifest["files"].items():
        try:
            if (folder / name).stat().st_size != seal["size"]:
                return True
        except OSError:
            return True
    return False


def _files(folder: Path) -> list[Path]:
    return sorted(p for p in folder.rglob("*") if p.is_file() and p.name != MANIFEST)


def _sealed(path: Path) -> dict[str, Any]:
    """Force a file to the disk and describe it."""
    to_disk(path)
    return {"size": path.stat().st_size, "sha256": sha256(path)}
