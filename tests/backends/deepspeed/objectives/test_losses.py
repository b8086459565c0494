"""Losses against independent formulas: per token in plain python, and REINFORCE by autograd."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from backends.base.stage import KL
from backends.deepspeed.objectives.losses import (
    kl_divergence,
    response_means,
    surrogate,
    token_weights,
    value_error,
)

LENGTHS = torch.tensor([3, 1, 4, 2])


def numbers(seed: int, n: int = int(LENGTHS.sum())) -> Tensor:
    return torch.randn(n, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def advantages() -> Tensor:
    return torch.tensor([1.2, -0.7, 0.4, -0.9], dtype=torch.float64).repeat_interleave(LENGTHS)


def test_the_surrogate_is_ppos_formula() -> None:
    logp, old, a = numbers(0), numbers(1), advantages()
    found, silenced = surrogate(logp, old, a, 0.2, 0.3)
    for i in range(len(logp)):
        ratio = math.exp(float(logp[i]) - float(old[i]))
        plain = ratio * float(a[i])
        clipped = min(max(ratio, 0.8), 1.3) * float(a[i])
        assert float(found[i]) == pytest.approx(-min(plain, clipped))
        assert bool(silenced[i]) == (clipped < plain)
    assert 0 < int(silenced.sum()) < len(logp)


@pytest.mark.parametrize(
    ("advantage", "ratio", "passes"),
    [(1, 1.4, False), (-1, 0.7, False), (1, 0.7, True), (-1, 1.4, True), (1, 1.0, True)],
)
def test_the_clip_stops_the_gradient_on_its_two_sides(
    advantage: float, ratio: float, passes: bool
) -> None:
    logp = torch.tensor([math.log(ratio)], requires_grad=True)
    loss, silenced = surrogate(logp, torch.zeros(1), torch.tensor([advantage]), 0.2, 0.3)
    loss.sum().backward()
    assert logp.grad is not None
    assert (float(logp.grad) != 0) == passes
    assert bool(silenced) != passes


@pytest.mark.parametrize(
    ("advantage", "ratio", "loss", "passes"),
    [(-1, 2.9, 2.9, True), (-1, 3.1, 3.0, False), (1, 3.1, -1.3, False), (-2, 9.0, 6.0, False)],
)
def test_the_dual_clip_bounds_what_a_bad_token_costs(
    advantage: float, ratio: float, loss: float, passes: bool
) -> None:
    logp = torch.tensor([math.log(ratio)], requires_grad=True)
    found, silenced = surrogate(logp, torch.zeros(1), torch.tensor([advantage]), 0.2, 0.3, 3.0)
    found.sum().backward()
    assert float(found.detach()) == pytest.approx(loss)
    assert logp.grad is not None
    assert (float(logp.grad) != 0) == passes
    assert bool(silenced) != passes


@pytest.mark.parametrize("old_is_given", [False, True])
def test_a_sequence_ratio_is_the_geometric_mean_of_its_tokens(old_is_given: bool) -> None:
    logp, old = numbers(8).requires_grad_(), numbers(9)
    given_old = old if old_is_given else None
    found, _ = surrogate(logp, given_old, advantages(), 10.0, 10.0, sequences=LENGTHS)
    ratios = [
        math.exp(float((a - b).detach().mean())) if old_is_given else 1.0
        for a, b in zip(logp.split(LENGTHS.tolist()), old.split(LENGTHS.tolist()), strict=True)
    ]
    expected = -torch.tensor(ratios, dtype=torch.float64).repeat_interleave(LENGTHS) * advantages()
    torch.testing.assert_close(found, expected)
    # Each token moves its response's ratio by 1 / length, under the weight of all its tokens.
    (gradient,) = torch.autograd.grad(found.sum(), logp)
    torch.testing.assert_close(gradient, expected)


def test_response_means_are_those_of_each_response() -> None:
    values = numbers(10)
    expected = torch.cat([p.mean().expand(len(p)) for p in values.split(LENGTHS.tolist())])
    torch.testing.assert_close(response_means(values, LENGTHS), expected)


@pytest.mark.parametrize("gap", [-1000.0, 1000.0])
@pytest.mark.parametrize("advantage", [-1.0, 1.0])
def test_a_ratio_stays_finite_however_far_a_token_drifts(gap: float, advantage: float) -> None:
    logp = torch.tensor([gap], requires_grad=True)
    loss, _ = surrogate(logp, torch.zeros(1), torch.tensor([advantage]), 0.2, 0.2, 3.0)
    loss.sum().backward()
    assert loss.isfinite().all()
    assert logp.grad is not None
    assert logp.grad.isfinite().all()


def test_the_value_error_is_the_larger_of_the_free_and_the_clipped() -> None:
    values, old, returns = numbers(11).requires_grad_(), numbers(12), numbers(13)
    found = value_error(values, old, returns, 0.2)
    for v, o, r, error in zip(
        values.tolist(), old.tolist(), returns.tolist(), found.tolist(), strict=True
    ):
        near = min(max(v, o - 0.2), o + 0.2)
        assert error == pytest.approx(max((v - r) ** 2, (near - r) ** 2))
    # A value that has gone further than the clip, and towards its return, is pulled no more.
    values = torch.tensor([0.5], requires_grad=True)
    value_error(values, torch.zeros(1), torch.ones(1), 0.2).backward()
    assert float(values.grad) == 0  # type: ignore[arg-type]


@pytest.mark.parametrize("old_is_given", [False, True])
def test_on_policy_the_ratio_is_one_and_the_gradient_is_reinforce(old_is_given: bool) -> None:
    logits = numbers(2, 50).reshape(10, 5).requires_grad_()
    tokens = torch.arange(10) % 5
    logp = logits.log_softmax(-1)[torch.arange(10), tokens]
    losses, silenced = surrogate(
        logp, logp.detach() if old_is_given else None, advantages(), 0.2, 0.2
    )
    assert torch.equal(losses, -advantages())  # ratio exactly 1
    assert not silenced.any()
    (found,) = torch.autograd.grad(losses.sum(), logits)
    # REINFORCE with the score function written out: d logp / d logits = onehot - softmax.
    onehot = torch.eye(5, dtype=torch.float64)[tokens]
    expected = -advantages()[:, None] * (onehot - logits.detach().softmax(-1))
    torch.testing.assert_close(found, expected)


def test_k3_k2_k1() -> None:
    logp, reference = numbers(3), numbers(4)
    ratio = (reference - logp).exp()
    torch.testing.assert_close(kl_divergence(logp, reference, "k3"), ratio - ratio.log() - 1)
    torch.testing.assert_close(kl_divergence(logp, reference, "k2"), ratio.log() ** 2 / 2)
    torch.testing.assert_close(kl_divergence(logp, reference, "k1"), -ratio.log())
    assert (kl_divergence(logp, reference, "k3") >= 0).all()


@pytest.mark.parametrize("form", ["k1", "k2", "k3"])
def test_the_kl_of_equals_is_exactly_zero(form: str) -> None:
    logp = numbers(5).requires_grad_()
    kl = kl_divergence(logp, logp.detach().clone(), form)  # type: ignore[arg-type]
    assert (kl == 0).all()


@pytest.mark.parametrize("gap", [-50.0, 50.0, -1000.0, 1000.0])
def test_k3_stays_finite_however_far_a_token_drifts(gap: float) -> None:
    logp = torch.zeros(1, requires_grad=True)
    kl = kl_divergence(logp, torch.tensor([gap]), "k3")
    kl.sum().backward()
    assert torch.isfinite(kl).all()
    assert torch.isfinite(logp.grad).all()  # type: ignore[arg-type]


def test_a_clipped_estimate_has_no_gradient_beyond_the_clip() -> None:
    logp = torch.zeros(3, requires_grad=True)
    kl = kl_divergence(logp, torch.tensor([1.0, 4.0, -30.0]), "k3", clip=10.0)
    kl.sum().backward()
    assert kl.tolist() == pytest.approx([math.e - 2, 10.0, 10.0])
    assert logp.grad is not None
    assert logp.grad.tolist() == pytest.approx([1 - math.e, 0.0, 0.0])


@pytest.mark.parametrize(
    ("form", "place", "exact"),
    [("k1", "reward", "pq"), ("k2", "loss", "pq"), ("k3", "loss", "qp"), ("k1", "loss", "none")],
)
def test_what_each_estimator_is_the_gradient_of(form: str, place: str, exact: str) -> None:
    """In expectation over the policy's samples, as the docstring of KL says."""
    logits = torch.tensor([0.3, -0.5, 1.0], dtype=torch.float64, requires_grad=True)
    logp = logits.log_softmax(0)
    q = torch.tensor([0.2, 0.3, 0.5], dtype=torch.float64)
    p = logp.detach().exp()
    estimates = kl_divergence(logp, q.log(), form)  # type: ignore[arg-type]
    loss = p * (estimates.detach() * logp if place == "reward" else estimates)
    (found,) = torch.autograd.grad(loss.sum(), logits, retain_graph=True)
    wanted = {
        "pq": (logp.exp() * (logp - q.log())).sum(),
        "qp": (q * (q.log() - logp)).sum(),
        "none": 0 * logp.sum(),
    }[exact]
    (expected,) = torch.autograd.grad(wanted, logits)
    torch.testing.assert_close(found, expected)


def test_a_kl_that_holds_nothing_back_is_refused() -> None:
    with pytest.raises(ValueError, match="k1 in the loss holds nothing back"):
        KL(beta=0.1, form="k1", place="loss")


def test_k3_is_unbiased_for_the_kl() -> None:
    p, q = torch.tensor([0.5, 0.3, 0.2]), torch.tensor([0.2, 0.3, 0.5])
    exact = float((p * (p / q).log()).sum())
    expected_k3 = float((p * kl_divergence(p.log(), q.log(), "k3")).sum())
    assert expected_k3 == pytest.approx(exact)


def test_token_mean_is_the_mean_over_all_tokens() -> None:
    losses = numbers(6)
    weights = token_weights(LENGTHS, "token_mean", tokens=10, responses=4, max_tokens=8)
    assert float((weights * losses).sum()) == pytest.approx(float(losses.mean()))


def test_sequence_mean_is_the_mean_of_the_responses_means() -> None:
    losses = numbers(7)
    weights = token_weights(LENGTHS, "sequence_mean", tokens=10, responses=4, max_tokens=8)
    means = [float(part.mean()) for part in losses.split(LENGTHS.tolist())]
    assert float((weights * losses).sum()) == pytest.approx(sum(means) / 4)


def test_fixed_length_divides_by_the_budget_however_short_the_responses() -> None:
    losses = numbers(14)
    weights = token_weights(LENGTHS, "fixed_length", tokens=10, responses=4, max_tokens=8)
    assert float((weights * losses).sum()) == pytest.approx(float(losses.sum()) / (4 * 8))


@pytest.mark.parametrize("aggregation", ["token_mean", "sequence_mean", "fixed_length"])
@pytest.mark.parametrize("cut", [1, 2, 3])
def test_micro_batches_add_up_to_one_batch(aggregation: str, cut: int) -> None:
    whole = token_weights(LENGTHS, aggregation, 10, 4, 8)  # type: ignore[arg-type]
    parts = [
        token_weights(part, aggregation, 10, 4, 8)  # type: ignore[arg-type]
        for part in (LENGTHS[:cut], LENGTHS[cut:])
    ]
    assert torch.equal(torch.cat(parts), whole)
    assert whole.dtype == torch.float32
