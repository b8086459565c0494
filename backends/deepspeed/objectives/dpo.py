"""Direct preference optimisation: of two responses to one prompt, the chosen one becomes likelier.

A pair is a group of two, (chosen, rejected), packed behind one copy of its prompt and picture.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from backends.training.samples import Sample


def margins(logp: Tensor, reference: Tensor, lengths: Tensor, beta: float) -> Tensor:
    """The implicit reward of the chosen response over that of the rejected one, for P pairs: [P].

    beta * ((log p - log p_ref)(chosen) - (log p - log p_ref)(rejected)), each summed over the
    response's tokens (DPO, arXiv 2305.18290, under equation 7). ``logp`` and ``reference`` [N] are
    flat over the tokens of (chosen, rejected) after (chosen, rejected), ``lengths`` [2P] their
    numbers.
    """
    of_response = torch.arange(len(lengths), device=logp.device).repeat_interleave(lengths)
    ratios = torch.zeros(len(lengths), dtype=logp.dtype, device=logp.device)
    ratios = ratios.index_add(0, of_response, logp - reference)
    return beta * (ratios[0::2] - ratios[1::2])


def preference_loss(
    logp: Tensor, samples: Sequence[Sample], lengths: Tensor, beta: float
) -> Tensor:
    """The sum over pairs of -log sigmoid(margin) (arXiv 2305.18290 equation 7), a scalar. Puts
    margin, accuracy of the preference and lengths on the samples' rows."""
    reference = torch.cat([s.reference for s in samples if s.reference is not None])
    found = margins(logp, reference, lengths, beta)
    for sample, margin in zip(samples, found.detach().tolist(), strict=True):
        sample.row |= {
            "reward_margin": margin,
            "preference_accuracy": float(margin > 0),
            "response_length": sample.tokens / 2,
        }
    return -logsigmoid(found).sum()
