"""GRPO and its kin: the clipped surrogate over sampled groups, and a KL penalty where there is one.

A wrong KL shows here first: ``docs/trainer_checklist.md`` lists what can go wrong silently (its
sign, its estimator, which tokens bear it) with the test that would say so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from backends.deepspeed.objectives.advantages import estimate
from backends.deepspeed.objectives.loss import Counts, Loss, MicroBatchLoss, TokenSums
from backends.deepspeed.objectives.losses import kl_divergence, surrogate, token_weights
from backends.deepspeed.policy.packing import PackedBatch
from backends.training.ranks import Ranks
from backends.training.samples import Sample


class GRPO(Loss):
    """The policy's own groups by their advantages; what other models wrote by
    ``external.off_policy``."""

    def advantages(self, samples: Sequence[Sample], ranks: Ranks) -> list[Sample]:
        """Advantages by ``stage.advantage``; responses that are taught have ``sft_weight``. With
        ``mask_truncated``, without the responses that ended by length."""
        estimated = iter(estimate([s for s in samples if not s.taught], self.stage, ranks))
        samples = [self._taught(s) if s.taught else next(estimated) for s in samples]
        return _untruncated(samples) if self.stage.mask_truncated else samples

    def _taught(self, sample: Sample) -> Sample:
        assert self.stage.external is not None
        weight = self.stage.external.sft_weight
        return replace(sample, advantages=torch.full((sample.tokens,), weight))

    def teaching(self, samples: Sequence[Sample]) -> list[Sample]:
        """Without KL or a critic, a group whose advantages are all 0 has a gradient of 0."""
        if self.stage.kl.beta > 0 or self.stage.critic is not None:
            return list(samples)
        return [s for s in samples if s.advantages.any()]

    def of(
        self, logp: Tensor, batch: PackedBatch, samples: Sequence[Sample], counts: Counts
    ) -> MicroBatchLoss:
        losses, sums = self.token_losses(logp, batch, samples)
        return MicroBatchLoss((losses * self.weights(batch, samples, counts)).sum(), sums)

    def weights(self, batch: PackedBatch, samples: Sequence[Sample], counts: Counts) -> Tensor:
        """Weight [N] of every token. What is taught is a mean of its own, so that the policy's own
        responses weigh what they would without it."""
        own, taught = (
            token_weights(
                batch.lengths,
                self.stage.aggregation,
                max(tokens, 1),
                max(responses, 1),
                self.stage.max_response_tokens,
            )
            for tokens, responses in (
                (counts.tokens, counts.responses),
                (counts.taught_tokens, counts.taught_responses),
            )
        )
        if counts.taught_responses == 0:
            return own
        return torch.where(_taught_tokens(samples, own), taught, own)

    def token_losses(
        self, logp: Tensor, batch: PackedBatch, samples: Sequence[Sample]
    ) -> tuple[Tensor, TokenSums]:
        """The loss [N] of every token before its weight, and the sums that the step logs."""
        stage = self.stage
        old, free = self._behaviour(logp, samples)
        losses, silenced = surrogate(
            logp,
            old,
            torch.cat([s.advantages for s in samples]).to(logp.device),
            stage.clip_low,
            stage.clip_high,
            stage.dual_clip,
            batch.lengths if stage.ratio == "sequence" else None,
            free,
        )
        sums = _engine_sums(logp.detach() if old is None else old, samples)
        sums.tokens, sums.clipped = logp.numel(), float(silenced.sum())
        reference = joined([s.reference for s in samples])
        if reference is None:
            return losses, sums
        kl = kl_divergence(logp, reference, stage.kl.form, stage.kl.clip)
        if stage.external is not None:
            # Estimates of KL hold for tokens that the policy sampled, for no other.
            others = _external_tokens(samples, kl)
            kl = torch.where(others, torch.zeros_like(kl), kl)
            sums.kl_tokens -= int(others.sum())
        sums.kl_tokens += kl.numel()
        sums.kl = float(kl.detach().sum())
        if stage.kl.place == "loss":
            losses = losses + stage.kl.beta * kl
        return losses, sums

    def _behaviour(
        self, logp: Tensor, samples: Sequence[Sample]
    ) -> tuple[Tensor | None, Tensor | None]:
        """The log-probabilities [N] that ratios are taken to (None: the policy's own, as it is),
        and the tokens [N] that no clip applies to.

        What is taught is always compared to the policy as it is, which makes its gradient that of
        maximum likelihood; with ``unit_behaviour`` an external response counts as certain.
        """
        old = None
        if self.stage.updates_per_rollout > 1:
            old = joined([s.old for s in samples])
        if self.stage.external is None:
            return old, None
        taught = _taught_tokens(samples, logp)
        old = torch.where(taught, logp.detach(), logp.detach() if old is None else old)
        if self.stage.external.off_policy != "unit_behaviour":
            return old, None
        external = _external_tokens(samples, logp)
        return torch.where(external, torch.zeros_like(old), old), external


def joined(parts: Sequence[Tensor | None]) -> Tensor | None:
    """The numbers of all samples, flat over their tokens; None where they have none."""
    present = [part for part in parts if part is not None]
    return torch.cat(present) if present else None


def _engine_sums(old: Tensor, samples: Sequence[Sample]) -> TokenSums:
    """How far the engine's log-probabilities are from the trainer's ``old`` [N], over the tokens
    that the engine sampled."""
    engine = torch.tensor([x for s in samples for response in s.engine_logp for x in response])
    gap = (old - engine.to(old.device)).abs()
    gap = gap[~gap.isnan()]
    return TokenSums(
        engine_gap=float(gap.sum()), engine_factor=float(gap.exp().sum()), compared=gap.numel()
    )


def _untruncated(samples: Sequence[Sample]) -> list[Sample]:
    """The samples without the responses that ended by length: those are in neither numerator nor
    denominator of the loss (DAPO, arXiv 2503.14476 section 3.4), but were in their group's
    baseline, as in TRL."""
    kept = [sample.keep([not cut for cut in sample.truncated]) for sample in samples]
    return [sample for sample in kept if sample.group.responses]


def _taught_tokens(samples: Sequence[Sample], like: Tensor) -> Tensor:
    """Which tokens [N] are of responses that are taught."""
    marks = [s.at_tokens([s.taught] * len(s.lengths)) for s in samples]
    return torch.cat(marks).to(like.device)


def _external_tokens(samples: Sequence[Sample], like: Tensor) -> Tensor:
    """Which tokens [N] another model wrote."""
    return torch.cat([s.at_tokens(s.external) for s in samples]).to(like.device)
