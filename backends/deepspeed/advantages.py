"""Advantages of a group: how much better a response is than its siblings."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal


def group_advantages(
    rewards: Sequence[float | None],
    kind: Literal["group_norm", "group_mean"] = "group_norm",
    eps: float = 1e-6,
) -> list[float]:
    """Advantages [G] of the rewards [G] of one group.

    ``group_norm``: (r - mean) / (std + eps) with Bessel's correction (GRPO, arXiv 2402.03300
    section 4.1.2; as verl's ``compute_grpo_outcome_advantage``). ``group_mean``: r - mean (Dr.
    GRPO, arXiv 2503.20783). A reward that is None takes no part in mean and deviation and gets
    advantage 0. A group that agrees gets exactly 0: rounding divided by ``eps`` must not become a
    signal.
    """
    scored = [r for r in rewards if r is not None and math.isfinite(r)]
    if len(scored) < 2 or min(scored) == max(scored):
        return [0.0] * len(rewards)
    mean = math.fsum(scored) / len(scored)
    scale = 1.0
    if kind == "group_norm":
        variance = math.fsum((r - mean) ** 2 for r in scored) / (len(scored) - 1)
        scale = 1.0 / (math.sqrt(variance) + eps)
    return [0.0 if r is None or not math.isfinite(r) else (r - mean) * scale for r in rewards]
