"""``harness status``: where each trial of a run is."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from harness.commands.options import RunFolder
from harness.console import console

if TYPE_CHECKING:
    from rich.console import Console


def command(run_folder: RunFolder) -> None:
    """Show where each trial of a run is, also while it runs."""
    show(run_folder, console())


def show(run_folder: Path, console: Console) -> None:
    """Print where each trial of a run is. Raises :class:`HarnessError` where there is no run."""
    from rich.markup import escape
    from rich.table import Table

    from harness.results.reading import load_trial, read_plan
    from harness.run import status
    from harness.run.display import figures
    from harness.store.results import Store

    plan = read_plan(run_folder)
    store = Store(run_folder.resolve().parent)
    table = Table(box=None, header_style="bold")
    for column in ("trial", "state", "step", "progress", "now", "note"):
        table.add_column(column, overflow="fold")
    colour = {"ok": "green", "failed": "red", "running": "cyan", "interrupted": "yellow"}
    counts: Counter[str] = Counter()
    for trial in plan["trials"]:
        state = status.read(run_folder / "trials" / trial["id"])
        if state["state"] == "ok":
            found = load_trial(run_folder, store.root, trial)
            if found.state != "ok":
                state |= {"state": found.state, "reason": found.reason}
        counts[state["state"]] += 1
        progress = state.get("progress")
        key = next(
            (s["key"] for s in trial.get("steps", ()) if s.get("name") == state.get("step")), None
        )
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
