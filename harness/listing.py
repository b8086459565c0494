"""``harness list``: every name that an experiment file can use, with a line on what it is."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console


def sections() -> dict[str, list[tuple[str, str]]]:
    """Section title to (name, purpose)."""
    from backends import BACKENDS
    from backends.methods import method
    from backends.methods import names as methods
    from backends.rewards import REWARDS
    from benchmarks import BENCHMARKS, benchmark
    from benchmarks.prompts import SYNTHESIS, TEMPLATES

    known = {name: benchmark(name) for name in BENCHMARKS}
    return {
        "methods": [(name, method(name).title) for name in methods()],
        "rewards": [(entry.name, entry.purpose) for entry in REWARDS.values()],
        "templates": [(t.name, f"{t.user}  ({t.source})") for t in TEMPLATES.values()],
        "synthesis modes": [(t.name, t.user) for t in SYNTHESIS.values()],
        "benchmarks": [
            (name, f"{one.title}; headline figure {one.headline}") for name, one in known.items()
        ],
        "scorers": [
            (f"{name}: {scorer}", one.scorer(scorer).id + _default(scorer, one.default_scorer))
            for name, one in known.items()
            for scorer in one.scorers
        ],
        "backends": [(name, target) for name, target in BACKENDS.items()],
    }


def _default(name: str, default: str) -> str:
    return "  (default)" if name == default else ""


def show(console: Console) -> None:
    from rich.table import Table

    for title, rows in sections().items():
        table = Table(
            title=title, title_justify="left", title_style="bold", box=None, show_header=False
        )
        table.add_column(no_wrap=True, style="cyan")
        table.add_column(overflow="fold")
        for row in _escaped(rows):
            table.add_row(*row)
        console.print(table)
        console.print()


def _escaped(rows: Iterable[tuple[str, str]]) -> Iterable[tuple[str, str]]:
    from rich.markup import escape

    return ((escape(name), escape(purpose)) for name, purpose in rows)
