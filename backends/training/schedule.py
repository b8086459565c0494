"""The learning rate of a step."""

from __future__ import annotations

import math

from backends.base.stage import Stage


def learning_rate(stage: Stage, step: int) -> float:
    """The learning rate of a step, counted from 0; all updates of a step share it.

    It rises linearly over ``warmup_steps``, reaching ``lr`` in the last of them, and then stays
    (``constant``) or falls to 0 at the end that the training never reaches, along a half
    ``cosine`` or a line (``linear``).
    """
    if step < stage.warmup_steps:
        return stage.lr * (step + 1) / stage.warmup_steps
    done = (step - stage.warmup_steps) / max(stage.steps - stage.warmup_steps, 1)
    if stage.lr_schedule == "cosine":
        return stage.lr * (1 + math.cos(math.pi * done)) / 2
    if stage.lr_schedule == "linear":
        return stage.lr * (1 - done)
    return stage.lr
