"""Floating-point operations of a Qwen2.5-VL model by formula: what the work takes, not what an
implementation spends on it.

A multiplication with an addition counts as 2. Counted are matrix products (projections, both
products of attention over the pairs of places that see each other, the vocabulary) and the vision
tower; norms, activations and rotations are not, nor is what is computed again in a backward pass
(arXiv 2204.02311, appendix B). A backward pass is two forward passes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

FORWARD_AND_BACKWARD = 3


def causal_pairs(prompt: int, responses: Sequence[int]) -> int:
    """Pairs (query, key) of a prompt and the fed tokens of its responses, the prompt once."""
    pairs = prompt * (prompt + 1) // 2
    return pairs + sum(n * prompt + n * (n + 1) // 2 for n in responses)


def language(config: Any, tokens: int, pairs: int) -> int:
    """A forward of the decoder layers. ``config`` is the text configuration."""
    hidden, heads = config.hidden_size, config.num_attention_heads
    size = hidden // heads
    projections = 2 * hidden * hidden + 2 * hidden * size * config.num_key_value_heads
    weights = projections + 3 * hidden * config.intermediate_size
    return config.num_hidden_layers * (2 * tokens * weights + 4 * pairs * hidden)


def vocabulary(config: Any, tokens: int) -> int:
    """The projection of ``tokens`` hidden states to the vocabulary."""
    return 2 * tokens * config.hidden_size * config.vocab_size


def vision(config: Any, grid: Sequence[int]) -> int:
    """A forward of the vision tower on one picture of ``grid`` (frames, rows, columns of patches).

    All but the layers of ``fullatt_block_indexes`` attend within windows, smaller at the edges.
    """
    frames, rows, columns = map(int, grid)
    patches, hidden = frames * rows * columns, config.hidden_size
    side = config.window_size // config.patch_size
    windows = sum(
        (min(side, rows - r) * min(side, columns - c)) ** 2
        for r in range(0, rows, side)
        for c in range(0, columns, side)
    )
    full = len(set(config.fullatt_block_indexes) & set(range(config.depth)))
    pairs = frames * (full * (rows * columns) ** 2 + (config.depth - full) * windows)
    weights = 4 * hidden * hidden + 3 * hidden * config.intermediate_size
    patch = config.in_channels * config.temporal_patch_size * config.patch_size**2
    merged = hidden * config.spatial_merge_size**2
    merger = merged * merged + merged * config.out_hidden_size
    return (
        2 * patches * (patch * hidden + config.depth * weights)
        + 4 * pairs * hidden
        + 2 * (patches // config.spatial_merge_size**2) * merger
    )


def update(
    config: Any, prompt: int, grids: Sequence[Sequence[int]], responses: Sequence[int], shared: bool
) -> int:
    """Forward and backward of one group: a prompt of ``prompt`` tokens with pictures of ``grids``,
    and responses of so many tokens, of which the last is predicted but not fed.

    ``shared``: prompt and pictures once for the group; else once for every response, as in a
    trainer whose rows are independent.
    """
    text, seen = config.text_config, sum(vision(config.vision_config, grid) for grid in grids)
    fed = [max(n - 1, 0) for n in responses]
    head = vocabulary(text, sum(responses))
    if shared:
        forward = seen + language(text, prompt + sum(fed), causal_pairs(prompt, fed)) + head
    else:
        rows = (language(text, prompt + n, causal_pairs(prompt, [n])) for n in fed)
        forward = len(responses) * seen + sum(rows) + head
    return FORWARD_AND_BACKWARD * forward
