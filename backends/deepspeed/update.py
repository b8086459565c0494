"""One update: samples in, an optimizer step out, exact over micro-batches and ranks."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from backends.base.stage import Stage
from backends.deepspeed.learner import Learner
from backends.deepspeed.objectives.dpo import preference_loss
from backends.deepspeed.objectives.losses import divergence, surrogate, token_weights, value_error
from backends.deepspeed.policy.packing import PackedBatch, micro_batches, pack
from backends.models.prompt import Prompt
from backends.training.groups import Group
from backends.training.ranks import Ranks
from backends.training.samples import Sample

#: Numbers [N] for the response tokens of a batch, at a temperature.
PerToken = Callable[[PackedBatch, float], Tensor]


@dataclass
class Totals:
    """What the updates of a step add up to, over tokens, on this rank. ``own`` counts the tokens
    that the policy sampled itself, over which ``kl`` is; ``idle`` updates found all groups in
    agreement."""

    tokens: int = 0
    loss: float = 0.0
    kl: float = 0.0
    own: int = 0
    clipped: float = 0.0
    gap: float = 0.0
    factor: float = 0.0
    compared: int = 0
    value_loss: float = 0.0
    norms: list[float] = field(default_factory=list)
    skipped: int = 0
    idle: int = 0


class Updater:
    """Computes log-probabilities and values, and applies the stage's objective to the policy and,
    where there is one, the critic."""

    def __init__(
        self,
        stage: Stage,
        learner: Learner,
        ranks: Ranks,
        tokens_budget: int,
        pad_id: int,
        critic: Learner | None = None,
    ) -> None:
        self.stage, self.learner, self.critic, self.ranks = stage, learner, critic, ranks
        self.tokens_budget, self.pad_id = tokens_budget, pad_id
        # SFT and DPO take the data as it is; a policy is trained at the temperature that it is
        # sampled at.
        self.temperature = stage.temperature if stage.objective == "grpo" else 1.0

    def per_token(self, samples: Sequence[Sample], function: PerToken) -> list[Tensor]:
        """``function`` [tokens of the group] of every sample, without a graph: log-probabilities
        of a policy or values of a critic."""
        found: list[Tensor] = [torch.empty(0)] * len(samples)
        with torch.no_grad():
            for indices, batch in self._batches(samples):
                sizes = [samples[i].tokens for i in indices]
                values = function(batch, self.temperature)
                if indices:
                    for i, part in zip(indices, values.split(sizes), strict=True):
                        found[i] = part
        return found

    def update(self, samples: Sequence[Sample], lr: float, totals: Totals) -> bool | None:
        """Apply one optimizer step on this rank's samples of an update: whether it was applied,
        None where there was nothing to do.

        That is where no rank has a sample, or none that teaches anything: weights and moments stay
        as they are, which a gradient of 0 would not leave them.
        """
        stage = self.stage
        counts = self._count(samples)
        if not any(counts):
            return None
        # Without KL or a critic, a group whose advantages are all 0 has a gradient of 0: it counts
        # above, and need not be computed.
        if stage.objective == "grpo" and stage.kl.beta == 0 and self.critic is None:
            samples = [s for s in samples if s.advantages.any()]
            if self.ranks.most(len(samples)) == 0:
                totals.norms.append(0.0)
                totals.idle += 1
                return None
        sums = 0.0
        for indices, batch in self._batches(samples):
            chosen = [samples[i] for i in indices]
            logp = self.learner.per_token(batch, self.temperature)
            loss = logp.sum() * 0.0
            if chosen and stage.objective == "dpo":
                pairs = counts[1] // 2
                loss = preference_loss(logp, chosen, batch.lengths, stage.dpo_beta) / pairs
            elif chosen:
                weights = self._weights(batch, chosen, counts)
                loss = (self._token_losses(logp, batch, chosen, totals) * weights).sum()
            if chosen:
                sums += float(loss.detach())
            self.learner.accumulate(loss)
            if self.critic is not None:
                self._learn_values(self.critic, batch, chosen, counts[0], totals)
        totals.loss += sums
        if self.critic is not None and stage.critic is not None:
            # Both are stepped or neither is: a policy must not learn from what broke its critic.
            if self.ranks.most(int(not math.isfinite(sums))):
                self._spoil(self.critic)
            if not self.critic.step(stage.critic.lr * lr / stage.lr)[0]:
                self._spoil(self.learner)
        applied, norm = self.learner.step(lr)
        totals.norms.append(norm)
        totals.skipped += not applied
        return applied

    def _count(self, samples: Sequence[Sample]) -> list[int]:
        """Tokens and responses of the update that the objective is a mean over, and those that are
        taught, over all ranks."""
        parts = [[s for s in samples if s.taught is taught] for taught in (False, True)]
        numbers = [
            count
            for part in parts
            for count in (sum(s.tokens for s in part), sum(len(s.lengths) for s in part))
        ]
        return [int(number) for number in self.ranks.sum(*numbers)]

    def _weights(
        self, batch: PackedBatch, samples: Sequence[Sample], counts: Sequence[int]
    ) -> Tensor:
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
            for tokens, responses in (counts[:2], counts[2:])
        )
        if counts[3] == 0:
            return own
        marks = _of_tokens([[s.taught] * len(s.lengths) for s in samples], samples, own)
        return torch.where(marks, taught, own)

    def _spoil(self, learner: Learner) -> None:
        """Have the learner refuse its step, on every rank."""
        batch = pack([self._dummy()], self.ranks.device)
        learner.accumulate(learner.per_token(batch, self.temperature).sum() * math.nan)

    def _token_losses(
        self, logp: Tensor, batch: PackedBatch, samples: Sequence[Sample], totals: Totals
    ) -> Tensor:
        stage = self.stage
        totals.tokens += logp.numel()
        if stage.objective == "sft":
            return -logp
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
        totals.clipped += float(silenced.sum())
        engine = torch.tensor([x for s in samples for response in s.engine_logp for x in response])
        gap = ((logp.detach() if old is None else old) - engine.to(logp.device)).abs()
        gap = gap[~gap.isnan()]
        totals.gap += float(gap.sum())
        totals.factor += float(gap.exp().sum())
        totals.compared += gap.numel()
        if (reference := _joined([s.reference for s in samples])) is not None:
            kl = divergence(logp, reference, stage.kl.form, stage.kl.clip)
            if stage.external is not None:
                # Estimates of the divergence hold for tokens that the policy sampled, for no other.
                others = _of_tokens([s.external for s in samples], samples, kl)
                kl = torch.where(others, torch.zeros_like(kl), kl)
                totals.own -= int(others.sum())
            totals.own += kl.numel()
            totals.kl += float(kl.detach().sum())
            if stage.kl.place == "loss":
                losses = losses + stage.kl.beta * kl
        return losses

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
            old = _joined([s.old for s in samples])
        if self.stage.external is None:
            return old, None
        taught = _of_tokens([[s.taught] * len(s.lengths) for s in samples], samples, logp)
        old = torch.where(taught, logp.detach(), logp.detach() if old is None else old)
        if self.stage.external.off_policy != "unit_behaviour":
            return old, None
        external = _of_tokens([s.external for s in samples], samples, logp)
        return torch.where(external, torch.zeros_like(old), old), external

    def _learn_values(
        self,
        critic: Learner,
        batch: PackedBatch,
        samples: Sequence[Sample],
        tokens: int,
        totals: Totals,
    ) -> None:
        """Add the gradient of the critic's error, its mean over the tokens of the update."""
        values = critic.per_token(batch, self.temperature)
        loss = values.sum() * 0.0
        old, returns = _joined([s.values for s in samples]), _joined([s.returns for s in samples])
        if self.stage.critic is not None and old is not None and returns is not None:
            errors = value_error(
                values, old, returns.to(values.device), self.stage.critic.clip
            ) * torch.tensor([x for s in samples for x in s.scored]).to(
                values.device
            ).repeat_interleave(batch.lengths)
            loss = self.stage.critic.weight * errors.sum() / tokens
            totals.value_loss += float(loss.detach())
        critic.accumulate(loss)

    def _batches(self, samples: Sequence[Sample]) -> Iterator[tuple[list[int], PackedBatch]]:
        """Micro-batches as (indices of samples, batch), equally many on every rank.

        Under ZeRO-3 every forward is a collective, so a rank that has fewer goes along with a dummy
        of one token, marked by having no indices.
        """
        groups = [s.group for s in samples]
        mine = micro_batches(groups, self.tokens_budget)
        for number in range(self.ranks.most(max(len(mine), 1))):
            indices = mine[number] if number < len(mine) else []
            chosen = [groups[i] for i in indices] or [self._dummy()]
            yield indices, pack(chosen, self.ranks.device)

    def _dummy(self) -> Group:
        one = torch.tensor([self.pad_id])
        return Group(Prompt(one, torch.zeros(3, 1, dtype=torch.long), 1), [[self.pad_id]])


def _of_tokens(marks: Sequence[Sequence[bool]], samples: Sequence[Sample], like: Tensor) -> Tensor:
    """Marks of responses [G] of each sample, at each of their tokens [N]."""
    lengths = torch.tensor([n for s in samples for n in s.lengths])
    every = torch.tensor([mark for of_sample in marks for mark in of_sample], dtype=torch.bool)
    return every.repeat_interleave(lengths).to(like.device)


def _joined(parts: Sequence[Tensor | None]) -> Tensor | None:
    present = [part for part in parts if part is not None]
    return torch.cat(present) if present else None
