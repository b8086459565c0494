"""``harness list``: every name that an experiment file can use, with a line on what it is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Annotated

import typer

from harness.console import console

if TYPE_CHECKING:
    from rich.console import Console

    from benchmarks.base import Benchmark
    from benchmarks.plugins import Registry
    from benchmarks.prompts import Template


def command(
    section: Annotated[
        str | None, typer.Argument(help="Only this one, such as prompts or benchmarks.")
    ] = None,
) -> None:
    """List what an experiment file can name, with where it comes from: methods, rewards, prompts,
    benchmarks, scorers, backends, engines, model families, executors and trackers."""
    show(console(), section)


def sections() -> dict[str, list[tuple[str, str]]]:
    """Section title to (name, purpose)."""
    from backends.engines.registry import ENGINES
    from backends.methods import names as methods
    from backends.models.families import FAMILIES
    from backends.registry import BACKENDS
    from backends.rewards import REWARDS
    from benchmarks import judge
    from benchmarks.official.golds import gold_exceptions
    from benchmarks.prompts import OFFICIAL, SYNTHESIS, TEMPLATE_EXTENSIONS, templates
    from benchmarks.registry import (
        BENCHMARK_EXTENSIONS,
        BENCHMARKS,
        SCORER_EXTENSIONS,
        benchmark,
    )
    from harness.experiment.extensions import EXECUTORS, TRACKERS

    known = {name: benchmark(name) for name in BENCHMARKS}
    return {
        "methods": [(name, _method(name)) for name in methods()],
        "rewards": _extensions(REWARDS),
        "prompts": [
            *((t.name, f"{_wording(t)}  ({t.source}; {t.hash})") for t in templates().values()),
            *_extensions(TEMPLATE_EXTENSIONS),
            (OFFICIAL, "in evaluation: each benchmark's own of these"),
        ],
        "synthesis modes": [(t.name, t.user) for t in SYNTHESIS.values()],
        "benchmarks": [
            *((name, _benchmark(one)) for name, one in known.items()),
            *(row for row in _extensions(BENCHMARK_EXTENSIONS) if row[0] not in known),
            (
                "lm_eval:<task>",
                "a generate_until task of lm-eval, by its own rules (docs/lm_eval.md)",
            ),
        ],
        "scorers": [
            (
                f"any: {judge.NAME}",
                judge.scorer_id("<benchmark>", "<model>") + "  (the language model of `judge:`)",
            ),
            *(
                (
                    f"{name}: {scorer}",
                    one.scorer(scorer).id
                    + _default(scorer, one.default_scorer)
                    + _wrong(gold_exceptions(name, scorer)),
                )
                for name, one in known.items()
                for scorer in one.scorers
            ),
            *_extensions(SCORER_EXTENSIONS),
        ],
        "backends": _extensions(BACKENDS),
        "engines": _extensions(ENGINES),
        "model families": _extensions(FAMILIES),
        "executors": _extensions(EXECUTORS),
        "trackers": _extensions(TRACKERS),
    }


def _method(name: str) -> str:
    from backends.methods import METHODS, method
    from benchmarks.plugins import BrokenExtension

    found = METHODS.find(name)
    try:
        return method(name).title + ("" if found.ours else f"  ({found.origin})")
    except BrokenExtension as error:
        return f"broken: {error}"


def _extensions(registry: Registry) -> list[tuple[str, str]]:
    """Every extension of a kind: what it says of itself, whose it is, and why it cannot be used."""
    from benchmarks.plugins import BrokenExtension, summary

    rows = []
    for name, extension in registry.all().items():
        try:
            rows.append((name, f"{summary(extension.load())}  ({extension.origin})"))
        except BrokenExtension as error:
            rows.append((name, f"broken: {error}"))
    return rows + [(name, f"refused: {why}") for name, why in registry.refused().items()]


def _default(name: str, default: str) -> str:
    return "  (default)" if name == default else ""


def _wording(template: Template) -> str:
    return f"[{template.system}] {template.user}" if template.system else template.user


def _benchmark(one: Benchmark) -> str:
    """Title, headline figure, the splits with their sizes, and its owners' prompts."""
    sizes = [f"{edition.split} {edition.n}" for edition in one.editions]
    parts = [one.title, f"headline figure {one.headline}"]
    parts += [f"splits {', '.join(sizes)}"] if sizes else []
    parts += [f"prompts {', '.join(one.templates)}"] if one.templates else []
    return "; ".join(parts)


def _wrong(golds: Mapping[str, str]) -> str:
    """The published golds that a scorer calls wrong: no model can be right there."""
    if not golds:
        return ""
    by_reason: dict[str, list[str]] = {}
    for item, reason in golds.items():
        by_reason.setdefault(reason, []).append(item)
    reasons = "; ".join(f"{', '.join(items)}: {why}" for why, items in by_reason.items())
    return f"\n{len(golds)} published golds are wrong by it: {reasons}"


def show(console: Console, only: str | None = None) -> None:
    """Print the sections, or the one whose title is ``only``. Raises :class:`HarnessError`."""
    from rich.table import Table

    from benchmarks.plugins import unknown
    from harness.errors import HarnessError

    known = sections()
    if only is not None and only not in known:
        raise HarnessError(unknown("section", only, known))
    for title, rows in known.items():
        if only not in (None, title):
            continue
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
