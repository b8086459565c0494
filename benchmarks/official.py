"""What the four official benchmarks have in common: their owners' files, and accuracy by facet."""

from __future__ import annotations

import ast
import difflib
import json
from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from .aggregate import accuracies
from .base import Benchmark, DataError, Item, Picture, Scorer, Values, Verdict
from .questions import Row, hub, jsonl_rows, parquet_rows, picture, split_files

#: A metadata field that is longer than this is not what its owners wrote.
MAX_LITERAL = 100_000


class OfficialBenchmark(Benchmark):
    """A benchmark in its owners' files: JSON or JSONL beside a folder of images, or parquet.

    ``splits`` are the names of the files, without ending, in the order of preference.
    """

    splits: tuple[str, ...] = ("testmini",)
    default_scorer = "official+extract"

    @abstractmethod
    def item(self, where: str, row: Mapping[str, Any], pictures: Path | None) -> Item:
        """One row as an item. ``pictures`` is the folder of the images; None leaves them out."""

    @abstractmethod
    def facets(self, item: Item) -> Iterable[tuple[str, str]]:
        """(facet, value) pairs of an item: what accuracy is split by."""

    @abstractmethod
    def make_scorers(self) -> Mapping[str, Scorer]:
        """Every scorer by name, the names in the order of ``scorers``."""

    def load(self, source: Path) -> list[Item]:
        """The items of a folder, of one of its files, or of ``hub:owner/name@revision[split]``.

        In a folder, parquet files (which hold their pictures) go before JSON. Raises
        :class:`DataError` naming file and row: a field or an image that is missing, an id twice.
        """
        return self._load(source, pictures=True)

    def load_text(self, source: Path) -> list[Item]:
        """As :meth:`load`, without the images: enough to score stored responses."""
        return self._load(source, pictures=False)

    def _load(self, source: Path, pictures: bool) -> list[Item]:
        rows, folder = owners_rows(source, self.splits)
        return self.items(str(source), rows, folder if pictures else None)

    def items(self, source: str, rows: Iterable[Row], pictures: Path | None = None) -> list[Item]:
        """The items of rows in the owners' columns. Raises :class:`DataError` as :meth:`load`."""
        items: list[Item] = []
        seen: dict[str, str] = {}
        for where, row in rows:
            try:
                item = self.item(where, row, pictures)
            except KeyError as error:
                raise DataError(
                    f"{where}: no field {error}; is this a file of {self.title}? Fields there: "
                    f"{', '.join(sorted(row))}."
                ) from None
            except (TypeError, ValueError, AttributeError) as error:
                if isinstance(error, DataError):
                    raise
                raise DataError(f"{where}: not a row of {self.title} ({error}).") from error
            if item.id in seen:
                raise DataError(f"{where}: id {item.id!r} is already taken by {seen[item.id]}.")
            seen[item.id] = where
            items.append(item)
        if not items:
            raise DataError(f"{source}: holds no rows of {self.title}.")
        return items

    @cached_property
    def _scorers(self) -> Mapping[str, Scorer]:
        return self.make_scorers()

    def scorer(self, name: str | None = None) -> Scorer:
        name = name or self.default_scorer
        if name not in self._scorers:
            near = difflib.get_close_matches(name, self._scorers, 1)
            hint = f", did you mean {near[0]!r}?" if near else ""
            raise KeyError(
                f"unknown scorer {name!r} of {self.name}{hint} Known: {', '.join(self._scorers)}."
            )
        return self._scorers[name]

    def values(self, items: Sequence[Item], verdicts: Iterable[Verdict]) -> list[Values]:
        return accuracies(self.name, items, verdicts, self.facets)


class FunctionScorer(Scorer):
    """A scorer that is a function of item and response.

    ``judge_extraction`` judges what the owners' own extraction made of a response, where a
    published file holds it; None: the scorer reads responses only.
    """

    def __init__(
        self,
        id: str,
        judge: Callable[[Item, str], Verdict],
        judge_extraction: Callable[[Item, Any], Verdict] | None = None,
    ) -> None:
        self.id = id
        self.judge = judge
        self.judge_extraction = judge_extraction

    def score(self, item: Item, response: str) -> Verdict:
        return self.judge(item, response)


def owners_rows(source: Path, splits: Sequence[str]) -> tuple[Iterator[Row], Path]:
    """The rows of a source as its owners wrote them, and the folder that images are relative to."""
    if str(source).startswith("hub:"):
        folder, split = hub(str(source))
        return parquet_rows(split_files(folder, split)), folder
    path = Path(source)
    if path.is_dir():
        for split in splits:
            if any(path.rglob(f"{split}*.parquet")):
                return parquet_rows(split_files(path, split)), path
        names = [f"{split}{ending}" for split in splits for ending in (".json", ".jsonl")]
        path = next((path / n for n in names if (path / n).is_file()), path)
    if not path.is_file():
        wanted = " or ".join(f"{split}.json, .jsonl, .parquet" for split in splits)
        raise DataError(
            f"{source}: no data there. Expected a folder with {wanted}, or such a file."
        )
    if path.suffix == ".parquet":
        return parquet_rows([path]), path.parent
    if path.suffix == ".jsonl":
        return jsonl_rows(path), path.parent
    return _json_rows(path), path.parent


def _json_rows(path: Path) -> Iterator[Row]:
    """The objects of a JSON list, or of an object of rows by id."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path}: not a readable JSON file ({error}).") from None
    if isinstance(content, dict):
        named = [(f"{path}, row {key!r}", row) for key, row in content.items()]
    elif isinstance(content, list):
        named = [(f"{path}, row {number}", row) for number, row in enumerate(content)]
    else:
        raise DataError(f"{path}: must hold a list or an object of rows.")
    for where, row in named:
        if not isinstance(row, dict):
            raise DataError(f"{where}: must be an object, is {type(row).__name__}.")
        yield where, row


def literal(where: str, row: Mapping[str, Any], key: str) -> Any:
    """A field that is an object in some of the owners' files and a Python literal in others."""
    value = row[key]
    if not isinstance(value, str):
        return value
    try:
        if len(value) > MAX_LITERAL:
            raise ValueError(f"{len(value)} characters")
        return ast.literal_eval(value)
    except (ValueError, SyntaxError, MemoryError, RecursionError) as error:
        raise DataError(f"{where}: {key!r} is no Python literal ({error}).") from None


def image(
    where: str, row: Mapping[str, Any], folder: Path | None, key: str = "image"
) -> tuple[Picture, ...]:
    """The one image of a row: ``decoded_image`` of a parquet file, or the path under ``key``."""
    given = row.get("decoded_image") or row.get(key)
    return (
        () if folder is None or given is None or given == "" else (picture(where, given, folder),)
    )
