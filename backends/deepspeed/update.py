"""One update: samples in, an optimizer step out, exact over micro-batches and ranks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from backends.base import Stage
from backends.deepspeed.learner import Learner
from backends.deepspeed.objectives import divergence, surrogate, token_weights
from backends.deepspeed.packing import Group, PackedBatch, micro_batches, pack
from backends.deepspeed.process import Ranks
from backends.deepspeed.samples import Sample
from backends.encoding import Prompt

LogProb = Callable[[PackedBatch, float], Tensor]


@dataclass
class Totals:
    """What the updates of a step add up to, over tokens, on this rank."""

    tokens: int = 0
    loss: float = 0.0
    kl: float = 0.0
    clipped: float = 0.0
    gap: float = 0.0
    norms: list[float] = field(default_factory=list)
    skipped: int = 0


class Updater:
    """Computes log-probabilities and applies the stage's objective."""

    def __init__(
        self, stage: Stage, learner: Learner, ranks: Ranks, tokens_budget: int, pad_id: int
    ) -> None:
        self.stage, self.learner, self.ranks = stage, learner, ranks
        self.tokens_budget, self.pad_id = tokens_budget, pad_id
        # SFT is maximum likelihood of the data as it is; a policy is trained at the temperature
        # that it is sampled at.
        self.temperature = 1.0 if stage.objective == "sft" else stage.temperature

    def log_probabilities(self, samples: Sequence[Sample], logp: LogProb) -> list[Tensor]:
        """log p [tokens of the group] of every sample, without a graph."""
        found: list[Tensor] = [torch.empty(0)] * len(samples)
        with torch.no_grad():
            for indices, batch in self._batches(samples):
                sizes = [samples[i].tokens for i in indices]
                values = logp(batch, self.temperature)
                if indices:
                    for i, part in zip(indices, values.split(sizes), strict=True):
                        found[i] = part
        return found

    def update(self, samples: Sequence[Sample], lr: float, totals: Totals) -> bool:
        """Apply one optimizer step on this rank's samples of an update; False where it was refused.

        Where no rank has a sample there is nothing to do, and weights and moments stay as they are.
        """
        stage = self.stage
        tokens, responses = map(
            int,
            self.ranks.sum(
                sum(s.tokens for s in samples), sum(len(s.group.responses) for s in samples)
            ),
        )
        if responses == 0:
            return True
        # Without KL, a group whose advantages are all 0 has a gradient of 0: it counts above, and
        # need not be computed.
        if stage.objective == "grpo" and stage.kl.beta == 0:
            samples = [s for s in samples if any(s.advantages)]
        for indices, batch in self._batches(samples):
            chosen = [samples[i] for i in indices]
            logp = self.learner.logp(batch, self.temperature)
            if not chosen:
                self.learner.accumulate(logp.sum() * 0.0)
                continue
            weights = token_weights(batch.lengths, stage.aggregation, tokens, responses)
            loss = (self._token_losses(logp, batch, chosen, totals) * weights).sum()
            self.learner.accumulate(loss)
            totals.loss += float(loss.detach())
        applied, norm = self.learner.step(lr)
        totals.norms.append(norm)
        totals.skipped += not applied
        return applied

    def _token_losses(
        self, logp: Tensor, batch: PackedBatch, samples: Sequence[Sample], totals: Totals
    ) -> Tensor:
        stage = self.stage
        totals.tokens += logp.numel()
        if stage.objective == "sft":
            return -logp
        advantages = torch.tensor(
            [a for s in samples for a in s.advantages], device=logp.device
        ).repeat_interleave(batch.lengths)
        old = None
        if stage.updates_per_rollout > 1:
            old = _joined([s.old for s in samples])
        losses, silenced = surrogate(logp, old, advantages, stage.clip_low, stage.clip_high)
        totals.clipped += float(silenced.sum())
        engine = [x for s in samples for response in s.engine_logp for x in response]
        before = logp.detach() if old is None else old
        totals.gap += float((before - torch.tensor(engine, device=logp.device)).abs().sum())
        if (reference := _joined([s.reference for s in samples])) is not None:
            kl = divergence(logp, reference, stage.kl.form)
            totals.kl += float(kl.detach().sum())
            if stage.kl.place == "loss":
                losses = losses + stage.kl.beta * kl
        return losses

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


def _joined(parts: Sequence[Tensor | None]) -> Tensor | None:
    present = [part for part in parts if part is not None]
    return torch.cat(present) if present else None
