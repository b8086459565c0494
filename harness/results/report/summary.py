"""From a run's results to its report (:class:`~harness.results.report.model.Report`): every
number there is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from harness import papers
from harness.results.reading import ConditionResult, Results, TrialResult
from harness.results.report import backends, comparison
from harness.results.report.comparison import ALPHA
from harness.results.report.model import (
    BenchmarkRecord,
    Cell,
    Delta,
    Metric,
    Published,
    Report,
    Row,
    SweepTable,
    TrialRecord,
)
from harness.results.statistics import NotComparable


def build(results: Results) -> Report:
    """Every number that the report prints."""
    metrics = _metrics(results)
    arms = results.arms
    base = next((c for c in arms if c.arm == results.baseline), None)
    sweep = results.sweep
    swept = _sweep_conditions(results) if sweep else ()
    rows = _rows(results, arms, base, metrics)
    return Report(
        name=results.name,
        written=datetime.now(UTC).isoformat(timespec="seconds"),
        model=model_name(results),
        baseline=results.baseline,
        seeds=sorted({t.seed for t in results.trials}),
        environment=results.environment,
        benchmarks=[_benchmark(results, b, rows) for b in results.benchmarks],
        metrics=metrics,
        rows=rows,
        sweep=SweepTable(
            of=sweep["of"],
            axes=sweep.get("axes", {}),
            default=sweep.get("default", {}),
            rows=_rows(results, swept, swept[0] if swept else None, metrics),
        )
        if sweep
        else None,
        pairs=backends.pairs(arms, metrics),
        holes=[f"{t.name}: {t.state}, {t.reason}" for t in results.trials if t.state != "ok"],
        footnotes=_footnotes(results),
        published=_published(results),
    )


def model_name(results: Results) -> str:
    """The model as the experiment names it."""
    return str(results.spec.get("model", ""))


def _metrics(results: Results) -> list[Metric]:
    """The columns: each benchmark's headline, then what came from several samples a question."""
    found = []
    for benchmark in results.benchmarks:
        name, headline = benchmark["name"], benchmark["headline"]
        found.append(Metric(name=headline, benchmark=name, kind="headline"))
        seen: dict[str, None] = {}
        for trial in results.trials:
            if trial.state == "ok" and name in trial.scores:
                seen.update(dict.fromkeys(trial.scores[name].metrics))
        sampled = [m for m in seen if m != headline and _is_sampled(m)]
        found += [
            Metric(name=m, benchmark=name, kind="sampled")
            for m in sorted(sampled, key=lambda m: "maj_at" in m)
        ]
    return found


def _is_sampled(metric: str) -> bool:
    last = metric.rsplit("/", 1)[-1]
    return last == "pass_at_1" or last.startswith("maj_at_")


def _sweep_conditions(results: Results) -> tuple[ConditionResult, ...]:
    """The points of the sweep, and first the arm itself: the point of the default settings."""
    assert results.sweep is not None
    mine = [c for c in results.conditions if c.arm == results.sweep["of"]]
    return tuple(sorted(mine, key=lambda c: bool(c.point)))


def _rows(
    results: Results,
    conditions: Sequence[ConditionResult],
    base: ConditionResult | None,
    metrics: Sequence[Metric],
) -> list[Row]:
    cells = {c.label: {m.name: _cell(results, c, m) for m in metrics} for c in conditions}
    for metric in metrics:
        column = _deltas(conditions, base, metric)
        for name, delta in column.items():
            cells[name][metric.name] = cells[name][metric.name].model_copy(update={"delta": delta})
    return [
        Row(
            label=c.label,
            arm=c.arm,
            point=c.point,
            method=c.method,
            baseline=c is base,
            differences=list(c.trials[0].differences),
            trials=[_record(results, t) for t in c.trials],
            cells=cells[c.label],
            other=_other(c, metrics),
            counts=_counts(c),
            pace=backends.pace(c),
        )
        for c in conditions
    ]


def _cell(results: Results, condition: ConditionResult, metric: Metric) -> Cell:
    try:
        found = comparison.evaluation(condition, metric.benchmark, metric.name)
    except NotComparable as error:
        return Cell(refused=str(error))
    if found is None:
        hole = condition.holes[0] if condition.holes else None
        return Cell(refused=f"{hole.state}: {hole.reason}" if hole else "not evaluated")
    own = comparison.own_interval(found)
    per_seed = dict(zip(map(str, found.seeds), found.values.mean(axis=1).tolist(), strict=True))
    return Cell(
        mean=float(found.values.mean()),
        sd=own.sd if own else None,
        low=own.low if own else None,
        high=own.high if own else None,
        n=found.values.shape[1],
        clusters=own.clusters if own else None,
        per_seed=per_seed,
        shared=found.shared,
        sources=list(
            dict.fromkeys(
                str(t.scores[metric.benchmark].path.relative_to(results.root)) for t in found.trials
            )
        ),
    )


def _deltas(
    conditions: Sequence[ConditionResult], base: ConditionResult | None, metric: Metric
) -> dict[str, Delta]:
    """One column of differences to the base."""
    if base is None:
        return {}
    others = [c for c in conditions if c is not base]
    found = comparison.column([(c, base) for c in others], metric.benchmark, metric.name)
    return {c.label: delta for c, delta in zip(others, found, strict=True)}


def _record(results: Results, trial: TrialResult) -> TrialRecord:
    return TrialRecord.from_result(
        trial,
        steps=[dict(s) for s in trial.steps],
        training=[str(p.relative_to(results.root)) for p in trial.training],
        log=f"{results.folder.name}/trials/{trial.id}/log.txt",
    )


def _other(condition: ConditionResult, metrics: Sequence[Metric]) -> dict[str, dict[str, float]]:
    columns = {m.name for m in metrics}
    found: dict[str, dict[str, float]] = {}
    for trial in condition.ok:
        for name, value in trial.metrics.items():
            if name not in columns and isinstance(value, int | float) and math.isfinite(value):
                found.setdefault(name, {})[str(trial.seed)] = float(value)
    return found


def _counts(condition: ConditionResult) -> dict[str, dict[str, int]]:
    """Responses counted apart from right and wrong, summed over distinct evaluations."""
    found: dict[str, dict[str, int]] = {}
    distinct = {(s.benchmark, s.path): s for t in condition.ok for s in t.scores.values()}
    for score in distinct.values():
        sums = found.setdefault(score.benchmark, {})
        for name, value in score.info.get("counts", {}).items():
            sums[name] = sums.get(name, 0) + value
    return found


def _decoding(info: dict[str, Any]) -> str:
    """``greedy and 4 samples at temperature 0.7, at most 32 tokens``."""
    how = info.get("decoding")
    if not how:
        return ""
    parts = ["greedy"] if how.get("greedy") else []
    if sampled := how.get("sampled"):
        parts.append(f"{sampled['n']} samples at temperature {sampled['temperature']:g}")
    most = f", at most {how['max_tokens']} tokens" if how.get("max_tokens") else ""
    return " and ".join(parts) + most


def _benchmark(results: Results, planned: dict[str, Any], rows: Sequence[Row]) -> BenchmarkRecord:
    name = planned["name"]
    prompts: dict[str, str] = {}
    info: dict[str, Any] = {}
    for trial in results.trials:
        if trial.state == "ok" and name in trial.scores:
            info = info or trial.scores[name].info
            prompts.setdefault(trial.arm, trial.scores[name].info["prompt"])
    headline = planned["headline"]
    units = [r.cells[headline].n for r in rows if r.cells[headline].n is not None]
    return BenchmarkRecord(
        name=name,
        title=planned["title"],
        headline=headline,
        n=info.get("n"),
        units=units[0] if units else None,
        data=str(info.get("data") or planned.get("data") or ""),
        limit=info.get("limit", planned.get("limit")),
        of=info.get("of"),
        differences=info.get("differences", ()),
        scorer=str(info.get("scorer") or planned.get("scorer") or ""),
        decoding=_decoding(info),
        prompts=prompts,
    )


def _footnotes(results: Results) -> list[str]:
    others = len(results.arms) - 1
    base = results.baseline
    notes = [
        "Scores are in points (percent). ± is the sample standard deviation over training seeds; "
        "an arm whose seeds share one evaluation (an untrained model) has none.",
    ]
    if base and others > 0:
        notes.append(
            f"Δ is the mean difference to {base}, paired by question and by seed, with its 95 % "
            "interval over both questions (clustered by shared context) and seeds."
        )
        notes.append(
            f"* p < {ALPHA} in a two-sided t test of that difference (two-way clustered variance, "
            f"Satterthwaite degrees of freedom) after Holm's correction over the {others} "
            f"{'arm' if others == 1 else 'arms'} compared in each column. "
            "Never given on one seed, nor where trials are missing."
        )
    return notes


def _published(results: Results) -> Published | None:
    if not results.paper:
        return None
    paper = papers.load(results.paper)
    model = model_name(results)
    same = model and paper["model"].lower() in model.lower()
    caveat = (
        f"Printed by the authors for {paper['model']}, judged by {paper['judge']}. "
        + (
            "Their evaluation code, prompt and decoding differ from ours"
            if same
            else f"This run's model ({model or 'unknown'}), questions and benchmark items are "
            "others, so only the direction of an effect can be set side by side"
        )
        + ": no figure of the paper enters a test."
    )
    keys = paper["benchmarks"]
    tables = [
        {
            "name": table["name"],
            "title": table["title"],
            "rows": [
                {
                    "label": row[0],
                    "method": row[1],
                    "data": row[2],
                    "values": dict(zip(keys, row[3], strict=True)),
                    "average": row[4],
                }
                for row in table["rows"]
            ],
        }
        for table in paper["tables"]
    ]
    return Published(
        name=results.paper,
        title=paper["title"],
        source=paper["source"],
        model=paper["model"],
        judge=paper["judge"],
        caveat=caveat,
        notes=paper["notes"],
        tables=tables,
    )
