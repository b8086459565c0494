"""A plan and a run's state as tables: ``harness plan`` and ``harness status``."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from harness.errors import HarnessError
from harness.plan.costs import Costs
from harness.run import status
from harness.run.display import _clock, figures
from harness.store.files import read_json
from harness.store.results import Store

if TYPE_CHECKING:
    from rich.console import Console

    from harness.plan.planner import Plan, Step, Trial


def show(plan: Plan, root: Path, console: Console) -> None:
    """Print each condition's trials: what they need that the store lacks, its cost, how it differs.

    A step that several need is counted where it is needed first.
    """
    from rich.markup import escape
    from rich.table import Table

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
    for one in plan.benchmarks:
        part = f", a subset of about {one.limit} items" if one.limit else ""
        console.print(
            f"  {one.title}: data {one.data.id}, scorer {one.scorer_id}{part}",
            markup=False,
            soft_wrap=True,
        )
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
    said = f"{len(todo)} steps to run, {len(steps) - len(todo)} in the store"
    if todo:
        said += f"; {_estimate(known)} of work, by what such steps took here"
    if None in known:
        said += " (? stands for steps whose like was never run here)"
    console.print(said)


def _estimate(seconds: list[float | None]) -> str:
    """``2:10``, ``2:10 + ?`` where some are unknown, ``?`` where all are."""
    if not seconds:
        return ""
    known = [s for s in seconds if s is not None]
    if not known:
        return "?"
    return _clock(sum(known)) + (" + ?" if len(known) < len(seconds) else "")


def _kinds(steps: list[Step]) -> str:
    """What there is to run: ``3 train, 9 generate, 9 score``."""
    return ", ".join(f"{n} {kind}" for kind, n in Counter(s.kind for s in steps).items()) or "–"


def show_status(run_folder: Path, console: Console) -> None:
    """Print where each trial of a run is. Raises :class:`HarnessError` where there is no run."""
    from rich.markup import escape
    from rich.table import Table

    plan = read_json(run_folder / "plan.json")
    if not isinstance(plan, dict):
        raise HarnessError(f"{run_folder}: no run here; expected a plan.json, as in runs/<name>")
    store = Store(run_folder.resolve().parent)
    table = Table(box=None, header_style="bold")
    for column in ("trial", "state", "step", "progress", "now", "note"):
        table.add_column(column, overflow="fold")
    colour = {"ok": "green", "failed": "red", "running": "cyan", "interrupted": "yellow"}
    counts: Counter[str] = Counter()
    for trial in plan["trials"]:
        state = status.read(run_folder / "trials" / trial["id"])
        counts[state["state"]] += 1
        progress = state.get("progress")
        key = next((s["key"] for s in trial["steps"] if s["name"] == state.get("step")), None)
        running = state["state"] == "running"
        table.add_row(
            escape(trial["id"]),
            f"[{colour.get(state['state'], 'dim')}]{state['state']}[/]",
            state.get("step") or "",
            f"{progress['done']}/{progress['total']} {progress['unit']}" if progress else "",
            figures(store.work(key)) if key and running else "",
            escape(str(state.get("reason") or state.get("note") or "")),
        )
    console.print(table)
    console.print(", ".join(f"{n} {state}" for state, n in counts.items()))
