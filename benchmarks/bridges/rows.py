"""A benchmark from the rows of a table: what most need, and all that a small one does."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.aggregate import accuracies
from benchmarks.answers import rules
from benchmarks.base import Benchmark, DataError, Item, Scorer, Values, Verdict, placed
from benchmarks.data import tables
from benchmarks.data.questions import Row, parquet_rows, picture


class RowBenchmark(Benchmark):
    """A benchmark whose rows lie in one JSONL, JSON, CSV, TSV or parquet file a split.

    A row has ``question``, ``answer``, and where it has them ``options`` (a list, or an object by
    letter), ``image`` or ``images`` (paths beside the file, or embedded), ``id`` and ``cluster``;
    whatever else it has is in ``item.meta``. A subclass names itself, its ``version`` and its
    ``files``; other columns it maps in :meth:`columns`, another criterion is :meth:`asked` or
    :meth:`match`.
    """

    default_scorer = "match"
    scorers = ("match",)
    version: str  # raised whenever an item or a verdict can change
    files: Mapping[str, str]  # split -> file, the usual split first
    groups: tuple[str, ...] = ()  # columns by whose values accuracy is split
    kind: rules.Kind = "formula"  # of an answer without options

    @property
    def splits(self) -> tuple[str, ...]:  # type: ignore[override]
        return tuple(self.files)

    @property
    def title(self) -> str:  # type: ignore[override]
        return f"{self.name} ({self.splits[0]})"

    @property
    def headline(self) -> str:  # type: ignore[override]
        return f"{self.name}/accuracy"

    # ------------------------------------------------------------------------------------- items

    def read(self, source: Path | str, split: str | None, pictures: bool) -> list[Item]:
        path = Path(source)
        if path.is_dir():
            there = [name for name in self.splits if (path / self.files[name]).is_file()]
            path = path / self.files[split or (there or self.splits)[0]]
        items: dict[str, Item] = {}
        for number, (where, row) in enumerate(_rows(path)):
            try:
                item = self._item(where, self.columns(row), path.parent, number, pictures)
            except (KeyError, TypeError, ValueError) as error:
                if isinstance(error, DataError):
                    raise
                said = f"no field {error}" if isinstance(error, KeyError) else error
                raise DataError(f"{where}: not a row of {self.title} ({said}).") from error
            if item.id in items:
                raise DataError(f"{where}: id {item.id!r} is there twice.")
            items[item.id] = item
        if not items:
            raise DataError(f"{path}: holds no rows of {self.title}.")
        return list(items.values())

    def columns(self, row: Mapping[str, Any]) -> Mapping[str, Any]:
        """A row of the file in the columns that :class:`RowBenchmark` reads."""
        return row

    def _item(
        self, where: str, row: Mapping[str, Any], folder: Path, number: int, pictures: bool
    ) -> Item:
        options = _options(row.get("options"))
        answer = str(row["answer"])
        if options and answer not in options:
            raise DataError(f"{where}: answer {answer!r} is the letter of none of its options.")
        given = row.get("images") or row.get("image") or ()
        shown = list(given) if isinstance(given, list | tuple) else [given]
        images = tuple(picture(where, each, folder) for each in shown) if pictures else ()
        stem = placed(where, str(row["question"]), len(shown))
        listed = "".join(f"\n({letter}) {text}" for letter, text in options.items())
        meta = {key: value for key, value in row.items() if key not in ("image", "images")}
        return Item(
            id=str(number if row.get("id") is None else row["id"]),
            question=stem + listed,
            answer=answer,
            images=images,
            cluster=str(row.get("cluster") or ""),
            meta=meta | {"question": stem, "options": options},
        )

    # ---------------------------------------------------------------------------------- judgement

    def asked(self, item: Item) -> rules.Asked:
        """What an item asks for, to our reader: a letter where it has options, else ``kind``."""
        question, options = item.meta["question"], item.meta["options"]
        kind = "choice" if options else self.kind
        return rules.Asked(kind, question, item.answer, options, unit=item.meta.get("unit") or "")

    def match(self, item: Item, response: str) -> Verdict:
        """The verdict on a response, by our reader. Never raises on any text."""
        return rules.judge(item, response, self.asked(item))

    def make_scorer(self, name: str) -> Scorer:
        return _Match(self)

    def values(self, items: Sequence[Item], verdicts: Iterable[Verdict]) -> list[Values]:
        return accuracies(self.name, items, verdicts, self._facets)

    def _facets(self, item: Item) -> Iterator[tuple[str, str]]:
        for group in self.groups:
            if item.meta.get(group) is not None:
                yield group, str(item.meta[group])


class _Match(Scorer):
    def __init__(self, one: RowBenchmark) -> None:
        self.one = one
        self.id = f"{one.name}/match@{one.version}+rules{rules.VERSION}"

    def score(self, item: Item, response: str) -> Verdict:
        return self.one.match(item, response)


def _rows(path: Path) -> Iterable[Row]:
    if path.suffix == ".parquet" and path.is_file():
        return parquet_rows([path])
    return tables.rows(path)


def _options(given: Any) -> dict[str, str]:
    """Options by letter: of a list, an object, or one of them as a table's cell holds it."""
    if isinstance(given, str):
        try:
            given = json.loads(given)
        except ValueError:
            given = ast.literal_eval(given)
    if isinstance(given, Mapping):
        return {str(letter): str(text) for letter, text in given.items() if text is not None}
    return {chr(ord("A") + i): str(text) for i, text in enumerate(given or ())}
