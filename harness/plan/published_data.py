"""Whether a benchmark's data is as published."""

from __future__ import annotations

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
