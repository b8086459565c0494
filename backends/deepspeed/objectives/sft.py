"""Supervised fine-tuning: maximum likelihood of the targets."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from backends.deepspeed.objectives.loss import Counts, Loss, MicroBatchLoss
from backends.deepspeed.objectives.losses import token_weights
from backends.deepspeed.policy.packing import PackedBatch
from backends.training.samples import Sample


class SFT(Loss):
    """-log p of the target's tokens, aggregated as ``stage.aggregation`` says."""

    def of(
        self, logp: Tensor, batch: PackedBatch, samples: Sequence[Sample], counts: Counts
    ) -> MicroBatchLoss:
        weights = token_weights(
            batch.lengths,
            self.stage.aggregation,
            counts.tokens,
            counts.responses,
            self.stage.max_response_tokens,
        )
        return MicroBatchLoss((-logp * weights).sum())
