"""``harness doctor --data``: whether a benchmark's data is as published, and its pictures whole."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

from benchmarks import benchmark
from benchmarks.base import DataError, Item
from benchmarks.golds import failures, gold_exceptions
from benchmarks.official import OfficialBenchmark
from harness import sources
from harness.errors import HarnessError
from harness.sources import Hashes
from harness.store import Store

if TYPE_CHECKING:
    from rich.console import Console


def show(console: Console, name: str, source: str, split: str | None, store: Store) -> bool:
    """Print what is in the data of a benchmark; True where it is as published.

    Raises :class:`HarnessError` where it cannot be read.
    """
    from rich.markup import escape

    one = _official(name)
    located = sources.locate_benchmark(name, source, "", Hashes(store.root), split=split)
    folder = sources.benchmark_folder(located, store)
    try:
        items = one.load(folder, located.split)
        differences = one.check(folder, items, located.split)
    except DataError as error:
        raise HarnessError(str(error)) from None
    edition = one.edition(folder, items, located.split)
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
        say(True, f"as published, so far as is known: {edition.n} items")
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


def _official(name: str) -> OfficialBenchmark:
    try:
        one = benchmark(name)
    except KeyError as error:
        raise HarnessError(str(error.args[0])) from None
    if not isinstance(one, OfficialBenchmark):
        raise HarnessError(f"{name} has no published files of its own to compare with")
    return one


def unreadable(items: Sequence[Item]) -> list[tuple[str, str]]:
    """(item, reason) for each picture that cannot be decoded to its last row."""
    from PIL import Image

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
                seen[given] = f"{type(error).__name__}: {error}"
    return [(i.id, seen[given]) for i in items for given in i.images if seen[given]]
