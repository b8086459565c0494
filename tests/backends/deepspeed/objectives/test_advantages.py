"""Advantages against numpy, and what must be exactly zero."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from backends.base.stage import Stage
from backends.deepspeed.objectives.advantages import estimate, gae, group_advantages
from backends.models.prompt import Prompt
from backends.training.groups import Group
from backends.training.ranks import Ranks
from backends.training.samples import Sample
from tests.backends.trained import SMALL

rewards = st.lists(st.floats(-10, 10, width=32), min_size=2, max_size=16)


@given(rewards)
def test_group_norm_is_the_formula(values: list[float]) -> None:
    found = group_advantages(values, "group_norm", 1e-6)
    expected = (np.array(values) - np.mean(values)) / (np.std(values, ddof=1) + 1e-6)
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-8)


@given(rewards)
def test_group_mean_is_the_formula(values: list[float]) -> None:
    found = group_advantages(values, "group_mean")
    np.testing.assert_allclose(found, np.array(values) - np.mean(values), rtol=1e-9, atol=1e-9)


@given(rewards)
def test_rloo_leaves_the_response_itself_out(values: list[float]) -> None:
    found = group_advantages(values, "rloo")
    expected = [v - np.mean(values[:i] + values[i + 1 :]) for i, v in enumerate(values)]
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("kind", ["group_norm", "group_mean", "rloo"])
@given(value=st.floats(-1e6, 1e6), size=st.integers(2, 16))
def test_a_group_that_agrees_has_exactly_no_advantage(kind: str, value: float, size: int) -> None:
    assert group_advantages([value] * size, kind, 1e-12) == [0.0] * size  # type: ignore[arg-type]


@given(rewards, st.randoms())
def test_permuting_the_group_permutes_the_advantages(values: list[float], random: object) -> None:
    order = list(range(len(values)))
    random.shuffle(order)  # type: ignore[attr-defined]
    before = group_advantages(values)
    assert group_advantages([values[i] for i in order]) == [before[i] for i in order]


@given(rewards)
def test_what_could_not_be_scored_takes_no_part(values: list[float]) -> None:
    found = group_advantages([None, *values, float("nan")])
    assert found == [0.0, *group_advantages(values), 0.0]


def test_one_scored_response_or_none_has_no_advantage() -> None:
    assert group_advantages([None, 1.0, None]) == [0.0] * 3
    assert group_advantages([None, None]) == [0.0] * 2


LENGTHS = [[3, 1, 2], [2, 4, 1]]
ALL_LENGTHS = [n for lengths in LENGTHS for n in lengths]
REWARDS: list[list[float | None]] = [[1.0, 0.0, 0.5], [0.0, None, 2.0]]
ALONE = Ranks(0, 1, torch.device("cpu"))


def numbers(seed: int, n: int) -> Tensor:
    return torch.randn(n, generator=torch.Generator().manual_seed(seed))


def groups(rewards: list[list[float | None]] = REWARDS) -> list[Sample]:
    """Two groups with log-probabilities, a reference and values at every token."""
    one = torch.zeros(1, dtype=torch.long)
    prompt = Prompt(one, torch.zeros(3, 1, dtype=torch.long), 1)
    made = []
    for place, (lengths, paid) in enumerate(zip(LENGTHS, rewards, strict=True)):
        n = sum(lengths)
        group = Group(prompt, [[1] * length for length in lengths])
        made.append(
            Sample(
                place,
                group,
                paid,
                [False, False, place == 0],
                old=numbers(place, n),
                reference=numbers(place + 10, n),
                values=numbers(place + 20, n),
            )
        )
    return made


def stage(**fields: Any) -> Stage:
    return Stage.model_validate(SMALL | {"group_size": 8} | fields)


def by_response(samples: list[Sample]) -> list[list[float]]:
    """The advantages of each response's tokens."""
    return [part.tolist() for s in samples for part in s.advantages.split(s.lengths)]


def estimated(samples: list[Sample], **fields: Any) -> list[list[float]]:
    return by_response(estimate(samples, stage(**fields), ALONE))


IN_REWARD = {"beta": 0.1, "form": "k1", "place": "reward"}


def test_batch_norm_divides_by_the_deviation_of_all_rewards() -> None:
    found = estimated(groups(), advantage="batch_norm", advantage_eps=1e-4)
    deviation = np.std([1.0, 0.0, 0.5, 0.0, 2.0], ddof=1) + 1e-4
    expected = np.array([0.5, -0.5, 0.0, -1.0, 0.0, 1.0]) / deviation
    for tokens, wanted, length in zip(found, expected, ALL_LENGTHS, strict=True):
        assert tokens == pytest.approx([wanted] * length, rel=1e-6)


@pytest.mark.parametrize("kind", ["group_norm", "group_mean", "rloo"])
def test_a_response_pays_for_its_kl_before_it_is_compared(kind: Any) -> None:
    samples = groups()
    found = estimated(samples, advantage=kind, kl=IN_REWARD)
    responses = iter(found)
    for sample in samples:
        assert sample.old is not None
        assert sample.reference is not None
        gaps = (sample.old - sample.reference).split(sample.lengths)
        charged = [
            None if r is None else r - 0.1 * float(gap.sum())
            for r, gap in zip(sample.rewards, gaps, strict=True)
        ]
        for wanted, length in zip(group_advantages(charged, kind), sample.lengths, strict=True):
            assert next(responses) == pytest.approx([wanted] * length, rel=1e-5, abs=1e-6)


def whitened(rows: list[list[float] | None]) -> list[list[float]]:
    """The formula over all tokens of the rows that are not None, which become 0."""
    tokens = np.concatenate([row for row in rows if row is not None])
    mean, deviation = tokens.mean(), tokens.std()
    return [
        [0.0] * n if row is None else [(x - mean) / deviation for x in row]
        for row, n in zip(rows, ALL_LENGTHS, strict=True)
    ]


def token_rewards(samples: list[Sample], ends: list[float | None]) -> list[list[float] | None]:
    """-0.1 (old - reference) at each token, plus the response's own at its last."""
    rows: list[list[float] | None] = []
    for sample in samples:
        assert sample.old is not None
        assert sample.reference is not None
        for gap in (sample.old - sample.reference).double().split(sample.lengths):
            end = ends[len(rows)]
            row = [-0.1 * float(x) for x in gap]
            rows.append(None if end is None else [*row[:-1], row[-1] + end])
    return rows


def test_reinforce_with_a_baseline_is_the_whitened_return_to_go() -> None:
    samples = groups()
    found = estimated(samples, advantage="reinforce_baseline", kl=IN_REWARD)
    ends = [0.5, -0.5, 0.0, -1.0, None, 1.0]  # r less its group's mean
    rows = token_rewards(samples, ends)
    returns = [row and [sum(row[t:]) for t in range(len(row))] for row in rows]
    for tokens, wanted in zip(found, whitened(returns), strict=True):
        assert tokens == pytest.approx(wanted, rel=1e-5, abs=1e-6)


def test_gae_is_the_discounted_sum_of_the_temporal_differences() -> None:
    samples = groups()
    critic = {"gamma": 0.9, "lam": 0.7}
    made = estimate(samples, stage(advantage="gae", critic=critic, kl=IN_REWARD), ALONE)
    found = by_response(made)
    rows = token_rewards(samples, [1.0, 0.0, 0.5, 0.0, None, 2.0])
    values = [v for s in samples for v in s.values.double().split(s.lengths)]  # type: ignore[union-attr]
    raw: list[list[float] | None] = []
    for row, value in zip(rows, values, strict=True):
        if row is None:
            raw.append(None)
            continue
        v = [*value.tolist(), 0.0]  # a response ends in a state of value 0
        delta = [r + 0.9 * v[t + 1] - v[t] for t, r in enumerate(row)]
        raw.append([sum(0.63**k * d for k, d in enumerate(delta[t:])) for t in range(len(delta))])
    for tokens, wanted in zip(found, whitened(raw), strict=True):
        assert tokens == pytest.approx(wanted, rel=1e-5, abs=1e-6)
    returns = [r for s in made for r in s.returns.split(s.lengths)]  # type: ignore[union-attr]
    for got, advantages, value in zip(returns, raw, values, strict=True):
        if advantages is not None:
            assert got.tolist() == pytest.approx((torch.tensor(advantages) + value).tolist())


def test_gae_without_discount_is_the_return_less_the_value() -> None:
    rewards, values = torch.tensor([[0.0, 0.0, 1.0], [0.5, 0.0, 0.0]]), torch.rand(2, 3)
    values[1, 1:] = 0  # the second response has one token
    found = gae(rewards, values, 1.0, 1.0)
    torch.testing.assert_close(found[0], 1.0 - values[0])
    torch.testing.assert_close(found[1], torch.tensor([0.5 - float(values[1, 0]), 0, 0]))


def test_truncated_responses_that_are_masked_do_not_whiten_the_others() -> None:
    short = groups()
    found = estimated(groups(), advantage="reinforce_baseline", mask_truncated=True)
    trained = [row for row, cut in zip(found, [0, 0, 1, 0, 0, 0], strict=True) if not cut]
    scored = np.concatenate([row for i, row in enumerate(trained) if i != 3])
    assert scored.mean() == pytest.approx(0, abs=1e-6)
    assert scored.std() == pytest.approx(1, abs=1e-6)
    assert found != estimated(short, advantage="reinforce_baseline")


@pytest.mark.parametrize("kind", ["reinforce_baseline", "batch_norm", "rloo"])
def test_groups_that_agree_have_exactly_no_advantage(kind: str) -> None:
    for row in estimated(groups([[0.1] * 3, [0.7, None, 0.7]]), advantage=kind):
        assert row == [0.0] * len(row)


@pytest.mark.parametrize("kind", ["group_norm", "batch_norm", "reinforce_baseline", "gae"])
def test_permuting_the_groups_permutes_the_advantages(kind: str) -> None:
    critic: dict[str, Any] = {"critic": {}} if kind == "gae" else {}
    before = estimated(groups(), advantage=kind, kl=IN_REWARD, **critic)
    after = estimated(groups()[::-1], advantage=kind, kl=IN_REWARD, **critic)
    for one, two in zip(before, after[3:] + after[:3], strict=True):
        assert one == pytest.approx(two, rel=1e-6)
    assert any(not math.isclose(x, 0) for row in before for x in row)
