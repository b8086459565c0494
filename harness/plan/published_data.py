"""Whether a benchmark's data is as published and its pictures are whole."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.base import Benchmark, DataError, Item
from harness.errors import HarnessError
from harness.store.results import Store
from harness.store.sources import benchmark_data
from harness.store.sources.benchmark_data import BenchmarkData, TinyBenchmark

if TYPE_CHECKING:
    from harness.plan.planner import Plan


def compare(
    one: Benchmark, located: BenchmarkData, items: Sequence[Item], folder: Path
) -> tuple[int, list[str]]:
    """How many items the benchmark has as published, and what this data holds otherwise.

    Of the tiny world's benchmarks and of tasks that others publish: as many as are there.
    """
    if not _comparable(one, located):
        return len(items), []
    edition = one.edition(folder, items, located.split)
    return edition.n if edition else len(items), one.check(folder, items, located.split)


def _comparable(one: Benchmark, located: BenchmarkData) -> bool:
    return bool(one.editions) and not isinstance(located, TinyBenchmark)


def unlike(plan: Plan, store: Store) -> Iterator[str]:
    """How the data that is still to be answered differs from what its owners published.

    Raises :class:`HarnessError` where it cannot be read.
    """
    todo = {
        step.spec["benchmark"]
        for step in plan.steps().values()
        if step.kind == "generate" and store.find(step.kind, step.key) is None
    }
    for planned in plan.benchmarks:
        name, located = planned.name, planned.data
        if name not in todo:
            continue
        try:
            one = benchmark_data.benchmark_of(name, located)
            if not _comparable(one, located):
                continue
            folder = located.path(store)
            items = one.load(folder, located.split)
            differences = compare(one, located, items, folder)[1]
        except DataError as error:
            raise HarnessError(str(error)) from None
        yield from (f"{name} is not as published: {line}" for line in differences)


def refuse_broken(items: Sequence[Item]) -> None:
    """Raises :class:`DataError` naming the pictures that cannot be read: one of them would stop the
    answering midway."""
    if broken := unreadable(items):
        shown = "; ".join(f"{where} ({why})" for where, why in broken[:5])
        more = f" and {len(broken) - 5} more" if len(broken) > 5 else ""
        raise DataError(f"{len(broken)} pictures cannot be read: those of {shown}{more}.")


def unreadable(items: Sequence[Item]) -> list[tuple[str, str]]:
    """(item, reason) for each picture that cannot be decoded to its last row."""
    from PIL import Image, UnidentifiedImageError

    seen: dict[object, str] = {}
    for item in items:
        for given in item.images:
            if given in seen:
                continue
            try:
                with Image.open(
                    io.BytesIO(given) if isinstance(given, bytes) else given
                ) as picture:
                    picture.load()
                seen[given] = ""
            except Exception as error:  # decoders raise of every kind
                reason = "not an image" if isinstance(error, UnidentifiedImageError) else str(error)
                seen[given] = reason or type(error).__name__
    return [(i.id, seen[given]) for i in items for given in i.images if seen[given]]
