"""How numbers are written, the same in the terminal and in markdown."""

from __future__ import annotations

from typing import Any

from harness.results.report.model import Cell, Delta, Pace, Report, Row

NONE = "–"


def points(fraction: float | None, signed: bool = False) -> str:
    """A fraction in points: 0.7711 -> ``77.1``."""
    if fraction is None:
        return NONE
    text = f"{100 * fraction:+.1f}" if signed else f"{100 * fraction:.1f}"
    return {"+0.0": "0.0", "-0.0": "0.0"}.get(text, text).replace("-", "−")


def score(cell: Cell) -> str:
    """``77.1 ± 4.7``; says so where one seed allows no spread."""
    if cell.mean is None:
        return NONE
    if cell.sd is not None:
        return f"{points(cell.mean)} ± {points(cell.sd)}"
    return points(cell.mean) if cell.shared else f"{points(cell.mean)} (n=1 seed)"


def delta(found: Delta | None) -> str:
    """``+18.1 [+9.4, +26.8] *``, or that there is no comparison; empty for the reference row."""
    if found is None:
        return ""
    if found.refused:
        return "not comparable"
    ends = f"[{points(found.low, True)}, {points(found.high, True)}]"
    return f"{points(found.mean, True)} {ends}{' *' if found.star else ''}"


def column(name: str) -> str:
    """The last part of a metric's name as people write it: ``pass_at_1`` -> ``pass@1``."""
    return name.rsplit("/", 1)[-1].replace("_at_", "@").replace("_", " ")


def seeds(row: Row) -> str:
    """Finished seeds of planned ones."""
    return f"{row.ok}/{len(row.trials)}" if row.ok < len(row.trials) else str(row.ok)


def settings(point: dict[str, Any], default: dict[str, Any]) -> str:
    """A point of a sweep: its settings, or the default ones of the arm itself."""
    chosen = {k: v for k, v in (point or default).items() if v is not None}
    text = ", ".join(f"{k} {v}" for k, v in chosen.items())
    return text if point else f"{text} (the arm itself)"


def subset(n: int, of: int | None, limit: int | None) -> str:
    """A number of items, and of how many: a part of a benchmark must not pass for the whole."""
    if n < (of or n):
        return f"{n} of {of}, a subset"
    return f"{n}, a subset: limit {limit}" if limit and of is None else str(n)


def asked(report: Report) -> list[tuple[str, str]]:
    """(title, what it is) for every benchmark: items, data, scorer, prompt."""
    lines = []
    for b in report.benchmarks:
        prompts = sorted(set(b.prompts.values()))
        units = f" ({b.units} units of {column(b.headline)})" if b.units not in (None, b.n) else ""
        parts = [f"n = {'unknown' if b.n is None else subset(b.n, b.of, b.limit)}{units}"]
        parts += [f"data {b.data}"] if b.data else []
        parts += [f"scorer {b.scorer}"] if b.scorer else []
        if len(prompts) == 1 and prompts[0]:
            parts.append(f"prompt {prompts[0]}")
        elif len(prompts) > 1:
            parts.append("prompts " + ", ".join(f"{k}: {v}" for k, v in b.prompts.items()))
        parts += [b.decoding] if b.decoding else []
        parts += [f"NOT AS PUBLISHED: {'; '.join(b.differences)}"] if b.differences else []
        lines.append((b.title, " · ".join(parts)))
    return lines


def pace(found: Pace | None) -> str:
    """``0.52 s (0.49 to 0.60)``: the median step and its quartiles."""
    if found is None:
        return NONE
    return f"{found.median:.3g} s ({found.low:.3g} to {found.high:.3g})"


def pairs(report: Report) -> tuple[list[str], list[list[str]]]:
    """The arms that differ only in their backend, as a table: head, and a line for each pair."""
    paces = {row.label: row.pace for row in report.rows}
    head = ["second against first", "a step of the first", "of the second", "ratio"]
    head += [title(report, m.benchmark) for m in report.metrics if m.kind == "headline"]
    lines = []
    for pair in report.pairs:
        one, two = paces[pair.first], paces[pair.second]
        ratio = f"{two.median / one.median:.2f}" if one and two else NONE
        names = f"{pair.second} ({pair.backends[1]}) − {pair.first} ({pair.backends[0]})"
        lines.append([names, pace(one), pace(two), ratio, *map(delta, pair.deltas.values())])
    return head, lines


#: Said under that table.
PAIRS = (
    "Arms that differ only in the backend that trained them: second minus first, paired by "
    "question and by seed, Holm's correction over these pairs. Seconds are those of a training "
    "step as each trainer measured them on this machine: the median over all steps and seeds, and "
    "the quartiles."
)


def refusals(rows: list[Row]) -> list[str]:
    """Each reason for which a row is not compared, once."""
    found: dict[str, None] = {}
    for row in rows:
        for cell in row.cells.values():
            if cell.delta and cell.delta.refused:
                found[f"{row.label} is not compared: {cell.delta.refused}"] = None
            elif cell.refused and row.ok:
                found[f"{row.label}: {cell.refused}"] = None
    return list(found)


def title(report: Report, benchmark: str) -> str:
    return next((b.title for b in report.benchmarks if b.name == benchmark), benchmark)


def beside(report: Report, table: dict[str, Any]) -> list[tuple[bool, str, str, list[str]]]:
    """Ours and a published table's rows by method: (ours?, label, data, values in points)."""
    names = [b.name for b in report.benchmarks]
    lines = []
    for row in report.rows:
        printed = [r for r in table["rows"] if r["method"] == row.method]
        if not printed or not row.ok:
            continue
        ours = [score(row.cells[b.headline]) for b in report.benchmarks]
        lines.append((True, f"{row.label} (this run)", report.model, ours))
        for r in printed:
            values = [f"{r['values'][n]:.2f}" if n in r["values"] else NONE for n in names]
            lines.append((False, r["label"], r["data"], values))
    return lines
