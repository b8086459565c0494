"""The loss, token by token. All tensors are flat over the response tokens of a micro-batch: [N].

Every loss is a *sum* of weighted tokens whose weights come from counts over the whole update, so
that micro-batches and ranks add up to exactly the loss of one big batch.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor


def token_weights(
    lengths: Tensor,
    aggregation: Literal["token_mean", "sequence_mean"],
    tokens: int,
    responses: int,
) -> Tensor:
    """Weight [N] of every token of a micro-batch whose responses have ``lengths`` [R], N = their
    sum.

    ``tokens`` and ``responses`` count the whole update, over micro-batches and ranks.
    ``token_mean``: 1 / tokens (DAPO, arXiv 2503.14476 section 3.3). ``sequence_mean``: the mean
    over responses of each response's own mean, 1 / (responses * length) (GRPO, arXiv 2402.03300
    equation 3).
    """
    if aggregation == "token_mean":
        each = torch.full(lengths.shape, 1.0 / tokens, dtype=torch.float32, device=lengths.device)
    else:
        each = 1.0 / (responses * lengths.float())
    return each.repeat_interleave(lengths)


def surrogate(
    logp: Tensor, old: Tensor | None, advantages: Tensor, clip_low: float, clip_high: float
) -> tuple[Tensor, Tensor]:
    """PPO's clipped surrogate loss [N] and which tokens the clip silenced [N].

    loss = -min(ratio * A, clip(ratio, 1 - clip_low, 1 + clip_high) * A), ratio = exp(logp - old)
    (arXiv 1707.06347 equation 7). ``old`` None says that the responses are from this very policy:
    the ratio is then exactly 1, its gradient that of ``logp``, and nothing is clipped.
    """
    if old is None:
        ratio = torch.exp(logp - logp.detach())
        return -ratio * advantages, torch.zeros_like(logp, dtype=torch.bool)
    ratio = torch.exp(logp - old)
    clipped = ratio.clamp(1 - clip_low, 1 + clip_high)
    silenced = clipped * advantages < ratio * advantages
    return -torch.minimum(ratio * advantages, clipped * advantages), silenced


#: Log-ratios beyond this are cut before exp: k3 must stay finite however far a token has drifted.
LOG_RATIO_LIMIT = 20.0


def divergence(logp: Tensor, reference: Tensor, form: Literal["k1", "k2", "k3"] = "k3") -> Tensor:
    """Estimates [N] of KL(policy || reference) from the sampled tokens.

    With d = reference - logp: k1 = -d, k2 = d^2 / 2, k3 = exp(d) - d - 1
    (J. Schulman, "Approximating KL Divergence", 2020; k3 is GRPO's equation 4). In k3 the d of the
    exponential is cut at +-20, as in EasyR1's ``compute_kl``.
    """
    gap = reference - logp
    if form == "k1":
        return -gap
    if form == "k2":
        return gap.square() / 2
    gap = gap.clamp(-LOG_RATIO_LIMIT, LOG_RATIO_LIMIT)
    return torch.exp(gap) - gap - 1
