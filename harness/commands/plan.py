"""``harness plan``: what a run would do."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from harness.commands.options import ROOT, ExperimentFile, Root
from harness.console import console

if TYPE_CHECKING:
    from rich.console import Console

    from harness.plan.planner import Plan, Step, Trial


def command(experiment: ExperimentFile, root: Root = ROOT) -> None:
    """Show what `run` would do: trials, what the store holds, what each costs. Creates nothing."""
    from harness.experiment import checks
    from harness.plan.planner import make
    from harness.store.sources.hashes import Hashes

    spec, _ = checks.read(experiment, root)
    show(make(spec, Hashes(root)), root, console())


def show(plan: Plan, root: Path, console: Console) -> None:
    """Print each condition's trials: what they need that the store lacks, its cost, how it differs.

    A step that several need is counted where it is needed first.
    """
    from rich.markup import escape
    from rich.table import Table

    from harness.experiment.derived import lines as derived_lines
    from harness.plan.costs import Costs
    from harness.store.results import Store

    store = Store(root)
    costs = Costs(store)
    steps = plan.steps()
    todo = {key: step for key, step in steps.items() if store.find(step.kind, step.key) is None}
    conditions: dict[str, list[Trial]] = {}
    for trial in plan.trials:
        conditions.setdefault(trial.label, []).append(trial)
    table = Table(box=None, header_style="bold", padding=(0, 2, 0, 0))
    table.add_column("condition", no_wrap=True)
    table.add_column("trials", justify="right")
    table.add_column("to run", no_wrap=True)
    for column in ("shared", "stored", "estimate"):
        table.add_column(column, justify="right")
    left = dict(todo)
    for label, trials in conditions.items():
        needed = {step.key: step for trial in trials for step in trial.steps}
        own = [left.pop(key) for key in needed if key in left]
        shared = sum(key in todo for key in needed) - len(own)
        stored = sum(key not in todo for key in needed)
        table.add_row(
            escape(label),
            str(len(trials)),
            _kinds(own),
            str(shared or ""),
            str(stored or ""),
            _estimate([costs.seconds(step) for step in own]),
        )
    seeds = ", ".join(map(str, dict.fromkeys(trial.seed for trial in plan.trials)))
    console.print(
        f"[bold]{plan.name}[/]: {len(plan.trials)} trials (seeds {seeds}), {len(steps)} steps"
    )
    for benchmark in plan.benchmarks:
        part = f", a subset of about {benchmark.limit} items" if benchmark.limit else ""
        console.print(
            f"  {benchmark.title}: data {benchmark.data.id}, scorer {benchmark.scorer_id}{part}",
            markup=False,
            soft_wrap=True,
        )
    for line in derived_lines(plan.derived):
        console.print(line, markup=False, soft_wrap=True)
    if outdated := store.outdated():
        console.print(f"Note: {outdated}", markup=False, soft_wrap=True)
    console.print()
    console.print(table)
    console.print()
    if plan.baseline:
        console.print(f"[bold]Differences from {plan.baseline}[/]")
        for label, trials in conditions.items():
            if trials[0].differences:
                console.print(f"  {label}: {'; '.join(trials[0].differences)}", markup=False)
        console.print()
    known = [costs.seconds(step) for step in todo.values()]
    line = f"{len(todo)} steps to run, {len(steps) - len(todo)} in the store"
    if todo:
        line += f"; {_estimate(known)} of work, by what such steps took here"
    if None in known:
        line += " (? stands for steps whose like was never run here)"
    console.print(line)


def _estimate(seconds: list[float | None]) -> str:
    """``2:10``, ``2:10 + ?`` where some are unknown, ``?`` where all are."""
    if not seconds:
        return ""
    from harness.run.display import clock

    known = [s for s in seconds if s is not None]
    if not known:
        return "?"
    return clock(sum(known)) + (" + ?" if len(known) < len(seconds) else "")


def _kinds(steps: list[Step]) -> str:
    """What there is to run: ``3 train, 9 generate, 9 score``."""
    return ", ".join(f"{n} {kind}" for kind, n in Counter(s.kind for s in steps).items()) or "–"
