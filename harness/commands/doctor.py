"""``harness doctor``: whether this machine can run experiments, one line a check."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.commands.options import ROOT, Root
from harness.console import console

if TYPE_CHECKING:
    from rich.console import Console

    from benchmarks.base import Benchmark
    from harness.store.results import Store

_NEEDED = ("torch", "transformers", "deepspeed", "mlflow", "optuna", "pyarrow", "math-verify")


def command(
    data: Annotated[
        str | None, typer.Option(help="Check this data of a benchmark instead, as in `data:`.")
    ] = None,
    benchmark: Annotated[str, typer.Option(help="The benchmark of --data.")] = "",
    split: Annotated[str | None, typer.Option(help="Default: the usual one.")] = None,
    root: Root = ROOT,
) -> None:
    """Check this machine: packages, accelerators, disk, the store, and the tiny model. With --data:
    rows, pictures and golds of a benchmark's data, against what its owners published."""
    from harness.store.results import Store

    if data is None:
        fine = show_machine(console(), root)
    else:
        fine = show_data(console(), benchmark, data, split, Store(root))
    if not fine:
        raise typer.Exit(1)


class _Checks:
    """Prints one line a check, and remembers whether all were good."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self.fine = True

    def say(self, good: bool, line: str, head: str = "") -> None:
        from rich.markup import escape

        self.fine = self.fine and good
        mark = "[green]✓[/]" if good else "[red]✗[/]"
        bold = f"[bold]{head}[/] " if head else ""
        self._console.print(f"{mark} {bold}{escape(line)}", soft_wrap=True)


def show_machine(console: Console, root: Path) -> bool:
    """Print every check of this machine; True where nothing that is needed is missing."""
    from harness import environment
    from harness.run.runner import free_space
    from harness.store.results import Store

    checks = _Checks(console)
    versions = environment.versions()
    checks.say(True, versions["python"], "python")
    for package in _NEEDED:
        missing = "is not installed: `make install`"
        checks.say(package in versions, versions.get(package, missing), package)
    checks.say(True, f"{environment.cpu()}, {environment.cores()} cores", "processor")
    gpus = environment.gpus()
    listed = ", ".join(f"{g['index']}: {g['name']} ({g['memory']})" for g in gpus)
    checks.say(True, listed or "none: trainings run on the processor", "GPUs")
    free = free_space(root.resolve()) / 2**30
    checks.say(free > 1, f"{free:.1f} GiB free at {root}", "disk")
    store = Store(root)
    results = list(store.results())
    broken = {str(r.path): bad for r in results if (bad := store.verify(r))}
    checks.say(not broken, f"{len(results)} results, {len(broken)} damaged", "store")
    for path, names in broken.items():
        console.print(
            f"    {path}: {', '.join(names)} (remove the folder; it is made again)",
            markup=False,
            soft_wrap=True,
        )
    checks.say(*_tiny(), "tiny model")
    return checks.fine


def _tiny() -> tuple[bool, str]:
    """Load the tiny model and let it answer one question."""
    began = time.time()
    try:
        from backends.base.engine import Request, Sampling
        from backends.engines.hf import HFEngine
        from benchmarks.prompts import template
        from benchmarks.tiny import checkpoint, questions

        item = questions("hard_test")[0]
        asked = Request(item.id, template("boxed").render(item.question), item.images)
        engine = HFEngine.from_path(checkpoint())
        answers = dict(engine.generate([asked], Sampling(max_tokens=32)))
    except Exception as error:  # whatever is broken, the doctor says it
        return False, f"does not run: {type(error).__name__}: {error}"
    return True, f"answers {answers[0][0].text!r} in {time.time() - began:.1f} s"


def show_data(console: Console, name: str, source: str, split: str | None, store: Store) -> bool:
    """Print what is in the data of a benchmark; True where it is as published.

    Raises :class:`HarnessError` where it cannot be read.
    """
    from benchmarks.base import DataError
    from benchmarks.data.pictures import broken
    from benchmarks.official.golds import failures, gold_exceptions
    from harness.errors import HarnessError
    from harness.store.sources import benchmark_data
    from harness.store.sources.hashes import Hashes

    one = _published(name)
    located = benchmark_data.locate(name, source, "", Hashes(store.root), split=split)
    try:
        folder = located.path(store)
        items = one.load(folder, located.split)
        differences = one.check(folder, items, located.split)
    except DataError as error:
        others = [name for name in one.splits[1:] if split is None]
        hint = f" (--split checks another part: {', '.join(others)})" if others else ""
        raise HarnessError(f"{error}{hint}") from None
    edition = one.edition(folder, items, located.split)
    assert edition is not None  # it has some
    if isinstance(located, benchmark_data.TinyBenchmark):
        differences = []
    unshown = broken(items)
    checks = _Checks(console)
    say = checks.say
    say(True, f"{name}, {edition.split}: {len(items)} items, id {located.id}")
    for line in differences:
        say(False, f"not as published: {line}")
    if not differences:
        say(True, f"as published, compared by {one.compared(folder, items, located.split)}")
    shown = sum(len(item.images) for item in items)
    say(not unshown, f"pictures: {shown}; items with one that cannot be shown: {len(unshown)}")
    for item, why in list(unshown.items())[:5]:
        say(False, f"the picture of {item}: {why}")
    for scorer in one.scorers:
        wrong = failures(one, items, scorer)
        known = gold_exceptions(name, scorer)
        new = [item for item in wrong if item not in known]
        line = (
            f"{scorer}: {len(wrong)} golds are wrong by it, {len(wrong) - len(new)} of them known"
        )
        say(not new, line + (f"; not known: {', '.join(new[:5])}" if new else ""))
    return checks.fine


def _published(name: str) -> Benchmark:
    """The benchmark of this name, whose owners' rows are known to compare with."""
    from benchmarks.registry import benchmark
    from harness.errors import HarnessError

    if not name:
        raise HarnessError("--data needs --benchmark: which benchmark's data is this?")
    try:
        one = benchmark(name)
    except KeyError as error:
        raise HarnessError(str(error.args[0])) from None
    if not one.editions:
        raise HarnessError(f"{name} has no published files of its own to compare with")
    return one
