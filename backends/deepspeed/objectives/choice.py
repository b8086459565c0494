"""Losses by the name of their objective."""

from __future__ import annotations

from backends.base.stage import Stage
from backends.deepspeed.objectives.dpo import DPO
from backends.deepspeed.objectives.grpo import GRPO
from backends.deepspeed.objectives.loss import Loss
from backends.deepspeed.objectives.sft import SFT

LOSSES: dict[str, type[Loss]] = {"grpo": GRPO, "sft": SFT, "dpo": DPO}


def loss(stage: Stage) -> Loss:
    """The loss of a stage's objective."""
    return LOSSES[stage.objective](stage)
