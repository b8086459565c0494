"""A plan and a run's state as tables: ``harness plan`` and ``harness status``."""

from __future__ import annotations

import statistics
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness import status
from harness.display import _clock, figures
from harness.errors import HarnessError
from harness.store import Store, read_json

if TYPE_CHECKING:
    from rich.console import Console

    from harness.plan import Plan, Step


class Costs:
    """What a step is likely to take, from the manifests of such steps in the store.

    Seconds per unit of work: responses for training and generating, one for the rest. Where no such
    step was ever run, nothing is said.
    """

    def __init__(self, store: Store) -> None:
        self._rates: dict[tuple[Any, ...], list[float]] = {}
        for found in store.results():
            manifest = found.manifest
            if "seconds" in manifest and "spec" in manifest:
                kind, spec = manifest["kind"], manifest["spec"]
                rate = manifest["seconds"] / _work(kind, spec)
                self._rates.setdefault(_like(kind, spec), []).append(rate)

    def seconds(self, step: Step) -> float | None:
        rates = self._rates.get(_like(step.kind, step.spec))
        return statistics.median(rates) * _work(step.kind, step.spec) if rates else None


def _like(kind: str, spec: dict[str, Any]) -> tuple[Any, ...]:
    """What makes the cost of two steps comparable per unit of work."""
    stage = spec.get("stage") or {}
    return kind, spec.get("benchmark"), spec.get("data"), stage.get("objective"), spec.get("limit")


def _work(kind: str, spec: dict[str, Any]) -> float:
    if kind == "train":
        stage = spec["stage"]
        return float(stage["steps"] * stage["questions_per_step"] * stage["group_size"])
    if kind == "generate":
        return float(spec["greedy"] + (spec["sampled"] or {"n": 0})["n"])
    return 1.0


def show(plan: Plan, root: Path, console: Console) -> None:
    """Print the trials: what each needs that the store lacks, its cost, how it differs."""
    from rich.table import Table

    store = Store(root)
    costs = Costs(store)
    claimed: set[str] = set()
    held = 0
    total, unknown = 0.0, 0
    table = Table(box=None, header_style="bold")
    for column in ("trial", "method"):
        table.add_column(column, no_wrap=True)
    table.add_column("to run", overflow="fold")
    for column in ("shared", "stored", "estimate"):
        table.add_column(column, justify="right")
    table.add_column("differs from the baseline" if plan.baseline else "settings", overflow="fold")
    shown: set[tuple[str, str]] = set()
    for trial in plan.trials:
        todo, shared, stored = [], 0, 0
        for step in trial.steps:
            if store.find(step.kind, step.key):
                stored += 1
            elif step.key in claimed:
                shared += 1
            else:
                todo.append(step)
        claimed.update(step.key for step in todo)
        held += stored
        known = [costs.seconds(step) for step in todo]
        cost = sum(k for k in known if k is not None)
        total += cost
        unknown += sum(k is None for k in known)
        first = (trial.arm, trial.label) not in shown
        shown.add((trial.arm, trial.label))
        estimate = "" if not todo else "?" if None in known else _clock(cost)
        table.add_row(
            trial.id,
            trial.method,
            _kinds(todo),
            str(shared or ""),
            str(stored or ""),
            estimate,
            "; ".join(trial.differences) if first else "",
        )
    console.print(f"[bold]{plan.name}[/]: {len(plan.trials)} trials, {len(plan.steps())} steps")
    for one in plan.benchmarks:
        part = f", subset of about {one.limit}" if one.limit else ""
        console.print(
            f"  {one.title}: data {one.data.id}, scorer {one.scorer_id}{part}", soft_wrap=True
        )
    console.print(table)
    left = len(set(plan.steps()) & claimed)
    said = f"{left} steps to run, {len(plan.steps()) - left} in the store"
    if left and total:
        said += f"; about {_clock(total)} of work"
        said += f" and {unknown} steps that were never timed here" if unknown else ""
    elif left:
        said += "; no estimate yet: the store holds no such steps"
    console.print(said)


def _kinds(steps: list[Step]) -> str:
    counts = Counter(step.kind for step in steps)
    return ", ".join(f"{n} {kind}" if n > 1 else kind for kind, n in counts.items()) or "–"


def show_status(run_folder: Path, console: Console) -> None:
    """Print where each trial of a run is. Raises :class:`HarnessError` where there is no run."""
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
            trial["id"],
            f"[{colour.get(state['state'], 'dim')}]{state['state']}[/]",
            state.get("step") or "",
            f"{progress['done']}/{progress['total']} {progress['unit']}" if progress else "",
            figures(store.work(key)) if key and running else "",
            state.get("reason") or state.get("note") or "",
        )
    console.print(table)
    console.print(", ".join(f"{n} {state}" for state, n in counts.items()))
