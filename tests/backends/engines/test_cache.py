"""The cache that is written in place against Hugging Face's, which grows by copying."""

from __future__ import annotations

import torch
from transformers import DynamicCache

from backends.engines.cache import KVCache


def test_it_holds_what_a_growing_cache_holds() -> None:
    torch.manual_seed(0)
    layers, copies, lengths = 2, 3, [5, 5, 4]
    ours = KVCache(rows=copies * len(lengths), prompt=5, room=4)
    theirs = DynamicCache()

    def states(rows: int, length: int) -> tuple[torch.Tensor, torch.Tensor]:
        return torch.randn(rows, 2, length, 8), torch.randn(rows, 2, length, 8)

    prompts = [states(3, 5) for _ in range(layers)]
    for key, value in prompts:  # the third prompt is shorter: what fills it up is not kept
        key[2, :, 4] = value[2, :, 4] = 0
    for first, rows in ((0, [0, 1]), (2, [2])):  # in two pieces
        writer = ours.prompts(first, copies)
        for layer, pair in enumerate(prompts):
            key, value = (states[rows, :, : lengths[rows[0]]] for states in pair)
            seen = writer.update(key, value, layer)
            assert seen[0] is key
            assert seen[1] is value
    for layer, (key, value) in enumerate(prompts):
        theirs.update(key, value, layer)
    theirs.batch_repeat_interleave(copies)

    def step(rows: int) -> None:
        ours.advance()
        for layer in range(layers):
            new = states(rows, 1)
            for a, b in zip(ours.update(*new, layer), theirs.update(*new, layer), strict=True):
                assert torch.equal(a, b)

    step(9)
    step(9)
    for keep in ([0, 2, 3, 7, 8], [1, 4], [0]):
        ours.select(torch.tensor(keep))
        theirs.batch_select_indices(torch.tensor(keep))
        if len(keep) < 5:
            step(len(keep))
