"""The table in the terminal: at most 110 columns, one screen for a usual run. In a pipe, whole."""

from __future__ import annotations

from rich import box
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from harness import console as printing
from harness.results.report import text
from harness.results.report.model import Cell, Report, Row

WIDTH = 110
#: Columns of an arm's name on a terminal; longer ones are folded there.
NAME = 30


def show(report: Report, console: Console | None = None) -> None:
    """Print the report's tables: as wide as the terminal, or in full where there is none."""
    console = console or printing.console(widest=WIDTH)
    console.print(render(report, None if console.soft_wrap else NAME))


def render(report: Report, name: int | None = NAME) -> RenderableType:
    """The tables as one rich renderable, with ``name`` columns at most for the name of an arm."""
    seeds = ", ".join(map(str, report.seeds))
    parts: list[RenderableType] = [
        Text.assemble((report.name, "bold"), (f"   {report.model} · seeds {seeds}", "dim"))
    ]
    for title, what in text.asked(report):
        parts.append(Text.assemble((f"  {title}  ", ""), (what, "dim")))
    parts.append(Text())
    parts.append(_headline(report, "arm", report.rows, [r.label for r in report.rows], name))
    if any(m.kind == "sampled" for m in report.metrics):
        parts += [Text(), Text("Sampled answers", "bold"), _sampled(report, name)]
    if report.sweep:
        sweep = report.sweep
        names = [text.settings(r.point, sweep.default) for r in sweep.rows]
        parts += [
            Text(),
            Text(f"Sweep of {sweep.of}", "bold"),
            _headline(report, "settings", sweep.rows, names, name),
        ]
    if report.pairs:
        parts += [Text(), Text("One arm, two trainers", "bold"), _pairs(report)]
        parts.append(Text(text.PAIRS, "dim"))
    if report.published:
        parts += _published(report)
    if report.holes:
        parts += [Text(), Text("Missing and failed trials", "bold red")]
        parts += [Padding(Text(h), (0, 0, 0, 2), expand=False) for h in report.holes]
    rows = report.rows + (report.sweep.rows if report.sweep else [])
    notes = report.footnotes + text.refusals(rows)
    parts += [Text(), *(Text(n, "dim") for n in notes)]
    return Group(*parts)


def _table() -> Table:
    return Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1), header_style="bold")


def _headline(
    report: Report, first: str, rows: list[Row], names: list[str], widest: int | None
) -> Table:
    table = _table()
    table.add_column(first, overflow="fold", max_width=widest)
    table.add_column("seeds", justify="right")
    columns = [m for m in report.metrics if m.kind == "headline"]
    for metric in columns:
        head = f"{text.title(report, metric.benchmark)}\n{text.column(metric.name)}"
        table.add_column(head, min_width=23)
    for row, name in zip(rows, names, strict=True):
        style = "bold" if row.baseline else ""
        cells = [_two_lines(row.cells[m.name]) for m in columns]
        table.add_row(Text(name, style), text.seeds(row), *cells)
    return table


def _two_lines(cell: Cell) -> Text:
    line = Text(text.score(cell), "" if cell.mean is not None else "red")
    if cell.delta is None:
        return line + Text("\n")
    good = cell.delta.star and (cell.delta.mean or 0) > 0
    style = ("green" if good else "red") if cell.delta.star else "dim"
    return line + Text("\n" + text.delta(cell.delta), style)


def _sampled(report: Report, widest: int | None) -> Table:
    table = _table()
    table.add_column("arm", overflow="fold", max_width=widest)
    columns = [m for m in report.metrics if m.kind == "sampled"]
    last = ""
    for metric in columns:
        title = text.title(report, metric.benchmark) if metric.benchmark != last else ""
        last = metric.benchmark
        table.add_column(f"{title}\n{text.column(metric.name)}", max_width=16, overflow="fold")
    for row in report.rows:
        cells = []
        for m in columns:
            cell = row.cells[m.name]
            star = "*" if cell.delta and cell.delta.star else ""
            cells.append(f"{text.score(cell)}{star}")
        table.add_row(Text(row.label, "bold" if row.baseline else ""), *cells)
    return table


def _pairs(report: Report) -> Table:
    table = _table()
    head, lines = text.pairs(report)
    for name in head:
        table.add_column(name)
    for line in lines:
        table.add_row(*line)
    return table


def _published(report: Report) -> list[RenderableType]:
    paper = report.published
    assert paper is not None
    first = paper.tables[0]
    lines = text.beside(report, first)
    if not lines:
        return []
    table = _table()
    for head in ("", "data", *(b.title for b in report.benchmarks)):
        table.add_column(head)
    for ours, label, data, values in lines:
        table.add_row(label if ours else f"  {label}", data, *values, style="" if ours else "dim")
    heading = Text(f"Beside {paper.source}, {first['name']}", "bold")
    return [Text(), heading, Text(paper.caveat, "yellow"), table]
