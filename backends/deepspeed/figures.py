"""What a step logs: figures of its groups and of its updates, over all ranks."""

from __future__ import annotations

import math

from backends.base.stage import Stage
from backends.deepspeed.update import Totals
from backends.training.ranks import Ranks


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
