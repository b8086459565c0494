"""What a step logs of its updates, over all ranks."""

from __future__ import annotations

import math

from backends.base.stage import Stage
from backends.deepspeed.update import Totals
from backends.training.ranks import Ranks


def update_figures(totals: Totals, stage: Stage, ranks: Ranks) -> dict[str, float]:
    """The figures of a step's updates, by the names of :mod:`backends.base.metrics`."""
    sums = totals.sums.over(ranks)
    loss, value_loss = ranks.sum(totals.loss, totals.value_loss)
    row: dict[str, float] = {}
    if sums.tokens:
        row["clip_share"] = sums.clipped / sums.tokens
    if sums.compared:
        row["engine_gap"] = sums.engine_gap / sums.compared
        row["engine_factor"] = sums.engine_factor / sums.compared
    if sums.kl_tokens:
        row["kl"] = sums.kl / sums.kl_tokens
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
