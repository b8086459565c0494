"""FlexAttention over packed groups: one flat row, and a mask of blocks in place of a dense one.

A response token sees its group's prompt and its own response up to itself; a prompt token sees its
prompt up to itself. As that is two intervals of places a token, a kernel decides it from three
numbers of the query, and blocks that hold nothing are never visited. Nothing is padded, and nothing
copied: what this saves are the R copies of a prompt's keys and values and the bias on the scores
that :mod:`backends.deepspeed.policy.attention` makes. By formula, with a prompt of 1000 tokens, 16
responses of 512 and Qwen2.5-VL-3B's heads in bfloat16, those are 25 MB a layer and 200 MB once.

On a GPU the kernel is compiled at the first batch, and serves all layers and later batches. On a
CPU torch refuses a backward of it, so training there is refused, too. What is tested on
CPU: the mask, values and gradients of the whole policy with torch's unfused implementation, and
the compiled forward. What is not, for want of a GPU: the Triton kernel, forward and backward, and
with it speed, memory and how bfloat16 sums there. That is why it is an option and ``sdpa`` the
default.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask, create_block_mask, flex_attention
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from backends.deepspeed.policy.layout import Layout


def intervals(layout: Layout) -> tuple[Tensor, Tensor, Tensor]:
    """What each of the T flat tokens sees, as places [T] each: its prompt from ``start`` to before
    ``end``, and from ``own``, the start of its own prompt or response, to itself."""
    (groups, width), own_width = layout.prompts.shape, layout.responses.shape[1]
    of_prompt = layout.back < groups * width
    response = (layout.back - groups * width).clamp_min(0) // max(own_width, 1)
    group = torch.where(of_prompt, layout.back // width, layout.row[response])
    start = layout.prompts[:, 0]
    end = start + torch.bincount(group[of_prompt], minlength=groups)
    own = start[group]
    if own_width:
        own = torch.where(of_prompt, own, layout.responses[response, 0])
    return start[group], end[group], own


def block_mask(layout: Layout) -> BlockMask:
    """The mask of a batch, which all its layers share. Making it takes some T^2 bytes for a moment
    (100 MB for 10,000 tokens)."""
    start, end, own = intervals(layout)

    def sees(_batch: Tensor, _head: Tensor, q: Tensor, k: Tensor) -> Tensor:
        return (k <= q) & ((k >= own[q]) | ((k >= start[q]) & (k < end[q])))

    tokens = len(layout.back)
    return create_block_mask(sees, None, None, tokens, tokens, device=layout.back.device)


def flex(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: BlockMask | Tensor | None,
    scaling: float | None = None,
    **settings: Any,
) -> tuple[Tensor, None]:
    """Attention of one flat row: ``query`` [1, heads, T, d], ``key`` and ``value`` [1, kv heads,
    T, d] → [1, T, heads, d]. With any other mask it is torch's scaled dot product."""
    if not isinstance(attention_mask, BlockMask):
        return sdpa_attention_forward(
            module, query, key, value, attention_mask, scaling=scaling, **settings
        )
    attend = _compiled() if query.is_cuda else flex_attention
    out = attend(
        query,
        key,
        value,
        block_mask=attention_mask,
        scale=scaling,
        enable_gqa=query.shape[1] != key.shape[1],
    )
    return out.transpose(1, 2), None


@cache
def _compiled() -> Any:
    """One kernel for all layers and batches: numbers of tokens are no constants of it."""
    return torch.compile(flex_attention, dynamic=True)
