"""What an objective computes in an update: the contract between the update and its losses.

Every loss is a *sum* whose weights come from counts over the whole update, so that micro-batches
and ranks add up to exactly the loss of one big batch.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, field
from typing import NamedTuple

from torch import Tensor

from backends.base.stage import Stage
from backends.deepspeed.policy.packing import PackedBatch
from backends.training.ranks import Ranks
from backends.training.samples import Sample


class Counts(NamedTuple):
    """What an update is a mean over, over all ranks: tokens and responses of the policy's own
    groups, and those of groups that are taught."""

    tokens: int
    responses: int
    taught_tokens: int = 0
    taught_responses: int = 0


@dataclass
class TokenSums:
    """Sums over the tokens of updates, for a step's figures.

    ``tokens`` were trained on by a clipped loss and ``clipped`` of them silenced; ``kl`` is over
    the ``kl_tokens`` that the policy sampled itself; of the ``compared`` tokens, which the engine
    has a log-probability of, ``engine_gap`` adds its distance to the trainer's and
    ``engine_factor`` the exponential of that.
    """

    tokens: float = 0.0
    clipped: float = 0.0
    kl: float = 0.0
    kl_tokens: float = 0.0
    engine_gap: float = 0.0
    engine_factor: float = 0.0
    compared: float = 0.0

    def add(self, other: TokenSums) -> None:
        """Add the sums of another micro-batch to these."""
        for name, value in vars(other).items():
            setattr(self, name, getattr(self, name) + value)

    def over(self, ranks: Ranks) -> TokenSums:
        """The sums over all ranks."""
        return TokenSums(*ranks.sum(*astuple(self)))


@dataclass(frozen=True, eq=False)
class MicroBatchLoss:
    """``loss``, a scalar with its graph; the sums of its tokens; and figures of each sample, where
    the loss has any."""

    loss: Tensor
    sums: TokenSums = field(default_factory=TokenSums)
    figures: Sequence[Mapping[str, float]] = ()


class Loss(ABC):
    """The loss of one objective. The samples of a step go through :meth:`advantages` once and
    those of each update through :meth:`teaching`; then :meth:`of` is called for each micro-batch.
    """

    def __init__(self, stage: Stage) -> None:
        self.stage = stage

    def advantages(self, samples: Sequence[Sample], ranks: Ranks) -> list[Sample]:
        """The step's samples with the advantages of their tokens, without those that no update is
        to see. Every rank calls it. Responses that are learnt as they are have no advantages."""
        return list(samples)

    def teaching(self, samples: Sequence[Sample]) -> list[Sample]:
        """The samples of an update whose gradient is not known to be 0: the others count, and need
        not be computed."""
        return list(samples)

    @abstractmethod
    def of(
        self, logp: Tensor, batch: PackedBatch, samples: Sequence[Sample], counts: Counts
    ) -> MicroBatchLoss:
        """This micro-batch's part of the loss of an update. ``logp`` [N] are the policy's
        log-probabilities of the response tokens of ``batch``, which packs the ``samples`` in their
        order."""
