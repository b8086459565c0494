"""``harness rescore``: saved responses under several scorers, and the items they differ on.

No model and no GPU: a change of rules, or a doubt about a toolkit's figure, is answered from the
responses alone. Only the scorer ``judge`` asks a model, what it was not asked before.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from backends.base.resources import Resources
from benchmarks import registry
from benchmarks.atomic import whole_file
from benchmarks.base import Item, Verdict
from benchmarks.data.questions import json_line
from benchmarks.judge import NAME
from benchmarks.plugins import unknown
from benchmarks.saved import parallel
from benchmarks.saved.answer import Answer
from harness.errors import HarnessError
from harness.experiment.judges import UNSAID, scorer_id, scorers
from harness.experiment.spec import Judge
from harness.rescoring.saved import Saved
from harness.results import statistics as stats
from harness.steps import judging
from harness.steps.asking import EngineHolder
from harness.steps.score import figures
from harness.store.sources.hashes import Hashes

if TYPE_CHECKING:
    from rich.console import Console

PUBLISHED = "published"


@dataclass(frozen=True)
class Scored:
    """One scorer's verdicts, in the order of the answers, and the benchmark's figures on them with
    the number of units and the clustered standard error of each."""

    name: str
    id: str
    verdicts: tuple[Verdict, ...]
    metrics: Mapping[str, float]
    ns: Mapping[str, int]
    errors: Mapping[str, float] = field(default_factory=dict)

    def count(self, status: str) -> int:
        return sum(v.status == status for v in self.verdicts)


@dataclass(frozen=True)
class Difference:
    """One response that not all judges agree on: their verdicts by name, ``rule: extracted``."""

    item: str
    gold: str
    decoding: str
    sample: int
    correct: Mapping[str, bool]
    said: Mapping[str, str]


@dataclass(frozen=True)
class Judging:
    """Who is asked by the scorer ``judge``: its verdicts are kept below ``root``, and a local model
    computes with ``resources``. ``progress`` is told the number of answers judged, and of all."""

    judge: Judge
    root: Path
    resources: Resources = field(default_factory=Resources)
    progress: Callable[[int, int], None] = lambda done, total: None


def score(
    saved: Saved, names: Sequence[str], workers: int = 1, by: Judging | None = None
) -> list[Scored]:
    """Every answer under every scorer of ``names`` (default: the benchmark's own), rules in
    ``workers`` processes, ``judge`` by asking ``by``. Raises :class:`HarnessError` for an unknown
    scorer, and where a judge cannot be asked."""
    one = saved.benchmark
    names = list(dict.fromkeys(names)) or [one.default_scorer]
    for name in names:
        if name not in scorers(one):
            raise HarnessError(unknown(f"scorer of {one.name}", name, scorers(one)))
    if NAME in names and by is None:
        raise HarnessError(UNSAID)
    if by is not None and NAME not in names:
        raise HarnessError("nobody asks the judge; add --scorer judge")
    items = {item.id: item for item in saved.items}
    tasks = [(items[answer.generation.item], answer) for answer in saved.answers]
    rules = [name for name in names if name != NAME]
    columns = dict(zip(rules, parallel.verdicts(one.address, rules, tasks, workers), strict=True))
    ids = {name: registry.scorer(one, name).id for name in rules}
    if NAME in names and by is not None:
        hashes, dtype = Hashes(by.root), by.resources.dtype
        ids[NAME] = scorer_id(one, NAME, by.judge, hashes, dtype)
        columns[NAME] = _asked(tasks, by)
    return [
        figured(saved, name, ids[name], _without_failed(tasks, columns[name])) for name in names
    ]


def _without_failed(
    tasks: Sequence[tuple[Item, Answer]], verdicts: Sequence[Verdict]
) -> list[Verdict]:
    """The verdicts, of which no scorer's rule for empty text credits an error of the tool."""
    return [
        replace(v, correct=False, extracted=None, status="unparsed", rule="error")
        if answer.failed
        else v
        for (_, answer), v in zip(tasks, verdicts, strict=True)
    ]


def _asked(tasks: Sequence[tuple[Item, Answer]], by: Judging) -> list[Verdict]:
    said = [answer.generation for _, answer in tasks]
    answers = [(item, answer.generation.text) for item, answer in tasks]
    verdicts = judging.verdicts(
        answers, by.judge, by.root, by.resources, EngineHolder(), by.progress
    )
    return [
        replace(verdict, decoding=one.decoding, sample=one.sample)
        for verdict, one in zip(verdicts, said, strict=True)
    ]


def figured(saved: Saved, name: str, id: str, verdicts: Sequence[Verdict]) -> Scored:
    """Verdicts on every answer with the benchmark's figures."""
    values, extra = figures(saved.benchmark, saved.items, verdicts)
    values = [v for v in values if v.units]
    found = {v.metric: stats.standard_error(v.values, v.clusters) for v in values}
    return Scored(
        name,
        id,
        tuple(verdicts),
        {v.metric: v.mean for v in values} | extra,
        {v.metric: len(v.units) for v in values} | {k: r.whole for k, r in extra.items()},
        {metric: se for metric, se in found.items() if se is not None},
    )


# ------------------------------------------------------------------------------------- comparing


def judges(saved: Saved, scored: Sequence[Scored]) -> dict[str, list[bool | None]]:
    """Whether each answer is correct, by scorer, and by the file itself where it says so; None
    where a judge gave no verdict."""
    columns: dict[str, list[bool | None]] = {}
    published = [answer.published for answer in saved.answers]
    if any(verdict is not None for verdict in published):
        columns[PUBLISHED] = published
    for one in scored:
        columns[one.name] = [
            None if verdict.status == "judge_failed" else verdict.correct
            for verdict in one.verdicts
        ]
    return columns


def agreement(left: Sequence[bool | None], right: Sequence[bool | None]) -> tuple[int, int]:
    """On how many of how many responses that both judged the two agree."""
    pairs = [(a, b) for a, b in zip(left, right, strict=True) if None not in (a, b)]
    return sum(a == b for a, b in pairs), len(pairs)


def differences(saved: Saved, scored: Sequence[Scored]) -> list[Difference]:
    """Every response on which two judges differ, in the order of the answers."""
    columns = judges(saved, scored)
    gold = {item.id: item.answer for item in saved.items}
    found = []
    for row, answer in enumerate(saved.answers):
        correct = {name: c for name, column in columns.items() if (c := column[row]) is not None}
        if len(set(correct.values())) < 2:
            continue
        said = {one.name: _said(one.verdicts[row]) for one in scored}
        if answer.extraction is not None:
            said[PUBLISHED] = str(answer.extraction)
        generation = answer.generation
        found.append(
            Difference(
                generation.item,
                gold[generation.item],
                generation.decoding,
                generation.sample,
                correct,
                said,
            )
        )
    return found


def _said(verdict: Verdict) -> str:
    state = "" if verdict.status == "ok" else f" ({verdict.status})"
    return f"{verdict.rule}{state}: {verdict.extracted}"


# --------------------------------------------------------------------------------------- writing


def rows(saved: Saved, scored: Sequence[Scored]) -> Iterator[dict[str, Any]]:
    """One object a response and scorer, for ``verdicts.jsonl``."""
    for one in scored:
        for answer, verdict in zip(saved.answers, one.verdicts, strict=True):
            row: dict[str, Any] = {
                "id": verdict.item,
                "scorer": one.name,
                "scorer_id": one.id,
                "correct": verdict.correct,
                "extracted": verdict.extracted,
                "rule": verdict.rule,
                "span": verdict.span,
                "status": verdict.status,
                "decoding": verdict.decoding,
                "sample": verdict.sample,
            }
            if answer.published is not None:
                row[PUBLISHED] = answer.published
            yield row


def write(path: Path, objects: Iterable[Mapping[str, Any]]) -> None:
    """JSON lines; the file appears when it is complete."""
    try:
        with whole_file(path) as fresh, fresh.open("w", encoding="utf-8") as file:
            for each in objects:
                file.write(json_line(each))
    except OSError as error:
        raise HarnessError(f"{path}: cannot be written ({error.strerror})") from None


def writable(path: Path) -> None:
    """Raises :class:`HarnessError` where no file can be written: to be asked before the work."""
    if path.is_dir():
        raise HarnessError(f"{path} is a folder; name a file")


# --------------------------------------------------------------------------------------- showing


def show(saved: Saved, scored: Sequence[Scored], console: Console, first: int) -> None:
    """Print the figures of every scorer, how far they agree, and the first items they differ on."""
    n = len(saved.items)
    subset = "" if n == saved.total else f" (SUBSET of {saved.total})"
    console.print(
        f"[bold]{saved.benchmark.title}[/]: {len(saved.answers)} responses to {n} items{subset}, "
        f"from a {saved.format}\n"
    )
    _show_summary(saved, scored, console)
    _show_figures(scored, console)
    columns = judges(saved, scored)
    if len(columns) > 1:
        _show_agreement(columns, console)
        _show_differences(saved, scored, console, first)


def _table(title: str, *columns: str) -> Any:
    from rich.table import Table

    table = Table(title=title, title_justify="left", title_style="bold", box=None)
    for number, column in enumerate(columns):
        table.add_column(column, justify="right" if number else "left", overflow="fold")
    return table


def _show_summary(saved: Saved, scored: Sequence[Scored], console: Console) -> None:
    columns = judges(saved, scored)
    published = columns.get(PUBLISHED)
    states = ("unparsed", "undecided", "judge_failed")
    same_for_all = {
        "truncated": sum(answer.generation.finish == "length" for answer in saved.answers),
        "errors": sum(answer.failed for answer in saved.answers),
    }
    table = _table("scorers", "scorer", "correct", "n", "%", *states, *same_for_all, "agrees")
    for one in scored:
        right, n = sum(v.correct for v in one.verdicts), len(one.verdicts)
        counts = [*map(one.count, states), *same_for_all.values()]
        agrees = ""
        if published is not None:
            same, both = agreement(published, columns[one.name])
            agrees = f"{same}/{both} = {100 * same / both:.1f}%" if both else ""
        shown = [right, n, f"{100 * right / n:.1f}", *counts]
        table.add_row(one.name, *map(str, shown), agrees)
    console.print(table)
    if published is not None:
        console.print("[dim]agrees: with the verdicts published in the file[/]")
    ids = ", ".join(f"{one.name} = {one.id}" for one in scored)
    console.print(f"[dim]{ids}[/]", soft_wrap=True)
    console.print()


def _show_figures(scored: Sequence[Scored], console: Console) -> None:
    table = _table("figures (%) ± standard error", "figure", "n", *(one.name for one in scored))
    for metric in dict.fromkeys(metric for one in scored for metric in one.metrics):
        n = next((str(one.ns[metric]) for one in scored if metric in one.ns), "")
        table.add_row(metric, n, *(_percent(one, metric) for one in scored))
    console.print(table)
    console.print("[dim]standard errors over questions, clustered by shared context[/]\n")


def _percent(one: Scored, metric: str) -> str:
    value = one.metrics.get(metric)
    if value is None or math.isnan(value):
        return "" if value is None else "undefined"
    return f"{100 * value:.2f} {stats.points(one.errors.get(metric))}".strip()


def _show_agreement(columns: Mapping[str, Sequence[bool | None]], console: Console) -> None:
    table = _table("agreement (%)", "", *columns)
    for name, left in columns.items():
        cells = []
        for right in columns.values():
            same, both = agreement(left, right)
            cells.append(f"{100 * same / both:.1f}" if both else "")
        table.add_row(name, *cells)
    console.print(table)
    console.print()


def _show_differences(saved: Saved, scored: Sequence[Scored], console: Console, first: int) -> None:
    from rich.markup import escape

    found = differences(saved, scored)
    if not found:
        console.print("All judges agree on every response.")
        return
    names = list(judges(saved, scored))
    rules = Counter(
        " | ".join(f"{name} {_mark(d, name)} {_rule(d, name)}".strip() for name in names)
        for d in found
    )
    table = _table(
        f"{len(found)} responses differ, by rule (+ correct, - wrong, ? none)", "judges", "n"
    )
    for kinds, n in rules.most_common(first):
        table.add_row(escape(kinds), str(n))
    console.print(table)
    console.print()
    shown = found[:first]
    table = _table(f"the first {len(shown)} of {len(found)}", "item", "gold", *names)
    for column in table.columns:
        column.justify = "left"
    for d in shown:
        cells = [f"{_mark(d, name)} {_short(d.said.get(name, ''))}" for name in names]
        table.add_row(*map(escape, (d.item, _short(d.gold), *cells)))
    console.print(table)


def _mark(difference: Difference, name: str) -> str:
    correct = difference.correct.get(name)
    return "?" if correct is None else "+" if correct else "-"


def _rule(difference: Difference, name: str) -> str:
    return "" if name == PUBLISHED else difference.said.get(name, "").partition(":")[0]


def _short(text: str, limit: int = 48) -> str:
    # What a model writes may hold the terminal's own commands.
    text = "".join(c if c.isprintable() else "\ufffd" for c in " ".join(text.split()))
    return text if len(text) <= limit else text[: limit - 1] + "…"
