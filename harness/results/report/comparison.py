"""From trials to numbers: a metric of an arm over its seeds, and paired differences of arms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from harness.results import statistics as stats
from harness.results.reading import ConditionResult, Score, TrialResult
from harness.results.report.model import Delta
from harness.results.statistics import Interval, NotComparable

ALPHA = 0.05

#: What has to be the same on both sides, with the word for it in a refusal.
_IDENTITY = {"scorer": "scorers", "data": "data", "n": "numbers of items", "decoding": "decoding"}


@dataclass(frozen=True)
class Evaluation:
    """One metric of one condition: ``values [S, N]`` over ``seeds [S]`` and ``units [N]``.

    ``shared`` says that all seeds point to one and the same evaluation (an untrained base): its
    values are then one row repeated, and it has no spread over seeds.
    """

    values: np.ndarray
    units: np.ndarray
    clusters: np.ndarray
    seeds: tuple[int, ...]
    trials: tuple[TrialResult, ...]
    score: Score
    shared: bool

    @property
    def distinct(self) -> np.ndarray:
        """The values without the repetition of a shared evaluation."""
        return self.values[:1] if self.shared else self.values


def identity(score: Score) -> dict[str, Any]:
    """What a score is a score of. The prompt may belong to the method; its token budget may not."""
    return {key: score.info.get(key) for key in _IDENTITY}


def evaluation(condition: ConditionResult, benchmark: str, metric: str) -> Evaluation | None:
    """The finished seeds of a condition, or None where none of them has this metric.

    Raises :class:`NotComparable` where its own seeds were not scored on one item set by one rule.
    """
    trials = [
        t for t in condition.ok if benchmark in t.scores and metric in t.scores[benchmark].metrics
    ]
    if not trials:
        return None
    scores = [t.scores[benchmark] for t in trials]
    units = [s.metrics[metric] for s in scores]
    for score, unit, trial in zip(scores[1:], units[1:], trials[1:], strict=True):
        _same(
            identity(scores[0]),
            identity(score),
            f"{condition.label} seed {trials[0].seed}",
            f"seed {trial.seed}",
        )
        if not np.array_equal(units[0].units, unit.units):
            raise NotComparable(f"the seeds of {condition.label} were scored on different items")
    return Evaluation(
        values=np.stack([u.values for u in units]),
        units=units[0].units,
        clusters=units[0].clusters,
        seeds=tuple(t.seed for t in trials),
        trials=tuple(trials),
        score=scores[0],
        shared=len(trials) > 1 and len({s.path for s in scores}) == 1,
    )


def own_interval(found: Evaluation) -> Interval | None:
    """The interval of the mean itself; None where the units allow none."""
    try:
        return stats.interval(found.distinct, found.clusters)
    except ValueError:
        return None


def difference(
    arm: ConditionResult, base: ConditionResult, benchmark: str, metric: str
) -> Interval:
    """Mean paired difference ``arm - base``, by unit and by seed, with its interval and p-value.

    Raises :class:`NotComparable` when a planned seed is missing on either side, and when scorers,
    data, items or decoding budgets differ.
    """
    for side in (arm, base):
        if side.holes:
            hole = side.holes[0]
            more = f" and {len(side.holes) - 1} more" if len(side.holes) > 1 else ""
            raise NotComparable(f"{side.label} seed {hole.seed} is {hole.state}{more}")
    a, b = evaluation(arm, benchmark, metric), evaluation(base, benchmark, metric)
    if a is None or b is None:
        raise NotComparable(f"{(arm if a is None else base).label} has no {metric}")
    _same(identity(a.score), identity(b.score), arm.label, base.label)
    if not np.array_equal(a.units, b.units):
        raise NotComparable(f"{arm.label} and {base.label} were scored on different items")
    if a.seeds == b.seeds:
        # Two evaluations shared over the seeds are one comparison, not S of them.
        delta = a.distinct - b.distinct if a.shared and b.shared else a.values - b.values
    elif b.shared or len(b.seeds) == len(base.trials) == 1:
        delta = a.values - b.values[:1]
    else:
        raise NotComparable(f"seeds differ: {_list(a.seeds)} against {_list(b.seeds)}")
    try:
        return stats.interval(delta, a.clusters)
    except ValueError as error:
        raise NotComparable(str(error)) from error


def column(
    pairs: Sequence[tuple[ConditionResult, ConditionResult]], benchmark: str, metric: str
) -> list[Delta]:
    """The difference of each (arm, base) in one metric, with Holm's correction over the pairs."""
    found: list[Interval | str] = []
    for arm, base in pairs:
        try:
            found.append(difference(arm, base, benchmark, metric))
        except NotComparable as error:
            found.append(str(error))
    # A planned pair that cannot be tested still counts: its absence must not help the others.
    adjusted = stats.holm([1.0 if isinstance(i, str) else i.p for i in found])
    return [
        Delta(to=base.label, refused=i)
        if isinstance(i, str)
        else Delta.from_result(i, to=base.label, p_holm=p_holm, star=i.seeds > 1 and p_holm < ALPHA)
        for (_, base), i, p_holm in zip(pairs, found, adjusted, strict=True)
    ]


def _same(ours: dict[str, Any], theirs: dict[str, Any], us: str, them: str) -> None:
    for key, word in _IDENTITY.items():
        if ours[key] != theirs[key]:
            raise NotComparable(f"{word} differ: {us} {ours[key]}, {them} {theirs[key]}")


def _list(seeds: Sequence[int]) -> str:
    return ", ".join(map(str, seeds))
