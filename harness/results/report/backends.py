"""The same arm by two trainers: how far apart they end, and how long a step takes each."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np

from harness.results.reading import ConditionResult
from harness.results.report import comparison
from harness.results.report.model import Metric, Pace, Pair


def pairs(arms: Sequence[ConditionResult], metrics: Sequence[Metric]) -> list[Pair]:
    """Every two arms whose settings are equal but for the backend, with their paired differences;
    Holm's correction is over these pairs."""
    found = [(a, b) for a, b in combinations(arms, 2) if _only_backends_differ(a, b)]
    headlines = [m for m in metrics if m.kind == "headline"]
    columns = {
        m.name: comparison.column([(b, a) for a, b in found], m.benchmark, m.name)
        for m in headlines
    }
    return [
        Pair(
            first=a.label,
            second=b.label,
            backends=(_backend(a), _backend(b)),
            deltas={name: column[i] for name, column in columns.items()},
        )
        for i, (a, b) in enumerate(found)
    ]


def pace(condition: ConditionResult) -> Pace | None:
    """Seconds of a training step: of its phases together, as the trainer measured them."""
    seconds = [
        sum(value for name, value in row.items() if name.startswith("seconds_"))
        for trial in condition.ok
        for row in trial.curve()
    ]
    if not any(seconds):
        return None
    low, median, high = np.percentile(seconds, [25, 50, 75])
    return Pace(median=float(median), low=float(low), high=float(high), steps=len(seconds))


def _only_backends_differ(a: ConditionResult, b: ConditionResult) -> bool:
    ours, theirs = dict(a.trials[0].settings), dict(b.trials[0].settings)
    return ours.pop("backend", "") != theirs.pop("backend", "") and ours == theirs


def _backend(condition: ConditionResult) -> str:
    return str(condition.trials[0].settings.get("backend", ""))
