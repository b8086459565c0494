"""What a token of another model weighs in an update: its gradient by hand."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from backends.base.stage import Stage
from backends.deepspeed.objectives.grpo import GRPO
from backends.deepspeed.objectives.loss import Counts, TokenSums
from backends.models.prompt import Prompt
from backends.training.groups import Group
from backends.training.ranks import Ranks
from backends.training.samples import Sample

from ..conftest import SMALL

PROMPT = Prompt(torch.zeros(1, dtype=torch.long), torch.zeros(3, 1, dtype=torch.long), 1)


def sample(lengths: list[int], **fields: Any) -> Sample:
    given: dict[str, Any] = {
        "rewards": [1.0] * len(lengths),
        "engine_logp": [[math.nan] * n for n in lengths],
        "external": [False] * len(lengths),
    }
    return Sample(0, Group(PROMPT, [[1] * n for n in lengths]), **given | fields)


def loss(**stage: Any) -> GRPO:
    return GRPO(Stage.model_validate(SMALL | stage))


def batch(samples: list[Sample]) -> Any:
    return SimpleNamespace(lengths=torch.tensor([n for s in samples for n in s.lengths]))


def gradients(made: GRPO, samples: list[Sample], logp: list[float]) -> tuple[Tensor, TokenSums]:
    given = torch.tensor(logp, requires_grad=True)
    losses, sums = made.token_losses(given, batch(samples), samples)
    losses.sum().backward()
    assert given.grad is not None
    return given.grad, sums


@pytest.mark.parametrize(("advantage", "probability"), [(-1.0, 0.1), (-1.0, 0.7), (1.0, 0.99)])
def test_no_clip_applies_to_a_response_that_counts_as_certain(
    advantage: float, probability: float
) -> None:
    """d(-p A) / d log p = -p A, however far p is from the 1 that it is compared to; the policy's
    own token beside it, unchanged since it was sampled, has -A."""
    made = loss(external={"models": ["m"], "off_policy": "unit_behaviour"})
    group = sample([1, 1], external=[True, False], advantages=torch.tensor([advantage, 2.0]))
    found, sums = gradients(made, [group], [math.log(probability), -3.0])
    assert found.tolist() == pytest.approx([-probability * advantage, -2.0])
    assert sums.clipped == 0


def test_what_is_taught_is_maximum_likelihood_in_every_update() -> None:
    """In the second update of a rollout the ratio of the policy's own responses is clipped, and
    what is taught pulls as it did in the first."""
    made = loss(external={"models": ["m"], "off_policy": "sft"}, updates_per_rollout=2)
    own = sample([1, 1], advantages=torch.tensor([1.0, 1.0]), old=torch.tensor([-3.0, -1.0]))
    taught = sample(
        [2],
        external=[True],
        taught=True,
        advantages=torch.full((2,), 0.5),
        old=torch.tensor([-3.0, -9.0]),
    )
    found, _ = gradients(made, [own, taught], [-1.0, -1.1, -1.0, -1.0])
    assert found.tolist() == pytest.approx([0.0, -math.exp(-0.1), -0.5, -0.5])


def test_what_is_taught_does_not_dilute_what_is_sampled() -> None:
    own, taught = sample([3, 1]), sample([4, 2, 2], taught=True)
    for aggregation in ("token_mean", "sequence_mean"):
        made = loss(aggregation=aggregation)
        weights = made.weights(batch([own, taught]), [own, taught], Counts(4, 2, 8, 3))
        alone = made.weights(batch([own]), [own], Counts(4, 2))
        assert torch.equal(weights[:4], alone)
        assert float(weights[4:].sum()) == pytest.approx(1)


@pytest.mark.parametrize("place", ["loss", "reward"])
def test_the_kl_is_of_what_the_policy_sampled(place: str) -> None:
    form = "k3" if place == "loss" else "k1"
    kl = {"beta": 2.0, "form": form, "place": place}
    made = loss(external={"models": ["m"]}, kl=kl, advantage="group_mean")
    given = {"old": torch.tensor([-1.0, -1.0]), "reference": torch.tensor([-1.5, -5.0])}
    group = sample([1, 1], external=[False, True], **given)
    (group,) = made.advantages([group], Ranks(0, 1, torch.device("cpu")))
    # The penalty of 2 * 0.5 of the one response lies by half under and over the mean of both.
    charged = [0.0, 0.0] if place == "loss" else [-0.5, 0.5]
    assert group.advantages.tolist() == pytest.approx(charged)
    found, sums = gradients(made, [group], [-1.0, -1.0])
    d = -0.5
    pull = 2.0 * (1 - math.exp(d)) if place == "loss" else 0.0
    assert found.tolist() == pytest.approx([pull - charged[0], -charged[1]])
    assert sums.kl_tokens == 1
    assert sums.kl == pytest.approx(math.exp(d) - d - 1 if place == "loss" else -d)
