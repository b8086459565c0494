"""Where the rows of a benchmark's split are, and how they are read.

A source is a folder, one of its files, or ``hub:owner/name@revision``. In a folder a split is, in
this order: parquet files as the hub holds them, its owners' ``<split>.json`` or ``<split>.jsonl``
beside a folder of images, or a TSV of VLMEvalKit.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.base import DataError
from benchmarks.data import tables, vlmevalkit_tsv
from benchmarks.data.hub import at_hub
from benchmarks.data.questions import Row, parquet_files, parquet_rows, split_files

TEXT = (".json", ".jsonl")


@dataclass(frozen=True)
class Files:
    """The files of one split. ``split`` is empty where one file was named and its name does not
    tell; pictures are relative to ``folder``."""

    paths: tuple[Path, ...]
    folder: Path
    split: str

    @property
    def kit(self) -> bool:
        """Whether it is a TSV of VLMEvalKit, whose wording is not quite the owners'."""
        return self.paths[0].suffix == ".tsv"

    def has_pictures(self) -> bool:
        """Whether the files hold their pictures, rather than paths to them."""
        path = self.paths[0]
        return path.suffix == ".parquet" or (self.kit and vlmevalkit_tsv.has_pictures(path))

    def rows(self, name: str, pictures: bool) -> Iterator[Row]:
        """The rows in the owners' columns, with their places. ``name`` is the benchmark's."""
        path = self.paths[0]
        if path.suffix == ".parquet":
            return parquet_rows(self.paths)
        if path.suffix == ".tsv":
            return vlmevalkit_tsv.rows(path, name, pictures)
        return iter(tables.rows(path))


def find(
    source: Path | str, splits: Mapping[str, Sequence[str]], split: str | None = None
) -> Files:
    """The files of a split of a source. Default: the first of ``splits`` that is there.

    ``splits`` maps each to the names of VLMEvalKit's table of it. Raises :class:`DataError` where
    the split is not there, naming the ones that are.
    """
    usual = next(iter(splits))
    if split is not None and split not in splits:
        raise DataError(f"{split!r} is no split; expected {' or '.join(splits)}.")
    if (hub := at_hub(source)) is not None:
        folder, chosen = hub.download(), hub.split or split or usual
        return Files(tuple(split_files(folder, chosen)), folder, chosen)
    path = Path(source)
    if path.is_file():
        if path.suffix not in (*TEXT, ".parquet", ".tsv"):
            raise DataError(f"{path}: expected a .json, .jsonl, .parquet or .tsv file.")
        return Files((path,), path.parent, _told(path, splits))
    for each in [split] if split else splits:
        if there := _in_folder(path, each, splits[each]):
            return Files(tuple(there), path, each)
    for each in splits:
        if split and _in_folder(path, each, splits[each]):
            raise DataError(f"{source}: holds no split {split!r}, but {each!r}.")
    chosen = split or usual
    names = [*(f"{chosen}{ending}" for ending in (*TEXT, ".parquet")), *splits[chosen]]
    raise DataError(
        f"{source}: no data there. Expected a folder with {' or '.join(names)}, or such a file."
    )


def _in_folder(folder: Path, split: str, kit: Iterable[str]) -> list[Path]:
    if not folder.is_dir():
        return []
    if parquet := parquet_files(folder, split):
        return parquet
    names = [f"{split}{ending}" for ending in TEXT] + list(kit)
    return [folder / name for name in names if (folder / name).is_file()][:1]


def _told(path: Path, splits: Mapping[str, Sequence[str]]) -> str:
    """The split that a file's name tells, or a table's md5 whatever it is called."""
    for split, kit in splits.items():
        if path.stem == split or path.stem.startswith(f"{split}-") or path.name in kit:
            return split
    if path.suffix != ".tsv":
        return ""
    found = vlmevalkit_tsv.md5(path)
    same = {table for table, md5 in vlmevalkit_tsv.MD5.items() if md5 == found}
    return next((split for split, kit in splits.items() if same.intersection(kit)), "")
