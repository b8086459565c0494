"""Direct preference optimisation: of two responses to one prompt, the chosen one becomes likelier.

A pair is a group of two, (chosen, rejected), packed behind one copy of its prompt and picture.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from backends.deepspeed.objectives.loss import Counts, Loss, MicroBatchLoss
from backends.deepspeed.policy.packing import PackedBatch
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


class DPO(Loss):
    """The mean over pairs of -log sigmoid(margin) (arXiv 2305.18290 equation 7). Logs the margin of
    each pair and whether the chosen response has the greater implicit reward."""

    def of(
        self, logp: Tensor, batch: PackedBatch, samples: Sequence[Sample], counts: Counts
    ) -> MicroBatchLoss:
        reference = torch.cat([s.reference for s in samples if s.reference is not None])
        found = margins(logp, reference, batch.lengths, self.stage.dpo_beta)
        pairs = counts.responses // 2
        return MicroBatchLoss(
            -logsigmoid(found).sum() / pairs,
            figures=[
                {"reward_margin": margin, "preference_accuracy": float(margin > 0)}
                for margin in found.detach().tolist()
            ],
        )
