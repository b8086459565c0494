"""A run as people see it: a live table on a terminal, one line per change elsewhere."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from harness.plan.planner import Trial
    from harness.run.runner import Runner

_MARKS = {"ok": "[green]✓[/]", "failed": "[red]✗[/]"}


def observer(console: Console) -> Lines | LiveTable:
    """The observer that fits where the output goes."""
    return LiveTable(console) if console.is_interactive else Lines(console)


class Lines:
    """Timestamped lines: one when a trial begins a step, one when it ends."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._total = 0
        self._ended = 0

    def begin(self, runner: Runner) -> None:
        states = [s["state"] for s in runner.states.values()]
        self._total, self._ended = len(states), states.count("ok")
        left = self._total - self._ended
        self._say(f"{left} of {self._total} trials to run, {runner.workers} at a time")

    def changed(self, trial: Trial, state: Mapping[str, Any]) -> None:
        reason = state.get("reason") or ""
        if state["state"] == "running":
            self._say(f"{trial.id}: {state['step']}" + (f" ({reason})" if reason else ""))
            return
        self._ended += 1
        took = _took(state)
        said = state["state"] + (f": {reason}" if reason else f" {took}" if took else "")
        self._say(f"{trial.id}: {said} [{self._ended}/{self._total}]")

    def tick(self) -> None:
        pass

    def end(self) -> None:
        pass

    def _say(self, text: str) -> None:
        self._console.print(
            f"{time.strftime('%H:%M:%S')} {text}", markup=False, highlight=False, soft_wrap=True
        )


class LiveTable:
    """Overall progress and what each running trial is at; ended trials scroll up."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._runner: Runner | None = None
        self._live: Live | None = None
        self._began = time.time()
        self._at_start = 0

    def begin(self, runner: Runner) -> None:
        self._runner = runner
        self._began = time.time()
        self._at_start = sum(s["state"] == "ok" for s in runner.states.values())
        self._live = Live(console=self._console, refresh_per_second=4, transient=True)
        self._live.start()
        self.tick()

    def changed(self, trial: Trial, state: Mapping[str, Any]) -> None:
        if state["state"] in _MARKS:
            said = str(state.get("reason") or _took(state))
            self._console.print(
                f"{_MARKS[state['state']]} {escape(trial.id)} [dim]{escape(said)}[/]"
            )

    def tick(self) -> None:
        if self._live:
            self._live.update(self._render())

    def end(self) -> None:
        if self._live:
            self._live.stop()

    def _render(self) -> RenderableType:
        runner = self._runner
        assert runner is not None
        states = [s["state"] for s in runner.states.values()]
        over = states.count("ok") + states.count("failed")
        table = Table.grid(padding=(0, 2))
        for one in runner.plan.trials:
            state = runner.states[one.id]
            if state["state"] in ("queued", "running"):
                table.add_row(*self._row(runner, one, state))
        head = Table.grid(padding=(0, 2))
        failed = states.count("failed")
        head.add_row(
            f"[bold]{runner.plan.name}[/]",
            ProgressBar(len(states), over, width=30),
            f"{over}/{len(states)} trials" + (f", [red]{failed} failed[/]" if failed else ""),
            self._remaining(over, len(states)),
        )
        return Group(Text(), head, table)

    def _row(self, runner: Runner, one: Trial, state: Mapping[str, Any]) -> list[RenderableType]:
        progress = state.get("progress")
        bar: RenderableType = ""
        said = str(state.get("reason") or "")
        if progress:
            bar = ProgressBar(progress["total"], progress["done"], width=16)
            said = f"{progress['done']}/{progress['total']} {progress['unit']}"
        return [
            f"  {escape(one.id)}",
            state.get("step") or state["state"],
            bar,
            f"[dim]{escape(said)}[/]",
            f"[cyan]{figures(runner.work_folder(one))}[/]",
            f"[dim]{clock(time.time() - (state.get('started') or time.time()))}[/]",
        ]

    def _remaining(self, over: int, total: int) -> str:
        done = over - self._at_start
        if not done or over == total:
            return f"[dim]{clock(time.time() - self._began)}[/]"
        left = (time.time() - self._began) / done * (total - over)
        return f"[dim]{clock(time.time() - self._began)}, about {clock(left)} left[/]"


def figures(work: Path | None) -> str:
    """The last training step's reward and accuracy, from the file that the trainer writes."""
    if work is None:
        return ""
    last = _last_row(work / "out" / "metrics.jsonl")
    shown = [
        f"{name.replace('_', ' ')} {last[name]:.2f}"
        for name in ("reward", "label_accuracy", "loss")
        if isinstance(last.get(name), (int, float))
    ]
    return " · ".join(shown[:2])


def _last_row(file: Path) -> dict[str, Any]:
    try:
        with file.open("rb") as content:
            content.seek(max(0, file.stat().st_size - 8192))
            lines = content.read().split(b"\n")
        row = json.loads(lines[-2])
    except (OSError, ValueError, IndexError):
        return {}
    return row if isinstance(row, dict) else {}


def _took(state: Mapping[str, Any]) -> str:
    if state.get("note"):
        return str(state["note"])
    if state.get("started") and state.get("ended"):
        return f"in {clock(state['ended'] - state['started'])}"
    return ""


def clock(seconds: float) -> str:
    """``41 s``, ``3:05``, ``2:10:00``."""
    whole = int(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
