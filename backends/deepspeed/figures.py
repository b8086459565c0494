"""What a step logs: figures of its groups and of its updates, over all ranks."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence

from backends.base import Stage
from backends.deepspeed.process import Ranks
from backends.deepspeed.update import Totals

#: Figures of groups that are counts of a step, not means over its groups.
COUNTS = frozenset(
    (
        *("zero_variance_groups", "unusable_groups", "unscored", "reward_errors", "ties"),
        *("unlabelled", "replaced_questions", "contrast_kept", "external_dropped"),
    )
)


def group_figures(
    rows: Sequence[tuple[int, Mapping[str, float]]], ranks: Ranks
) -> dict[str, float]:
    """Means, or sums of :data:`COUNTS`, over the groups of all ranks. ``rows`` are the figures of
    this rank's groups with their places: taken in that order, sums round alike for any number of
    ranks."""
    everywhere = sorted(
        (pair for part in ranks.gather(list(rows)) for pair in part), key=lambda pair: pair[0]
    )
    values: dict[str, list[float]] = defaultdict(list)
    for _, figures in everywhere:
        for key, value in figures.items():
            values[key].append(value)
    return {
        key: math.fsum(found) / (1 if key in COUNTS else len(found))
        for key, found in values.items()
    }


def update_figures(totals: Totals, stage: Stage, ranks: Ranks) -> dict[str, float]:
    """What the updates of a step came to, over the trained tokens of all ranks.

    ``engine_gap`` is the mean distance between the engine's and the trainer's log-probability of a
    sampled token, ``engine_factor`` the mean factor between the probabilities, exp(distance): 1
    where they agree (NeMo-RL's token_mult_prob_error, which it holds below 1.05).
    """
    loss, kl, own, clipped, gap, factor, compared, value_loss, trained = ranks.sum(
        *(totals.loss, totals.kl, totals.own, totals.clipped),
        *(totals.gap, totals.factor, totals.compared, totals.value_loss, totals.tokens),
    )
    row: dict[str, float] = {}
    if trained and stage.objective == "grpo":
        row["clip_share"] = clipped / trained
        if compared:
            row["engine_gap"] = gap / compared
            row["engine_factor"] = factor / compared
        if own:
            row["kl"] = kl / own
    finite = [norm for norm in totals.norms if math.isfinite(norm)]
    if finite:
        row["grad_norm"] = math.fsum(finite) / len(finite)
    if math.isfinite(loss):
        row["loss"] = loss / stage.updates_per_rollout
    if stage.critic is not None and math.isfinite(value_loss):
        row["value_loss"] = value_loss / stage.updates_per_rollout
    return row | {
        "skipped_steps": float(totals.skipped),
        "idle_updates": float(totals.idle),
    }
