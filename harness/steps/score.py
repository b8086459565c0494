"""Score: verdicts on stored responses, and the benchmark's figures. Needs no model and no GPU."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from benchmarks import registry
from benchmarks.aggregate import sampled_values
from benchmarks.base import Benchmark, Item, Ratio, Scorer, Values, Verdict
from harness.errors import StepError
from harness.experiment import judges
from harness.plan.specs import Score
from harness.steps import judging
from harness.steps.context import Context
from harness.store.files import write_json
from harness.store.sources.hashes import Hashes


def run(spec: Score, context: Context) -> None:
    """Write ``verdicts.parquet``, ``values.parquet`` and ``summary.json``."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    one = context.benchmark(spec.benchmark, spec.data)
    items = context.items(spec.benchmark, spec.data, spec.limit)
    rows = pq.read_table(context.parents["generations"] / "generations.parquet").to_pylist()
    published, differences = context.check(spec.benchmark, spec.data)
    verdicts = _judge(one, spec, items, rows, context)
    values, extra = figures(one, items, verdicts)
    if reason := one.withheld(items):
        differences = [*differences, reason]
    cluster = {item.id: item.cluster or item.id for item in items}
    table = [
        {
            "item": v.item,
            "cluster": cluster[v.item],
            "decoding": v.decoding,
            "sample": v.sample,
            "correct": v.correct,
            "status": v.status,
            "extracted": v.extracted,
            "rule": v.rule,
            "start": v.span and v.span[0],
            "end": v.span and v.span[1],
        }
        for v in verdicts
    ]
    units = [
        {"metric": v.metric, "unit": unit, "cluster": group, "value": value}
        for v in values
        for unit, group, value in zip(v.units, v.clusters, v.values, strict=True)
    ]
    pq.write_table(pa.Table.from_pylist(table), context.out / "verdicts.parquet")
    pq.write_table(pa.Table.from_pylist(units), context.out / "values.parquet")
    finite = {name: value for name, value in extra.items() if math.isfinite(value)}
    states = [v.status for v in verdicts]
    finishes = [row["finish"] for row in rows]
    write_json(
        context.out / "summary.json",
        {
            "metrics": {v.metric: v.mean for v in values if v.units} | finite,
            "undefined": [name for name in extra if name not in finite],
            "n": len(items),
            "of": published,
            "differences": differences,
            "ns": {v.metric: len(v.units) for v in values if v.units}
            | {name: extra[name].whole for name in finite},
            "counts": {
                "n": len(rows),
                "unparsed": states.count("unparsed"),
                "undecided": states.count("undecided"),
                "judge_failed": states.count("judge_failed"),
                "truncated": finishes.count("length"),
                "dropped": finishes.count("dropped"),
            },
            "scorer": spec.scorer_id,
            "limit": spec.limit,
        },
    )


def _judge(
    one: Benchmark,
    spec: Score,
    items: Sequence[Item],
    rows: Sequence[dict[str, Any]],
    context: Context,
) -> list[Verdict]:
    """The verdicts in the order of the rows; equal responses to an item are judged once."""
    dtype, hashes = context.resources.dtype, Hashes(context.store.root)
    now = judges.scorer_id(one, spec.scorer, context.services.judge, hashes, dtype)
    if now != spec.scorer_id:
        raise StepError(
            f"the scorer {spec.scorer!r} is now {now}, and was planned as {spec.scorer_id}; "
            "run again"
        )
    by_id = {item.id: item for item in items}
    answers = [(by_id[row["item"]], row["text"]) for row in rows]
    if spec.scorer == judges.NAME:
        assert context.services.judge is not None  # it has an identity
        judged = judging.verdicts(
            answers,
            context.services.judge,
            context.store.root,
            context.resources,
            context.engines,
            lambda done, total: context.progress(done, total, "verdicts"),
        )
    else:
        judged = _by_rules(registry.scorer(one, spec.scorer), answers, context)
    return [
        replace(verdict, decoding=row["decoding"], sample=row["sample"])
        for verdict, row in zip(judged, rows, strict=True)
    ]


def _by_rules(
    scorer: Scorer, answers: Sequence[tuple[Item, str]], context: Context
) -> list[Verdict]:
    known: dict[tuple[str, str], Verdict] = {}
    verdicts = []
    for number, (item, text) in enumerate(answers):
        if (item.id, text) not in known:
            known[item.id, text] = scorer.score(item, text)
        verdicts.append(known[item.id, text])
        if number % 100 == 0:
            context.progress(number, len(answers), "verdicts")
    return verdicts


def figures(
    one: Benchmark, items: Sequence[Item], verdicts: Sequence[Verdict]
) -> tuple[list[Values], dict[str, Ratio]]:
    """Every figure: the official ones on the greedy answers, and pass@k and maj@k on the samples.

    Without greedy answers the official figures are means over the samples, unit by unit, and the
    ratios are of all samples together.
    """
    greedy = [v for v in verdicts if v.decoding == "greedy"]
    sampled = [v for v in verdicts if v.decoding == "sampled"]
    values: list[Values] = []
    extra: dict[str, Ratio] = {}
    if greedy:
        values += one.values(items, greedy)
        extra = one.extra(items, greedy)
    else:
        rounds = _by_sample(sampled)
        values += _mean([one.values(items, v) for v in rounds])
        ratios = [one.extra(items, v) for v in rounds]
        names = next(iter(ratios), {})
        extra = {name: Ratio.pooled([each[name] for each in ratios]) for name in names}
    if sampled:
        values += sampled_values(one, items, sampled)
    return values, extra


def _by_sample(verdicts: Sequence[Verdict]) -> list[list[Verdict]]:
    rounds: dict[int, list[Verdict]] = {}
    for verdict in verdicts:
        rounds.setdefault(verdict.sample, []).append(verdict)
    return [rounds[i] for i in sorted(rounds)]


def _mean(rounds: Sequence[Sequence[Values]]) -> list[Values]:
    """Each metric's mean over the rounds, unit by unit."""
    return [
        Values(
            same[0].metric,
            same[0].units,
            same[0].clusters,
            tuple(sum(row) / len(row) for row in zip(*(v.values for v in same), strict=True)),
        )
        for same in zip(*rounds, strict=True)
    ]
