"""What the four official benchmarks have in common: their owners' files, and accuracy by facet."""

from __future__ import annotations

import ast
from abc import abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from benchmarks.aggregate import accuracies
from benchmarks.base import Benchmark, DataError, Edition, Item, Picture, Scorer, Values, Verdict
from benchmarks.data import editions
from benchmarks.data.files import Files, find
from benchmarks.data.questions import Row, distinct, picture

#: A metadata field that is longer than this is not what its owners wrote.
MAX_LITERAL = 100_000


class OfficialBenchmark(Benchmark):
    """A benchmark in its owners' files, or as VLMEvalKit packs them: see
    :mod:`benchmarks.data.files`.

    ``editions`` say what its owners published, a split each, the usual one first.
    """

    editions: tuple[Edition, ...]
    #: What of an item's ``meta`` its verdict depends on: :meth:`check` compares it.
    judged: tuple[str, ...] = ()
    default_scorer = "rules"

    @abstractmethod
    def item(self, where: str, row: Mapping[str, Any], pictures: Path | None) -> Item:
        """One row as an item. ``pictures`` is the folder of the images; None leaves them out."""

    @abstractmethod
    def facets(self, item: Item) -> Iterable[tuple[str, str]]:
        """(facet, value) pairs of an item: what accuracy is split by."""

    @abstractmethod
    def make_scorers(self) -> Mapping[str, Scorer]:
        """Every scorer by name, the names in the order of ``scorers``."""

    @property
    def splits(self) -> tuple[str, ...]:  # type: ignore[override]
        return tuple(edition.split for edition in self.editions)

    def read(self, source: Path | str, split: str | None, pictures: bool) -> list[Item]:
        """The items of a split of a folder or of ``hub:owner/name@revision``, or of one file.

        Raises :class:`DataError` naming file and row: a field or an image that is missing, an id
        twice.
        """
        found = self.files(source, split)
        rows = found.rows(self.name, pictures)
        return self.items(str(source), rows, found.folder if pictures else None)

    def held_split(self, source: Path | str, split: str | None = None) -> str | None:
        found = self.files(source, self.known_split(split))
        if Path(source).is_file() and not found.has_pictures():
            raise DataError(
                "its pictures are outside the file; name the folder that holds the file and its "
                "pictures" + (f", and `split: {found.split}`" if found.split else "")
            )
        return found.split or None

    def files(self, source: Path | str, split: str | None = None) -> Files:
        """The files of a split. Raises :class:`DataError` where there are none."""
        return find(source, {edition.split: edition.kit for edition in self.editions}, split)

    def check(
        self, source: Path | str, items: Sequence[Item], split: str | None = None
    ) -> list[str]:
        """What all items of a source are otherwise than as their owners published them; empty:
        nothing that is known of. A legitimate other revision differs too: it is a note, no error.
        """
        edition = self.edition(source, items, split)
        found = self.files(source, split)
        return editions.differences(
            self.name, edition, items, self.judged, self.counted, self.forms, found
        )

    def compared(self, source: Path | str, items: Sequence[Item], split: str | None = None) -> str:
        """With what :meth:`check` compares these items, in words: where no fingerprints of the
        owners' rows are known, equal numbers are all that it can tell."""
        edition = self.edition(source, items, split)
        return editions.compared(self.name, edition, self.files(source, split))

    def edition(
        self, source: Path | str, items: Sequence[Item], split: str | None = None
    ) -> Edition:
        """What the owners published as this split; of a file that does not tell, the smallest that
        can hold its items: as many rows of each kind."""
        told = self.files(source, split).split
        for edition in self.editions:
            if edition.split == told:
                return edition
        return self.fitting(items)

    def fitting(self, items: Sequence[Item]) -> Edition:
        """The smallest of the owners' splits that can hold these items: as many rows of each
        kind."""
        known = {pair for edition in self.editions for pair in edition.counts}
        there = Counter(pair for item in items for pair in self.counted(item) if pair in known)

        def holds(edition: Edition) -> bool:
            facets = {facet for facet, _ in edition.counts}
            kinds = ((pair, n) for pair, n in there.items() if pair[0] in facets)
            return len(items) <= edition.n and all(n <= edition.counts.get(p, 0) for p, n in kinds)

        fit = [edition for edition in self.editions if holds(edition)]
        return min(fit, key=lambda edition: edition.n, default=self.editions[0])

    def altered(self, items: Sequence[Item]) -> list[str]:
        """What a part of the items is otherwise than as published, where that is known: of rows
        that another file holds, such as one of published answers."""
        return editions.altered(self.name, self.fitting(items), items, self.judged, self.forms)

    def forms(self, item: Item) -> Iterable[Item]:
        """An item in the forms in which its row can be held without asking anything else."""
        yield item

    def counted(self, item: Item) -> Iterable[tuple[str, str]]:
        """(facet, value) pairs whose numbers :meth:`check` compares with the owners'."""
        return self.facets(item)

    def items(self, source: str, rows: Iterable[Row], pictures: Path | None = None) -> list[Item]:
        """The items of rows in the owners' columns. Raises :class:`DataError` as :meth:`load`."""
        items = distinct((where, self._item(where, row, pictures)) for where, row in rows)
        if not items:
            raise DataError(f"{source}: holds no rows of {self.title}.")
        return items

    def _item(self, where: str, row: Mapping[str, Any], pictures: Path | None) -> Item:
        """:meth:`item`, whose every error says where the row is."""
        try:
            return self.item(where, row, pictures)
        except KeyError as error:
            raise DataError(
                f"{where}: no field {error}; is this a file of {self.title}? Fields there: "
                f"{', '.join(sorted(row))}."
            ) from None
        except (TypeError, ValueError, AttributeError) as error:
            if isinstance(error, DataError):
                raise
            raise DataError(f"{where}: not a row of {self.title} ({error}).") from error

    @cached_property
    def _scorers(self) -> Mapping[str, Scorer]:
        return self.make_scorers()

    def make_scorer(self, name: str) -> Scorer:
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
    where: str,
    row: Mapping[str, Any],
    folder: Path | None,
    key: str = "image",
    required: bool = True,
) -> tuple[Picture, ...]:
    """The one image of a row: ``decoded_image`` of a parquet file, or what is under ``key``.

    Raises :class:`DataError` where it is not there (without ``required``: where it is named).
    """
    given = row.get("decoded_image") or row.get(key)
    if isinstance(given, Mapping) and not (given.get("bytes") or given.get("path")):
        given = None  # how the hub's parquet holds a row without a picture
    if folder is None:
        return ()
    if given is None or given == "":
        if required:
            raise DataError(f"{where}: has no image under {key!r}.")
        return ()
    return (picture(where, given, folder),)
