"""The loss, token by token. All tensors are flat over the response tokens of a micro-batch: [N].

Every loss is a *sum* of weighted tokens whose weights come from counts over the whole update, so
that micro-batches and ranks add up to exactly the loss of one big batch.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

#: Log-ratios beyond this are cut before exp: a ratio and k3 must stay finite however far a token
#: has drifted (as EasyR1's ``compute_policy_loss`` and ``compute_kl``).
LOG_RATIO_LIMIT = 20.0


def token_weights(
    lengths: Tensor,
    aggregation: Literal["token_mean", "sequence_mean", "fixed_length"],
    tokens: int,
    responses: int,
    max_tokens: int,
) -> Tensor:
    """Weight [N] of every token of a micro-batch whose responses have ``lengths`` [R], N = their
    sum.

    ``tokens`` and ``responses`` count the whole update, over micro-batches and ranks.
    ``token_mean``: 1 / tokens (DAPO, arXiv 2503.14476 section 3.3). ``sequence_mean``: the mean
    over responses of each response's own mean, 1 / (responses * length) (GRPO, arXiv 2402.03300
    equation 3). ``fixed_length``: 1 / (responses * max_tokens), so that no response's length
    changes what its tokens weigh (Dr. GRPO, arXiv 2503.20783, whose code divides by its generation
    budget).
    """
    if aggregation == "sequence_mean":
        each = 1.0 / (responses * lengths.float())
    else:
        count = tokens if aggregation == "token_mean" else responses * max_tokens
        each = torch.full(lengths.shape, 1.0 / count, dtype=torch.float32, device=lengths.device)
    return each.repeat_interleave(lengths)


def surrogate(
    logp: Tensor,
    old: Tensor | None,
    advantages: Tensor,
    clip_low: float,
    clip_high: float,
    dual_clip: float | None = None,
    sequences: Tensor | None = None,
    free: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """PPO's clipped surrogate loss [N] and which tokens the clips silenced [N].

    loss = -min(ratio * A, clip(ratio, 1 - clip_low, 1 + clip_high) * A), ratio = exp(logp - old)
    (arXiv 1707.06347 equation 7). ``old`` None says that the responses are from this very policy:
    the ratio is then exactly 1, its gradient that of ``logp``, and nothing is clipped.

    ``dual_clip`` c bounds the loss of a token with A < 0 by -c * A, however large its ratio
    (dual-clip PPO, arXiv 1912.09729). ``sequences`` [R], the lengths of the responses, makes the
    ratio of every token that of its whole response, the exponential of its mean log-ratio (GSPO,
    arXiv 2507.18071). ``free`` [N] marks tokens that no clip applies to.
    """
    log_ratio = logp - (logp.detach() if old is None else old)
    if sequences is not None:
        log_ratio = response_means(log_ratio, sequences)
    ratio = torch.exp(log_ratio.clamp(-LOG_RATIO_LIMIT, LOG_RATIO_LIMIT))
    plain = ratio * advantages
    if old is None:
        return -plain, torch.zeros_like(logp, dtype=torch.bool)
    gain = torch.minimum(plain, ratio.clamp(1 - clip_low, 1 + clip_high) * advantages)
    if dual_clip is not None:
        gain = torch.where(advantages < 0, torch.maximum(gain, dual_clip * advantages), gain)
    if free is not None:
        gain = torch.where(free, plain, gain)
    return -gain, gain.detach() != plain.detach()


def response_means(values: Tensor, lengths: Tensor) -> Tensor:
    """The mean over each response of ``values`` [N], at each of its tokens [N]."""
    owner = torch.arange(len(lengths), device=lengths.device).repeat_interleave(lengths)
    sums = values.new_zeros(len(lengths)).index_add(0, owner, values)
    return (sums / lengths.clamp_min(1)).index_select(0, owner)


def kl_divergence(
    logp: Tensor,
    reference: Tensor,
    form: Literal["k1", "k2", "k3"] = "k3",
    clip: float | None = None,
) -> Tensor:
    """Estimates [N] of KL(policy || reference) from the sampled tokens.

    With d = reference - logp: k1 = -d, k2 = d^2 / 2, k3 = exp(d) - d - 1
    (J. Schulman, "Approximating KL Divergence", 2020; k3 is GRPO's equation 4). In k3 the d of the
    exponential is cut at +-20, as in EasyR1's ``compute_kl``. ``clip`` bounds the estimate itself
    (10 there); beyond it there is no gradient.
    """
    gap = reference - logp
    if form == "k1":
        found = -gap
    elif form == "k2":
        found = gap.square() / 2
    else:
        gap = gap.clamp(-LOG_RATIO_LIMIT, LOG_RATIO_LIMIT)
        found = torch.exp(gap) - gap - 1
    return found if clip is None else found.clamp(-clip, clip)


def value_error(values: Tensor, old: Tensor, returns: Tensor, clip: float) -> Tensor:
    """PPO's clipped squared error [N] of the critic's ``values`` against ``returns``.

    The larger of (v - R)^2 and (old + clip(v - old, -clip, clip) - R)^2: a value that has moved
    further than ``clip`` from where the rollout found it is pulled no more (``ValueLoss`` of
    OpenRLHF ``models/loss.py``, which LMM-R1 trains with).
    """
    near = old + (values - old).clamp(-clip, clip)
    return torch.maximum((values - returns).square(), (near - returns).square())
