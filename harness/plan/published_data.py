"""Whether a benchmark's data is as published and its pictures are whole: ``harness doctor --data``,
and a look before anything is generated."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.base import Benchmark, DataError, Item
from benchmarks.official.golds import failures, gold_exceptions
from benchmarks.plugins import unknown
from benchmarks.registry import BENCHMARKS, benchmark
from harness.errors import HarnessError
from harness.store import sources
from harness.store.results import Store
from harness.store.sources import Hashes, Located

if TYPE_CHECKING:
    from rich.console import Console

    from harness.plan.planner import Plan


def show(console: Console, name: str, source: str, split: str | None, store: Store) -> bool:
    """Print what is in the data of a benchmark; True where it is as published.

    Raises :class:`HarnessError` where it cannot be read.
    """
    from rich.markup import escape

    one = _official(name)
    located = sources.locate_benchmark(name, source, "", Hashes(store.root), split=split)
    try:
        folder = sources.benchmark_folder(located, store)
        items = one.load(folder, located.split)
        differences = one.check(folder, items, located.split)
    except DataError as error:
        others = [name for name in one.splits[1:] if split is None]
        hint = f" (--split checks another part: {', '.join(others)})" if others else ""
        raise HarnessError(f"{error}{hint}") from None
    edition = one.edition(folder, items, located.split)
    assert edition is not None  # it has editions
    if source.startswith(f"{sources.TINY}/"):
        differences = []
    broken = unreadable(items)
    fine = not differences and not broken

    def say(good: bool, line: str) -> None:
        mark = "[green]✓[/]" if good else "[red]✗[/]"
        console.print(f"{mark} {escape(line)}", soft_wrap=True)

    say(True, f"{name}, {edition.split}: {len(items)} items, id {located.id}")
    for line in differences:
        say(False, f"not as published: {line}")
    if not differences:
        say(True, f"as published, compared by {one.compared(folder, items, located.split)}")
    shown = sum(len(item.images) for item in items)
    say(not broken, f"{shown} pictures, {len(broken)} that cannot be read")
    for where, why in broken[:5]:
        say(False, f"the picture of {where}: {why}")
    for scorer in one.scorers:
        wrong = failures(one, items, scorer)
        known = gold_exceptions(name, scorer)
        new = [item for item in wrong if item not in known]
        line = (
            f"{scorer}: {len(wrong)} golds are wrong by it, {len(wrong) - len(new)} of them known"
        )
        say(not new, line + (f"; not known: {', '.join(new[:5])}" if new else ""))
        fine = fine and not new
    return fine


def compare(
    one: Benchmark, located: Located, items: Sequence[Item], folder: Path
) -> tuple[int, list[str]]:
    """How many items the benchmark has as published, and what this data holds otherwise.

    Of the tiny world's benchmarks and of tasks that others publish: as many as are there.
    """
    if not _comparable(one, located):
        return len(items), []
    edition = one.edition(folder, items, located.split)
    return edition.n if edition else len(items), one.check(folder, items, located.split)


def _comparable(one: Benchmark, located: Located) -> bool:
    return bool(one.editions) and not located.source.startswith(f"{sources.TINY}/")


def unlike(plan: Plan, store: Store) -> Iterator[str]:
    """How the data that is still to be answered differs from what its owners published.

    Raises :class:`HarnessError` where it cannot be read.
    """
    todo = {
        step.spec["benchmark"]: plan.sources[step.spec["data"]]
        for step in plan.steps().values()
        if step.kind == "generate" and store.find(step.kind, step.key) is None
    }
    for name, located in todo.items():
        try:
            one = sources.benchmark_at(name, located)
            if not _comparable(one, located):
                continue
            folder = sources.benchmark_folder(located, store)
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


def _official(name: str) -> Benchmark:
    if not name:
        raise HarnessError("--data needs --benchmark: which benchmark's data is this?")
    try:
        one = benchmark(name)
    except KeyError:
        raise HarnessError(unknown("benchmark", name, BENCHMARKS)) from None
    if not one.editions:
        raise HarnessError(f"{name} has no published files of its own to compare with")
    return one


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
                said = "not an image" if isinstance(error, UnidentifiedImageError) else str(error)
                seen[given] = said or type(error).__name__
    return [(i.id, seen[given]) for i in items for given in i.images if seen[given]]
