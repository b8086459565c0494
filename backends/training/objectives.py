"""What a stage trains for: grpo, sft or dpo, as far as it is about settings and questions.

An objective is two things. Here is what every part of the project asks of it: what it needs of a
question, which settings mean something to it, what a person calls it. What a trainer computes for
it is the trainer's (ours: :mod:`backends.deepspeed.objectives`). Importing this loads no torch.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from backends.base.backend import TrainingError
from backends.base.stage import Stage
from backends.rewards import mistakes, reward
from backends.rewards.correctness import label
from benchmarks.base import Item
from benchmarks.prompts import template


class Objective(ABC):
    """One objective of one stage.

    ``name`` is how an experiment says it, ``title`` what a person calls it. With ``has_rollouts``
    the policy samples the responses that it learns from; else they are a question's
    :meth:`targets`, which are made of its labels where ``needs_labels``.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    has_rollouts: ClassVar[bool] = False
    needs_labels: ClassVar[bool] = False

    def __init__(self, stage: Stage) -> None:
        self.stage = stage

    @property
    @abstractmethod
    def group_size(self) -> int:
        """Responses to a question in an update."""

    @property
    def temperature(self) -> float:
        """The temperature of log-probabilities. Given responses are learnt as they are, at 1."""
        return 1.0

    @property
    def needs_reference(self) -> bool:
        """Whether the loss or the reward compares with the model that the stage starts from."""
        return False

    @property
    def needs_old(self) -> bool:
        """Whether log-probabilities before the update are needed."""
        return False

    def targets(self, item: Item) -> tuple[str, ...]:
        """The responses to a question that are learnt, the one to learn first; none where the
        question has nothing to learn."""
        return ()

    def check(self, items: Sequence[Item], path: Path) -> None:
        """Raise TrainingError where the questions of the file ``path`` hold nothing to learn."""
        if not items:
            raise TrainingError(f"{path} holds no question")

    def problems(self) -> list[str]:
        """Settings of the stage that have no meaning here; empty where there are none."""
        found = []
        if self.stage.kl.beta > 0:
            found.append(f"kl.beta has no meaning for objective {self.name}: set it to 0")
        if self.stage.rewards:
            found.append(f"rewards have no meaning for objective {self.name}: leave them out")
        return found


class GRPO(Objective):
    """Groups of sampled responses, each weighed by what its reward is beyond the others'."""

    name = "grpo"
    title = "reinforcement learning"
    has_rollouts = True

    @property
    def group_size(self) -> int:
        return self.stage.group_size

    @property
    def temperature(self) -> float:
        """A policy is trained at the temperature that it is sampled at."""
        return self.stage.temperature

    @property
    def needs_reference(self) -> bool:
        return self.stage.kl.beta > 0

    @property
    def needs_old(self) -> bool:
        """For ratios, which are 1 in the first update of a rollout; and where the reward pays for
        KL, which is that before the update."""
        kl = self.stage.kl
        return self.stage.updates_per_rollout > 1 or (kl.beta > 0 and kl.place == "reward")

    def check(self, items: Sequence[Item], path: Path) -> None:
        super().check(items, path)
        if wrong := [said for _, said in mistakes(self.stage.rewards)]:
            raise TrainingError("; ".join(wrong))
        supervised = [term.name for term in self.stage.rewards if reward(term).needs_answer]
        if supervised and not any(label(item.answer) for item in items):
            raise TrainingError(
                f"reward {supervised[0]!r} needs labels and none of the {len(items)} questions of "
                f"{path} has an answer"
            )

    def problems(self) -> list[str]:
        return []


class SFT(Objective):
    """Worked solutions, or bare answers, learnt by maximum likelihood."""

    name = "sft"
    title = "supervised fine-tuning"
    needs_labels = True
    group_size = 1

    def targets(self, item: Item) -> tuple[str, ...]:
        """The worked solution, else the answer as the template wants it written."""
        if item.solution.strip():
            return (item.solution,)
        if label(item.answer):
            return (template(self.stage.template).answered(item.answer),)
        return ()

    def check(self, items: Sequence[Item], path: Path) -> None:
        super().check(items, path)
        if not any(map(self.targets, items)):
            raise TrainingError(
                f"sft needs worked solutions or answers and none of the {len(items)} questions of "
                f"{path} has either"
            )


class DPO(Objective):
    """Preferences: of two responses to one prompt, the chosen one becomes likelier."""

    name = "dpo"
    title = "preference optimisation"
    group_size = 2
    needs_reference = True

    def targets(self, item: Item) -> tuple[str, ...]:
        """The chosen and the rejected response in the question's ``meta``."""
        texts = tuple(item.meta.get(name) for name in ("chosen", "rejected"))
        pair = tuple(text for text in texts if isinstance(text, str) and text.strip())
        return pair if len(pair) == len(texts) else ()

    def check(self, items: Sequence[Item], path: Path) -> None:
        super().check(items, path)
        if not any(map(self.targets, items)):
            raise TrainingError(
                f"dpo needs preferences and none of the {len(items)} questions of {path} has a "
                "'chosen' and a 'rejected' response in its meta"
            )

    def problems(self) -> list[str]:
        return [
            f"{problem}; its weight is dpo_beta" if problem.startswith("kl.beta") else problem
            for problem in super().problems()
        ]


OBJECTIVES: dict[str, type[Objective]] = {kind.name: kind for kind in (GRPO, SFT, DPO)}


def objective(stage: Stage) -> Objective:
    """The objective of a stage."""
    return OBJECTIVES[stage.objective](stage)
