"""One update: samples in, an optimizer step out, exact over micro-batches and ranks."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum

import torch
from torch import Tensor

from backends.base.stage import Stage
from backends.deepspeed.learner import Learner
from backends.deepspeed.objectives.choice import loss
from backends.deepspeed.objectives.grpo import joined
from backends.deepspeed.objectives.loss import Counts, TokenSums
from backends.deepspeed.objectives.losses import value_error
from backends.deepspeed.policy.packing import PackedBatch, micro_batches, pack
from backends.models.prompt import Prompt
from backends.training.groups import Group
from backends.training.objectives import objective
from backends.training.ranks import Ranks
from backends.training.samples import Sample

#: Numbers [N] for the response tokens of a batch, at a temperature.
PerToken = Callable[[PackedBatch, float], Tensor]


class Outcome(Enum):
    """What became of an update."""

    APPLIED = "the weights changed"
    REFUSED = "its gradient was not finite: weights and moments stay as they are"
    EMPTY = "no rank had a sample: nothing was tried"
    IDLE = "no sample taught anything: nothing was tried"


@dataclass
class Totals:
    """What the updates of a step add up to on this rank: ``sums`` over tokens, the losses of the
    policy and the critic, the gradient's ``norms``, ``skipped`` (refused) and ``idle`` updates, and
    ``rows``, the figures of samples that the loss has, with their places."""

    sums: TokenSums = field(default_factory=TokenSums)
    loss: float = 0.0
    value_loss: float = 0.0
    norms: list[float] = field(default_factory=list)
    skipped: int = 0
    idle: int = 0
    rows: list[tuple[int, Mapping[str, float]]] = field(default_factory=list)


class Updater:
    """Computes log-probabilities and values, and applies the loss of the stage's objective to the
    policy and, where there is one, the critic."""

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
        self.loss = loss(stage)
        self.temperature = objective(stage).temperature

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

    def update(self, samples: Sequence[Sample], lr: float, totals: Totals) -> Outcome:
        """Apply one optimizer step on this rank's samples of an update.

        Where no rank has a sample, or none that teaches anything, weights and moments stay as they
        are, which a gradient of 0 would not leave them.
        """
        counts = self._count(samples)
        if not any(counts):
            return Outcome.EMPTY
        samples = self.loss.teaching(samples)
        if self.ranks.most(len(samples)) == 0:
            totals.norms.append(0.0)
            totals.idle += 1
            return Outcome.IDLE
        loss = 0.0
        for indices, batch in self._batches(samples):
            chosen = [samples[i] for i in indices]
            logp = self.learner.per_token(batch, self.temperature)
            if chosen:
                found = self.loss.of(logp, batch, chosen, counts)
                self.learner.accumulate(found.loss)
                loss += float(found.loss.detach())
                totals.sums.add(found.sums)
                totals.rows += zip([s.place for s in chosen], found.figures, strict=False)
            else:
                self.learner.accumulate(_no_loss(logp))
            if self.critic is not None:
                self._learn_values(self.critic, batch, chosen, counts.tokens, totals)
        totals.loss += loss
        if self.critic is not None and self.stage.critic is not None:
            # Both are stepped or neither is: a policy must not learn from what broke its critic.
            if self.ranks.most(int(not math.isfinite(loss))):
                self._spoil(self.critic)
            if not self.critic.step(self.stage.critic.lr * lr / self.stage.lr)[0]:
                self._spoil(self.learner)
        applied, norm = self.learner.step(lr)
        totals.norms.append(norm)
        totals.skipped += not applied
        return Outcome.APPLIED if applied else Outcome.REFUSED

    def _count(self, samples: Sequence[Sample]) -> Counts:
        """What the update is a mean over."""
        own = [s for s in samples if not s.taught]
        taught = [s for s in samples if s.taught]
        numbers = self.ranks.sum(
            *(sum(s.tokens for s in own), sum(len(s.lengths) for s in own)),
            *(sum(s.tokens for s in taught), sum(len(s.lengths) for s in taught)),
        )
        return Counts(*map(int, numbers))

    def _spoil(self, learner: Learner) -> None:
        """Have the learner refuse its step, on every rank."""
        batch = pack([self._dummy()], self.ranks.device)
        learner.accumulate(learner.per_token(batch, self.temperature).sum() * math.nan)

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
        loss = _no_loss(values)
        old, returns = joined([s.values for s in samples]), joined([s.returns for s in samples])
        if self.stage.critic is not None and old is not None and returns is not None:
            scored = torch.cat([s.at_tokens(s.scored) for s in samples]).to(values.device)
            errors = value_error(values, old, returns.to(values.device), self.stage.critic.clip)
            loss = self.stage.critic.weight * (errors * scored).sum() / tokens
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


def _no_loss(values: Tensor) -> Tensor:
    """A loss of 0 that depends on every weight: what a rank without samples adds, whose backward
    is still a part of the collectives of the others."""
    return values.sum() * 0.0
