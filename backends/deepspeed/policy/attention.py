"""Attention over packed groups: responses share their prompt's keys and values.

The row of a group is ``[prompt | r1 | ... | rG]``. One dense mask over it would cost (P + G C)^2
where only P^2 + G C (P + C) is needed, and would fill the difference with nothing; so attention
runs twice, on the prompts and on the responses, and everything else on the flat tokens, without
padding.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from backends.deepspeed.policy.layout import Layout

NAME = "shared_prompt"


def install(layers: PreTrainedModel, kind: str = "sdpa") -> Callable[[Layout], Any]:
    """Let a language model's ``layers`` take packed groups, and return what makes their mask of a
    :class:`Layout`; any other mask works as before. ``kind`` is "sdpa" or "flex"."""
    name: str = NAME
    attention: Callable[..., Any] = shared_prompt_attention
    mask: Callable[[Layout], Any] = _as_it_is
    if kind == "flex":
        from backends.deepspeed.policy import flex  # it loads torch's compiler

        name, attention, mask = f"{NAME}_flex", flex.flex, flex.block_mask
    AttentionInterface.register(name, attention)
    AttentionMaskInterface.register(name, sdpa_mask)
    layers.set_attn_implementation(name)
    return mask


def shared_prompt_attention(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Layout | Tensor | None,
    **settings: Any,
) -> tuple[Tensor, None]:
    """Attention of one flat row: ``query`` [1, heads, T, d], ``key`` and ``value`` [1, kv heads,
    T, d] → [1, T, heads, d]."""
    layout = attention_mask
    if not isinstance(layout, Layout):
        return sdpa_attention_forward(module, query, key, value, layout, **settings)
    places = torch.cat([layout.prompts.flatten(), layout.responses.flatten()])
    q, k, v = (x[0].transpose(0, 1).index_select(0, places) for x in (query, key, value))
    n = layout.prompts.numel()
    shared_q, shared_k, shared_v = (x[:n].unflatten(0, layout.prompts.shape) for x in (q, k, v))
    prompts = (x.transpose(1, 2) for x in (shared_q, shared_k, shared_v))
    out = sdpa_attention_forward(module, *prompts, None, **settings)[0].flatten(0, 1)  # causal
    if layout.responses.numel():
        own_q, own_k, own_v = (x[n:].unflatten(0, layout.responses.shape) for x in (q, k, v))
        keys = torch.cat([shared_k.index_select(0, layout.row), own_k], 1)
        values = torch.cat([shared_v.index_select(0, layout.row), own_v], 1)
        own = _grouped(own_q, keys, values, layout, settings)
        out = torch.cat([out, own.flatten(0, 1)])
    return out.index_select(0, layout.back)[None], None


def _grouped(q: Tensor, k: Tensor, v: Tensor, layout: Layout, settings: dict[str, Any]) -> Tensor:
    """Attention of the responses: ``q`` [R, C, heads, d], ``k`` and ``v`` [R, P + C, kv heads, d]
    → [R, C, heads, d]. Query heads that share a key head are rows of one product with it, where
    torch would take a copy of keys and values for each."""
    rows, shared = q.shape[1], q.shape[2] // k.shape[2]
    folded = q.unflatten(2, (-1, shared)).permute(0, 2, 3, 1, 4).flatten(2, 3)
    out = scaled_dot_product_attention(
        folded,
        k.transpose(1, 2),
        v.transpose(1, 2),
        layout.bias(shared, q.dtype),
        dropout_p=settings.get("dropout", 0.0),
        scale=settings.get("scaling"),
    )
    return out.unflatten(2, (shared, rows)).permute(0, 3, 1, 2, 4).flatten(2, 3)


def _as_it_is(layout: Layout) -> Layout:
    return layout
