"""What an update learns from: groups of responses with their rewards, and where they come from."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import compress
from typing import Any

import torch
from torch import Tensor

from backends.base.engine import Request, Response
from backends.base.reward import Rollout
from backends.base.stage import Stage
from backends.rewards import score
from backends.rewards.correctness import correct, labelled
from backends.rewards.majority import vote
from backends.training.groups import Group
from benchmarks.answers.asked import asked_of
from benchmarks.answers.rules import right
from benchmarks.base import Item
from benchmarks.prompts import Template, template


@dataclass(frozen=True, eq=False)
class Sample:
    """One group in an update. Each phase of a step hands on a copy with its own part filled in.

    From the rollout, or from a question's targets: ``place``, its position in the step, the same
    for any number of ranks; ``rewards`` [G], None where a response could not be scored;
    ``truncated`` [G], which ended by length; ``engine_logp`` [G], the engine's log-probabilities
    of the tokens (NaN where it did not sample them); ``external`` [G], which another model wrote
    (empty: none); ``taught``, whether the responses are learnt as they are, by maximum likelihood;
    ``figures``, what the step logs of the group.

    From models, before the update, over the tokens of the group and where they are needed: ``old``
    and ``reference``, the log-probabilities of the policy and of the reference, and ``values`` of
    the critic.

    From the estimate of advantages, over the tokens: ``advantages`` (empty where the objective has
    none) and ``returns``, which the critic is to learn.
    """

    place: int
    group: Group
    rewards: Sequence[float | None] = ()
    truncated: Sequence[bool] = ()
    engine_logp: Sequence[Sequence[float]] = ()
    external: Sequence[bool] = ()
    taught: bool = False
    figures: Mapping[str, float] = field(default_factory=dict)

    old: Tensor | None = None
    reference: Tensor | None = None
    values: Tensor | None = None

    advantages: Tensor = field(default_factory=lambda: torch.zeros(0))
    returns: Tensor | None = None

    @property
    def lengths(self) -> list[int]:
        """Tokens of each response [G]."""
        return [len(r) for r in self.group.responses]

    @property
    def tokens(self) -> int:
        return sum(self.lengths)

    @property
    def scored(self) -> list[bool]:
        """Which responses have a reward [G]."""
        return [r is not None for r in self.rewards]

    @property
    def usable(self) -> bool:
        """Whether any response has a reward; a group without one takes no part in the update."""
        return any(self.scored)

    @property
    def contrast(self) -> bool:
        """Whether the group's responses differ in reward: one that agrees teaches nothing."""
        return len({r for r in self.rewards if r is not None}) > 1

    def at_tokens(self, marks: Sequence[bool]) -> Tensor:
        """Marks of the responses [G], at each of their tokens."""
        lengths = torch.tensor(self.lengths)
        return torch.tensor(marks, dtype=torch.bool).repeat_interleave(lengths)

    def logging(self, **figures: float) -> Sample:
        """The same group with these figures beside its own."""
        return replace(self, figures={**self.figures, **figures})

    def keep(self, chosen: Sequence[bool]) -> Sample:
        """The same group with only the chosen [G] of its responses."""

        def some(values: Sequence[Any]) -> list[Any]:
            return list(compress(values, chosen))

        def of_tokens(values: Tensor | None) -> Tensor | None:
            return None if values is None else values[tokens.to(values.device)]

        tokens = self.at_tokens(chosen)
        return replace(
            self,
            group=Group(self.group.prompt, some(self.group.responses)),
            rewards=some(self.rewards),
            truncated=some(self.truncated),
            engine_logp=some(self.engine_logp),
            external=some(self.external),
            old=of_tokens(self.old),
            reference=of_tokens(self.reference),
            values=of_tokens(self.values),
            advantages=self.advantages[tokens] if len(self.advantages) else self.advantages,
            returns=of_tokens(self.returns),
        )


@dataclass(frozen=True)
class Drawn:
    """A question drawn for a step: its place there, and the id that seeds its samples."""

    place: int
    id: str
    item: Item


class QuestionOrder:
    """Which questions a step asks: passes over the pool, each in an order of its own.

    A function of (seed, step) alone, so that a resumed training needs no state of a generator.
    """

    def __init__(self, items: Sequence[Item], per_step: int, seed: int) -> None:
        self.items, self.per_step, self.seed = items, per_step, seed
        self._orders: dict[int, list[int]] = {}

    def at(self, step: int) -> list[Drawn]:
        """The questions of a step, counted from 0."""
        drawn = []
        for place in range(self.per_step):
            epoch, position = divmod(step * self.per_step + place, len(self.items))
            item = self.items[self._order(epoch)[position]]
            drawn.append(Drawn(place, f"{item.id}#{epoch}", item))
        return drawn

    def _order(self, epoch: int) -> list[int]:
        if epoch not in self._orders:
            order = list(range(len(self.items)))
            random.Random(f"{self.seed}/{epoch}").shuffle(order)
            self._orders = {e: o for e, o in self._orders.items() if e == epoch - 1} | {
                epoch: order
            }
        return self._orders[epoch]


def request(drawn: Drawn, choice: str | Template) -> Request:
    """The prompt of a question in the method's template."""
    form = template(choice)
    return Request(drawn.id, form.render(drawn.item.question), drawn.item.images, form.system)


def reward(question: Drawn, sample: Sample, responses: Sequence[Response], stage: Stage) -> Sample:
    """The sample with its rewards and the group's figures.

    All responses are rewarded as one group, as a vote wants them; the figures are of the policy's
    own, so that what others wrote does not flatter it. Only what a reward function itself counts
    (``ties``, ...) is of the whole group.

    Agreement with the label is measured here for every method and logged apart: ``label_accuracy``
    is that of the vote (TTRL, arXiv 2504.16084), ``accuracy`` that of the responses. Neither
    reaches the reward, which :func:`backends.rewards.score` shows the label only where it declares
    the need.
    """
    texts = tuple(r.text for r in responses)
    item = question.item
    rollout = Rollout(
        item.id,
        item.question,
        texts,
        tuple(sample.lengths),
        tuple("length" if cut else "stop" for cut in sample.truncated),
        stage.max_response_tokens,
        item.answer,
        item.meta,
        asked_of(item.question, item.meta),
    )
    result = score(rollout, stage.rewards)
    sample = replace(sample, rewards=result.rewards)
    own = sample.keep([not e for e in sample.external]) if any(sample.external) else sample
    said = tuple(compress(texts, [not e for e in sample.external] or [True] * len(texts)))
    scored = [r for r in own.rewards if r is not None]
    poll = vote(said, rollout.asked)
    figures = {
        **result.stats,
        "majority_ratio": poll.ratio,
        "semantic_entropy": poll.entropy,
        "unparsed": poll.unparsed,
        "truncated": sum(own.truncated) / len(said),
        "response_length": own.tokens / len(said),
        "unscored": float(len(said) - len(scored)),
        **agreement(sample),
    }
    if scored:
        figures["reward"] = sum(scored) / len(scored)
    if asked := labelled(item.question, item.meta, item.answer):
        agreed = correct(said, asked)
        figures["accuracy"] = sum(agreed) / len(agreed)
        figures["label_accuracy"] = float(poll.winner is not None and right(poll.winner, asked))
    return replace(sample, figures=figures)


def agreement(sample: Sample) -> dict[str, float]:
    """Whether the responses that are trained on teach nothing, and whether any has a reward."""
    return {
        "zero_variance_groups": float(not sample.contrast),
        "unusable_groups": float(not sample.usable),
    }


def mixed(seed: int, *parts: object) -> int:
    """A seed of its own for these parts."""
    digest = hashlib.sha256("/".join(map(str, (seed, *parts))).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1
