"""Whether a pool of questions has what a stage learns from."""

from __future__ import annotations

from pathlib import Path

from backends.base.backend import TrainingError
from backends.base.stage import Stage
from backends.rewards import mistakes, reward
from backends.rewards.correctness import label
from backends.training.demonstrations import target
from backends.training.preferences import pair
from benchmarks.base import Item


def check_questions(items: list[Item], stage: Stage, path: Path) -> None:
    """Raise TrainingError where the pool at ``path`` has nothing for the stage to learn from, or a
    reward is wrong."""
    if not items:
        raise TrainingError(f"{path} holds no question")
    if wrong := [said for _, said in mistakes(stage.rewards)]:
        raise TrainingError("; ".join(wrong))
    supervised = [term.name for term in stage.rewards if reward(term).needs_answer]
    if stage.objective == "grpo" and supervised and not any(label(i.answer) for i in items):
        raise TrainingError(
            f"reward {supervised[0]!r} needs labels and none of the {len(items)} questions of "
            f"{path} has an answer"
        )
    if stage.objective == "sft" and not any(target(i, stage.template) for i in items):
        raise TrainingError(
            f"sft needs worked solutions or answers and none of the {len(items)} questions of "
            f"{path} has either"
        )
    if stage.objective == "dpo" and not any(pair(i) for i in items):
        raise TrainingError(
            f"dpo needs preferences and none of the {len(items)} questions of {path} has a "
            "'chosen' and a 'rejected' response in its meta"
        )
