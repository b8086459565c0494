"""Advantages: how much better a response, or a token of it, is than what was to be expected."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from backends.base.stage import Stage
from backends.deepspeed.objectives.losses import kl_divergence
from backends.training.ranks import Ranks
from backends.training.samples import Sample

#: Estimators that give every token its own advantage.
TOKENWISE = ("reinforce_baseline", "gae")


def estimate(samples: Sequence[Sample], stage: Stage, ranks: Ranks) -> list[Sample]:
    """The samples with their ``advantages`` [tokens of the group] by ``stage.advantage``, and
    ``returns`` where a critic learns them. Every rank calls it.

    A KL penalty with ``kl.place: reward`` is taken off here, as the policy stood before the
    update: token by token for the token-wise estimators (LMM-R1 ``experience_maker.py``), summed
    over the response for the others (RLOO, arXiv 2402.14740). A response without a reward takes no
    part in baselines and has advantage 0.
    """
    if stage.advantage in TOKENWISE:
        return _by_token(samples, stage, ranks)
    return _by_response(samples, stage, ranks)


def group_advantages(
    rewards: Sequence[float | None],
    kind: Literal["group_norm", "group_mean", "rloo"] = "group_norm",
    eps: float = 1e-6,
) -> list[float]:
    """Advantages [G] of the rewards [G] of one group.

    ``group_norm``: (r - mean) / (std + eps) with Bessel's correction (GRPO, arXiv 2402.03300
    section 4.1.2; as verl's ``compute_grpo_outcome_advantage``). ``group_mean``: r - mean (Dr.
    GRPO, arXiv 2503.20783). ``rloo``: r minus the mean of the others (RLOO, arXiv 2402.14740). A
    reward that is None takes no part in mean and deviation and gets advantage 0. A group that
    agrees gets exactly 0: rounding divided by ``eps`` must not become a signal.
    """
    scored = [r for r in rewards if r is not None and math.isfinite(r)]
    if len(scored) < 2 or min(scored) == max(scored):
        return [0.0] * len(rewards)
    mean = math.fsum(scored) / len(scored)
    scale = 1.0
    if kind == "group_norm":
        scale = 1.0 / (_deviation(scored) + eps)
    elif kind == "rloo":
        scale = len(scored) / (len(scored) - 1)  # r - (n mean - r) / (n - 1)
    return [0.0 if r is None or not math.isfinite(r) else (r - mean) * scale for r in rewards]


def discounted_sums(values: Tensor, factor: float) -> Tensor:
    """sum_k factor^k values[:, t + k], for ``values`` [R, C] padded on the right with zeros."""
    sums = torch.zeros_like(values)
    following = torch.zeros_like(values[:, 0])
    for t in range(values.shape[1] - 1, -1, -1):
        following = values[:, t] + factor * following
        sums[:, t] = following
    return sums


def gae(rewards: Tensor, values: Tensor, gamma: float, lam: float) -> Tensor:
    """Generalised advantages [R, C] of token ``rewards`` and ``values``, both [R, C] and padded on
    the right with zeros (arXiv 1506.02438 equation 16). A response ends in a state of value 0."""
    after = torch.cat([values[:, 1:], torch.zeros_like(values[:, :1])], dim=1)
    return discounted_sums(rewards + gamma * after - values, gamma * lam)


def _by_response(samples: Sequence[Sample], stage: Stage, ranks: Ranks) -> list[Sample]:
    kind, eps = stage.advantage, stage.advantage_eps
    charged = [_charged(sample, stage) for sample in samples]
    scale = 1.0
    if kind == "batch_norm":
        # The deviation of all rewards of the step, not of the advantages, as TRL's
        # ``scale_rewards="batch"``; in the order of the places, so that ranks do not matter.
        own = [(s.place, r) for s, rewards in zip(samples, charged, strict=True) for r in rewards]
        everywhere = sorted(
            (pair for part in ranks.gather(own) for pair in part), key=lambda pair: pair[0]
        )
        deviation = _deviation([r for _, r in everywhere if r is not None])
        scale = 1.0 / (deviation + eps) if deviation else 0.0
    of_group: Literal["group_norm", "group_mean", "rloo"] = "group_mean"
    if kind in ("group_norm", "rloo"):
        of_group = kind
    estimated = []
    for sample, rewards in zip(samples, charged, strict=True):
        each = torch.tensor([a * scale for a in group_advantages(rewards, of_group, eps)])
        advantages = each.repeat_interleave(torch.tensor(sample.lengths))
        estimated.append(replace(sample, advantages=advantages))
    return estimated


def _by_token(samples: Sequence[Sample], stage: Stage, ranks: Ranks) -> list[Sample]:
    """REINFORCE with the group's mean as baseline (r - mean at the last token), or PPO's GAE (r at
    the last token, a critic's values), both whitened over every token of the step's rollouts
    (LMM-R1 ``experience_maker.py``; REINFORCE++, arXiv 2501.03262)."""
    critic = stage.critic
    estimated = list(samples)
    if rewards := [row for sample in samples for row in _token_rewards(sample, stage)]:
        padded = pad_sequence(rewards, batch_first=True)
        if critic is None:
            rows = iter(discounted_sums(padded, 1.0))
        else:
            values = pad_sequence(
                [row for s in samples for row in _values(s).split(s.lengths)], batch_first=True
            )
            rows = iter(gae(padded, values, critic.gamma, critic.lam))
        for i, sample in enumerate(samples):
            advantages = torch.cat([next(rows)[:n] for n in sample.lengths])
            returns = None if critic is None else (advantages + _values(sample)).float()
            estimated[i] = replace(sample, advantages=advantages, returns=returns)
    return _whitened(estimated, stage, ranks)


def _token_rewards(sample: Sample, stage: Stage) -> tuple[Tensor, ...]:
    """Rewards [tokens] of each response: its own at the last token, less beta * KL at each."""
    ends: Sequence[float | None] = sample.rewards
    if stage.advantage == "reinforce_baseline":
        ends = group_advantages(sample.rewards, "group_mean")
    rows = _penalties(sample, stage).neg().split(sample.lengths)
    for row, end in zip(rows, ends, strict=True):
        row[-1:] += end or 0.0
    return rows


def _whitened(samples: Sequence[Sample], stage: Stage, ranks: Ranks) -> list[Sample]:
    """Advantages with mean 0 and deviation 1 over the tokens of all ranks that will be trained on;
    a deviation below ``advantage_eps`` counts as that much."""
    scored = [s.at_tokens(s.scored) for s in samples]
    trained = scored
    if stage.mask_truncated:
        trained = [m & ~s.at_tokens(s.truncated) for s, m in zip(samples, scored, strict=True)]
    parts = [s.advantages[mask] for s, mask in zip(samples, trained, strict=True)]
    tokens, total = ranks.sum(sum(map(len, parts)), sum(float(p.sum()) for p in parts))
    mean = total / max(tokens, 1)
    (squares,) = ranks.sum(sum(float((p - mean).square().sum()) for p in parts))
    deviation = max(math.sqrt(squares / max(tokens, 1)), stage.advantage_eps)
    return [
        replace(s, advantages=((s.advantages - mean) / deviation * mask).float())
        for s, mask in zip(samples, scored, strict=True)
    ]


def _charged(sample: Sample, stage: Stage) -> list[float | None]:
    """Rewards [G] less beta times the response's KL, summed over its tokens."""
    if stage.kl.beta == 0 or stage.kl.place != "reward":
        return list(sample.rewards)
    charges = [float(part.sum()) for part in _penalties(sample, stage).split(sample.lengths)]
    return [
        None if r is None else r - charge for r, charge in zip(sample.rewards, charges, strict=True)
    ]


def _penalties(sample: Sample, stage: Stage) -> Tensor:
    """beta * KL [tokens of the group] where it enters the reward, else zeros. On the CPU."""
    if stage.kl.beta == 0 or stage.kl.place != "reward":
        return torch.zeros(sample.tokens, dtype=torch.float64)
    assert sample.old is not None
    assert sample.reference is not None
    kl = kl_divergence(sample.old, sample.reference, stage.kl.form, stage.kl.clip).cpu().double()
    if any(sample.external):  # an estimate holds for what the policy itself sampled
        kl = kl.masked_fill(sample.at_tokens(sample.external), 0.0)
    return stage.kl.beta * kl


def _values(sample: Sample) -> Tensor:
    assert sample.values is not None
    return sample.values.cpu().double()


def _deviation(values: Sequence[float]) -> float:
    """Standard deviation with Bessel's correction; 0 for fewer than two."""
    if len(values) < 2:
        return 0.0
    mean = math.fsum(values) / len(values)
    return math.sqrt(math.fsum((v - mean) ** 2 for v in values) / (len(values) - 1))
