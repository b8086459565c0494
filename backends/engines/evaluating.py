"""A model in the state in which it samples: eval mode, and the attention that suits it."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from transformers import AttentionInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from backends.models.families import family_of

if TYPE_CHECKING:
    from transformers import PreTrainedModel

# The attention of single tokens, see _grouped_attention.
_GROUPED = "sdpa_grouped"


class Evaluating:
    """Eval mode while any batch is sampled (in training mode, checkpointed layers refuse a cache),
    and the attention that suits sampling. The first to enter sets them, the last to leave restores
    them."""

    def __init__(self, model: PreTrainedModel) -> None:
        self._model = model
        self._config = family_of(model).language_model(model).config
        self._lock = threading.Lock()
        self._inside = 0

    def __enter__(self) -> None:
        with self._lock:
            self._inside += 1
            if self._inside > 1:
                return
            config = self._config
            self._before = self._model.training, config._attn_implementation
            self._model.eval()
            if config._attn_implementation == "sdpa":
                config._attn_implementation = _GROUPED

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            if not self._inside:
                training, attention = self._before
                self._config._attn_implementation = attention
                self._model.train(training)


def _grouped_attention(
    module: Any, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, **settings: Any
) -> tuple[Tensor, None]:
    """Hugging Face's own ``sdpa``, but for single query tokens [R, heads, 1, d] with fewer key
    heads [R, key heads, L, d]: the query heads that share a key head become its queries. Same sums,
    and the cache is read where it lies; ``sdpa`` with a mask copies it once per query head."""
    rows, heads, length, size = query.shape
    shared = key.shape[1]
    if length != 1 or shared == heads:
        return sdpa_attention_forward(module, query, key, value, mask, **settings)
    out = torch.nn.functional.scaled_dot_product_attention(
        query.reshape(rows, shared, heads // shared, size),
        key,
        value,
        attn_mask=mask,
        scale=settings.get("scaling"),
    )
    return out.reshape(rows, 1, heads, size), None


AttentionInterface.register(_GROUPED, _grouped_attention)
