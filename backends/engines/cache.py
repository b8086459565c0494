"""The keys and values of a batch that is being sampled, written in place."""

from __future__ import annotations

from typing import Any

from torch import Tensor


class KVCache:
    """Keys and values of R rows in buffers [R, heads, ``prompt`` + ``room``, d], one pair a layer.

    A prompt fills columns from 0 on; the responses of all rows share the columns from ``prompt``
    on, so that a step writes one column. Hugging Face's ``DynamicCache`` copies everything at each
    step instead. Places that hold no token are zero, and for the caller to mask.

    Stands for ``past_key_values`` where the mask and the positions are given: ``update`` is what a
    model calls then.
    """

    def __init__(self, rows: int, prompt: int, room: int) -> None:
        self.rows, self.filled, self.length = rows, prompt, prompt + room
        self._layers: list[tuple[Tensor, Tensor]] = []

    def prompts(self, first: int, copies: int) -> PromptWriter:
        """The cache for a forward over whole prompts, of which the first is row ``first * copies``
        and each is ``copies`` rows."""
        return PromptWriter(self, first, copies)

    def advance(self) -> None:
        """Make the next column the one that ``update`` writes."""
        self.filled += 1

    def update(
        self, keys: Tensor, values: Tensor, layer: int, *_: Any, **__: Any
    ) -> tuple[Tensor, Tensor]:
        """Write one token of each row [R, heads, 1, d]; views of all that the rows hold then."""
        stored = self._layers[layer]
        for buffer, new in zip(stored, (keys, values), strict=True):
            buffer[:, :, self.filled - 1] = new[:, :, 0]
        return stored[0][:, :, : self.filled], stored[1][:, :, : self.filled]

    def write(self, layer: int, first: int, copies: int, new: tuple[Tensor, Tensor]) -> None:
        """Write prompts' keys and values [P, heads, length, d] into ``copies`` rows each."""
        if layer == len(self._layers):
            rows, heads, _, size = new[0].shape
            shape = (self.rows, heads, self.length, size)
            self._layers.append((new[0].new_zeros(shape), new[1].new_zeros(shape)))
        for buffer, part in zip(self._layers[layer], new, strict=True):
            rows, _, length, _ = part.shape
            place = buffer[first * copies : (first + rows) * copies, :, :length]
            place.unflatten(0, (rows, copies)).copy_(part[:, None])

    def select(self, keep: Tensor) -> None:
        """Keep these rows alone, in rising order."""
        for buffers in self._layers:
            for buffer in buffers:
                buffer[: len(keep), :, : self.filled] = buffer[:, :, : self.filled][keep]
        self._layers = [(k[: len(keep)], v[: len(keep)]) for k, v in self._layers]


class PromptWriter:
    """A :class:`KVCache` as a forward over whole prompts [P, ...] sees it: empty."""

    def __init__(self, cache: KVCache, first: int, copies: int) -> None:
        self._cache, self._first, self._copies = cache, first, copies

    def update(
        self, keys: Tensor, values: Tensor, layer: int, *_: Any, **__: Any
    ) -> tuple[Tensor, Tensor]:
        """Keep the prompts' keys and values; they attend to themselves."""
        self._cache.write(layer, self._first, self._copies, (keys, values))
        return keys, values
