"""One token for each row: what the `hf` engine draws, and from which random numbers."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from backends.base.engine import Sampling
from backends.models.folders import suppress


def choose(
    logits: Tensor, sampling: Sampling, draws: Tensor, suppressed: Sequence[int]
) -> tuple[Tensor, Tensor]:
    """One token for each row: (ids [R], log-probabilities [R]) from logits [R, V] and uniforms [R].

    Sampled by inverting the cumulative distribution, in float64, so that the choice is a function
    of the row's own draw. A token of probability 0 adds nothing to the sum and so is never the
    one that crosses the draw.
    """
    logits = suppress(logits / (sampling.temperature or 1.0), suppressed)
    logp = logits.log_softmax(-1)
    if sampling.temperature == 0:
        token = logp.argmax(-1)
    else:
        p = logp.double().exp()
        if sampling.top_p < 1:
            p = _nucleus(p, sampling.top_p)
        total = p.cumsum(-1)
        token = torch.searchsorted(total, draws[:, None] * total[:, -1:], right=True)[:, 0]
    return token, logp.gather(-1, token[:, None])[:, 0]


def _nucleus(p: Tensor, top_p: float) -> Tensor:
    """Zero all but the smallest set of most likely tokens whose mass reaches ``top_p`` (Holtzman
    et al., arXiv 1904.09751). Ties go to the lower id."""
    ordered, index = p.sort(dim=-1, descending=True, stable=True)
    outside = ordered.cumsum(-1) - ordered >= top_p
    return p.masked_fill(torch.zeros_like(outside).scatter(-1, index, outside), 0.0)


def uniforms(sampling: Sampling, request_id: str, sample: int) -> np.ndarray:
    """The uniforms [max_tokens] of one sample: the first k are the same for any ``max_tokens``."""
    key = hashlib.sha256(f"{sampling.seed}\0{request_id}\0{sample}".encode()).digest()
    bits = np.random.Philox(key=int.from_bytes(key[:16], "little"))
    return np.random.Generator(bits).random(sampling.max_tokens)
