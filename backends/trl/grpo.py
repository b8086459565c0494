"""TRL's ``GRPOTrainer`` over our groups: which count, what they are paid, what is logged."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from backends.base.engine import Response
from backends.base.stage import Stage
from backends.training.groups import Group
from backends.training.samples import Sample, reward
from backends.trl.common import Common
from backends.trl.library import GRPOTrainer
from backends.trl.progress import Ledger
from backends.trl.questions import Questions


class GroupTrainer(Common, GRPOTrainer):
    """TRL's trainer, with groups that count for nothing left out of the loss altogether.

    TRL gives a response without a reward the advantage 0 and keeps it in every mean and in the KL
    term. Here a group without any reward, and the stand-in of a prompt that was too long, are
    masked, as TRL masks truncated responses; and every aggregation divides by what is left, as our
    trainer's do.
    """

    def __init__(self, questions: Questions, stage: Stage, ledger: Ledger, **given: Any) -> None:
        self.questions, self.stage, self.ledger = questions, stage, ledger
        self._counts: list[bool] = []
        self._share = 1.0
        super().__init__(
            reward_funcs=self._reward, train_dataset=questions.conversations(), **given
        )

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        with self.ledger.timed("rollout"):
            batch: dict[str, Any] = super()._generate_and_score_completions(inputs)
        counts = torch.tensor(self._counts, device=batch["completion_mask"].device)
        mask = batch["completion_mask"] = batch["completion_mask"] * counts[:, None]
        batch["num_items_in_batch"] = mask.sum()
        self.ledger.steps[self.questions.step(inputs[0]["row"])].usable = bool(mask.any())
        self._share = float(mask.any(1).float().mean()) or 1.0
        return batch

    def _tokenize_prompts(self, prompts: list[Any]) -> Any:
        ids, images, fields = super()._tokenize_prompts(prompts)
        # TRL says None for a prompt without pictures among others, and then fails on it.
        return ids, images and [shown or [] for shown in images], fields

    def _get_per_token_logps_and_entropies(self, model: Any, *args: Any, **kwargs: Any) -> Any:
        found = super()._get_per_token_logps_and_entropies
        if model is not self.ref_model:
            return found(model, *args, **kwargs)
        with self.ledger.timed("reference"):
            return found(model, *args, **kwargs)

    def _compute_loss(self, model: Any, inputs: dict[str, Any]) -> Tensor:
        loss: Tensor = super()._compute_loss(model, inputs)
        # The other means are over rows, those included that count for nothing.
        return loss if self.stage.aggregation == "token_mean" else loss / self._share

    def _reward(
        self, completion_ids: Sequence[Sequence[int]], row: Sequence[int], **_: Any
    ) -> list[float | None]:
        """TRL's reward function: a reward for each response, the G of a question in a row."""
        with self.ledger.timed("reward"):
            size = self.stage.group_size
            rewards: list[float | None] = []
            self._counts = []
            for first in range(0, len(row), size):
                found = self._group(row[first], completion_ids[first : first + size])
                rewards += found
                self._counts += [any(r is not None for r in found)] * size
        return rewards

    def _group(self, row: int, completions: Sequence[Sequence[int]]) -> list[float | None]:
        prompt, figures = self.questions.prompt(row), self.ledger.steps[self.questions.step(row)]
        if prompt is None:
            figures.dropped += 1
            return [None] * len(completions)
        drawn = self.questions.drawn(row)
        responses = [
            Response(
                self.questions.encoder.decode(ids),
                tuple(ids),
                "stop" if ids[-1] in self.eos_token_ids else "length",
            )
            for ids in completions
        ]
        sample = Sample(
            drawn.place,
            Group(prompt, [list(ids) for ids in completions]),
            truncated=[r.finish == "length" for r in responses],
        )
        sample = reward(drawn, sample, responses, self.stage)
        figures.rows.append((sample.place, sample.figures))
        figures.tokens += sample.tokens
        return list(sample.rewards)
