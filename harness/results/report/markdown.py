"""``report.md``: one page that explains itself."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from harness.results.report import text
from harness.results.report.model import Metric, Report, Row


def render(report: Report) -> str:
    """The whole page."""
    parts = [f"# {report.name}", _opening(report), "## Results", _asked(report)]
    headline = [m for m in report.metrics if m.kind == "headline"]
    sampled = [m for m in report.metrics if m.kind == "sampled"]
    names = [r.label for r in report.rows]
    parts.append(_scores(report, "arm", report.rows, names, headline))
    if report.holes:
        parts += ["**Missing and failed trials**", _bullets(report.holes)]
    parts += ["**Notes**", _bullets(report.footnotes + text.refusals(report.rows))]
    if sampled:
        parts += [
            "### Sampled answers",
            "pass@1 is the mean over the samples of a question; maj@k the accuracy of the majority "
            "answer of k samples.",
            _scores(report, "arm", report.rows, names, sampled),
        ]
    if report.sweep:
        parts += _sweep(report, headline)
    if report.pairs:
        head, lines = text.pairs(report)
        body = [[_escape(cell) for cell in line] for line in lines]
        parts += ["## One arm, two trainers", text.PAIRS, _table(head, body)]
    if "training" in report.figures:
        parts += ["## Training", _figure(report, "training")]
    if report.published:
        parts += _published(report)
    parts += _apart(report)
    parts += _others(report)
    parts += ["## What was run", _run(report), "## Where each number comes from", _sources(report)]
    return "\n\n".join(parts) + "\n"


def _opening(report: Report) -> str:
    seeds = ", ".join(map(str, report.seeds))
    done = sum(r.ok for r in _all_rows(report))
    total = sum(len(r.trials) for r in _all_rows(report))
    lines = [
        f"Model `{report.model}`, seeds {seeds}, {done} of {total} trials finished; "
        f"written {report.written}.",
        _environment(report.environment),
        "How to read it: a row is an arm (a method and its settings) over its training seeds. The "
        f"first line of a cell is the score, the second its difference to the baseline "
        f"`{report.baseline}`. Notes under the table say what ± and * mean.",
    ]
    return "\n\n".join(line for line in lines if line)


def _environment(environment: dict[str, Any]) -> str:
    flat = [
        f"{k.removeprefix('versions.')} {v}"
        for k, v in _flatten({k: v for k, v in environment.items() if k != "executable"})
        if len(str(v)) <= 60
    ]
    return "Environment: " + ", ".join(flat[:24]) + "." if flat else ""


def _flatten(value: dict[str, Any], prefix: str = "") -> Iterable[tuple[str, Any]]:
    for key, item in value.items():
        if isinstance(item, dict):
            yield from _flatten(item, f"{prefix}{key}.")
        elif isinstance(item, str | int | float | bool) and item != "":
            yield f"{prefix}{key}", item


def _all_rows(report: Report) -> list[Row]:
    """Every row once: the arms, then the points of the sweep (its first row is an arm)."""
    return report.rows + ([r for r in report.sweep.rows if r.point] if report.sweep else [])


def _asked(report: Report) -> str:
    return _bullets(f"**{title}**: {what}" for title, what in text.asked(report))


def _scores(
    report: Report, first: str, rows: Sequence[Row], names: Sequence[str], metrics: Sequence[Metric]
) -> str:
    head = [first, "seeds"]
    head += [f"{text.title(report, m.benchmark)}<br>{text.column(m.name)}" for m in metrics]
    lines = []
    for row, name in zip(rows, names, strict=True):
        cells = []
        for m in metrics:
            cell = row.cells[m.name]
            second = text.delta(cell.delta)
            cells.append(text.score(cell) + (f"<br>{_escape(second)}" if second else ""))
        label = f"**{name}** (baseline)" if row.baseline and not row.point else name
        lines.append([label, text.seeds(row), *cells])
    return _table(head, lines)


def _sweep(report: Report, headline: Sequence[Metric]) -> list[str]:
    sweep = report.sweep
    assert sweep is not None
    names = [text.settings(r.point, sweep.default) for r in sweep.rows]
    axes = "; ".join(f"{axis} in {values}" for axis, values in sweep.axes.items())
    rows = [r.model_copy(update={"baseline": False}) for r in sweep.rows]
    parts = [
        f"## Sweep of {sweep.of}",
        f"{axes}. The second line of a cell is the difference to the arm itself, tested and "
        "corrected in the same way over the points of the sweep.",
        _scores(report, "settings", rows, names, headline),
    ]
    notes = text.refusals(rows)
    parts += [_bullets(notes)] if notes else []
    parts += [_figure(report, f) for f in report.figures if f.startswith("sweep")]
    return parts


def _figure(report: Report, stem: str) -> str:
    caption = report.figures[stem]
    return f"![{caption}]({stem}.png)\n\n*{caption}* ([SVG]({stem}.svg))"


def _published(report: Report) -> list[str]:
    paper = report.published
    assert paper is not None
    parts = [f"## Beside the paper: {paper.title}", f"{paper.caveat} Source: {paper.source}."]
    heads = ["", "data", *(b.title for b in report.benchmarks)]
    lines = text.beside(report, paper.tables[0])
    if lines:
        rows = [
            [f"**{label}**" if ours else label, data, *(f"**{v}**" if ours else v for v in values)]
            for ours, label, data, values in lines
        ]
        parts.append(_table(heads, rows))
    parts.append(_bullets(paper.notes))
    for table in paper.tables:
        keys = list(table["rows"][0]["values"])
        rows = [
            [r["label"], r["data"], *(f"{r['values'][k]:.2f}" for k in keys), f"{r['average']:.2f}"]
            for r in table["rows"]
        ]
        body = _table(["method", "data", *keys, "average"], rows)
        parts.append(
            f"<details><summary>{table['name']} as printed: {table['title']} ({paper.model})"
            f"</summary>\n\n{body}\n\n</details>"
        )
    return parts


def _apart(report: Report) -> list[str]:
    """Responses that are neither right nor wrong answers: shares of all responses."""
    kinds = ("unparsed", "undecided", "judge_failed", "truncated", "dropped")
    rows = []
    for row in report.rows:
        cells = []
        for b in report.benchmarks:
            counts = row.counts.get(b.name, {})
            n = counts.get("n", 0)
            shares = [f"{k} {100 * counts[k] / n:.1f}" for k in kinds if n and counts.get(k)]
            cells.append(", ".join(shares) or ("none" if n else text.NONE))
        rows.append([row.label, *cells])
    if not any(row.counts for row in report.rows):
        return []
    return [
        "## Responses counted apart",
        "In percent of all responses. Unparsed, undecided and judge-failed ones score 0; a "
        "truncated one ended by its token limit and is judged as it stands.",
        _table(["arm", *(b.title for b in report.benchmarks)], rows),
    ]


def _others(report: Report) -> list[str]:
    """Further recorded figures of each benchmark: means over seeds, one row a figure."""
    names = list(dict.fromkeys(n for r in report.rows for n in r.other if n.count("/") == 1))
    if not names:
        return []
    rows = []
    for name in names:
        values = [list(r.other.get(name, {}).values()) for r in report.rows]
        rows.append([name, *(f"{sum(v) / len(v):.4g}" if v else text.NONE for v in values)])
    return [
        "## Further figures",
        "Means over the finished seeds, as recorded by the scorers; not tested.",
        _table(["figure", *(r.label for r in report.rows)], rows),
    ]


def _run(report: Report) -> str:
    lines = []
    for row in _all_rows(report):
        unlike = "; ".join(row.differences) or "–"
        lines.append([row.label, row.method, text.seeds(row), text.pace(row.pace), unlike])
    head = ["arm", "method", "seeds", "a training step, median (quartiles)"]
    return _table([*head, f"unlike {report.baseline}"], lines)


def _sources(report: Report) -> str:
    head = (
        "`report.json` (schema: `report.schema.json`) holds every number with its store paths.\n\n"
    )
    lines = []
    for row in _all_rows(report):
        for t in row.trials:
            seconds = f"{t.seconds:.0f} s" if t.seconds is not None else text.NONE
            lines.append([f"`{t.id}`", t.state, seconds, f"`{t.log}`"])
    body = _table(["trial", "state", "time", "log"], lines)
    return f"{head}<details><summary>Trials</summary>\n\n{body}\n\n</details>"


def _bullets(lines: Iterable[str]) -> str:
    return "\n".join(f"- {_escape(line)}" for line in lines)


def _escape(line: str) -> str:
    """A lone asterisk is a mark here, not markdown."""
    return line.replace("* p", "\\* p") if line.startswith("* p") else line.replace("] *", "] \\*")


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(c.replace("|", "\\|").replace("\n", " ") for c in cells) + " |"

    return "\n".join([line(head), "|" + " --- |" * len(head), *(line(r) for r in rows)])
