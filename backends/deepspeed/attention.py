"""Attention over packed groups: responses share their prompt's keys and values.

The row of a group is ``[prompt | r1 | ... | rG]``. One dense mask over it would cost (P + G C)^2
where only P^2 + G C (P + C) is needed, and would fill the difference with nothing; so attention
runs twice, on the prompts and on the responses, and everything else on the flat tokens, without
padding.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

NAME = "shared_prompt"


@dataclass(frozen=True, eq=False)
class Layout:
    """Where the T flat tokens of B prompts and R responses lie. All indices are into the flat
    tokens; padding points at token 0 and what is computed for it is thrown away.

    ``prompts`` [B, P] and ``responses`` [R, C], padded on the right; ``row`` [R] names the prompt
    of a response; ``mask`` [R, 1, C, P + C] says which of its prompt's and its own places a
    response token sees; ``back`` [T] finds every flat token in [B * P | R * C].
    """

    prompts: Tensor
    responses: Tensor
    row: Tensor
    mask: Tensor
    back: Tensor

    def to(self, device: str | torch.device) -> Layout:
        """The same layout on another device."""
        return Layout(*(getattr(self, f.name).to(device) for f in fields(self)))


def install(model: PreTrainedModel, kind: str = "sdpa") -> Callable[[Layout], Any]:
    """Let the language model's layers take packed groups, and return what makes their mask of a
    :class:`Layout`; any other mask works as before. ``kind`` is "sdpa" or "flex"."""
    name: str = NAME
    attention: Callable[..., Any] = shared_prompt_attention
    mask: Callable[[Layout], Any] = _as_it_is
    if kind == "flex":
        from backends.deepspeed import flex  # it loads torch's compiler

        name, attention, mask = f"{NAME}_flex", flex.flex, flex.block_mask
    AttentionInterface.register(name, attention)
    AttentionMaskInterface.register(name, sdpa_mask)
    model.set_attn_implementation({"text_config": name})
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
    q, k, v = (x[0].transpose(0, 1) for x in (query, key, value))  # [T, heads, d]

    def attend(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
        q, k, v = (x.transpose(1, 2) for x in (q, k, v))
        return sdpa_attention_forward(module, q, k, v, mask, **settings)[0].flatten(0, 1)

    shared_k, shared_v = _take(k, layout.prompts), _take(v, layout.prompts)
    out = attend(_take(q, layout.prompts), shared_k, shared_v, None)  # None: causal
    if layout.responses.numel():
        own_k = torch.cat([shared_k.index_select(0, layout.row), _take(k, layout.responses)], 1)
        own_v = torch.cat([shared_v.index_select(0, layout.row), _take(v, layout.responses)], 1)
        out = torch.cat([out, attend(_take(q, layout.responses), own_k, own_v, layout.mask)])
    return out.index_select(0, layout.back)[None], None


def _as_it_is(layout: Layout) -> Layout:
    return layout


def _take(x: Tensor, places: Tensor) -> Tensor:
    """[T, ...] at places [A, B] → [A, B, ...]."""
    return x.index_select(0, places.flatten()).unflatten(0, places.shape)
