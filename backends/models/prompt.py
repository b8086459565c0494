"""What a model reads of one request: ids, positions, patches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    pass
from backends.models.pictures import PictureBatch


@dataclass(frozen=True, eq=False)
class Prompt:
    """One encoded prompt of P tokens with I pictures, on the CPU.

    ``input_ids`` [P]; ``position_ids`` [3, P] (time, height, width of multimodal RoPE);
    ``next_position`` is the position of the first response token on all three axes.
    ``pixel_values`` [patches, patch_dim] and ``image_grid_thw`` [I, 3] are None without pictures.
    ``pictures`` [I] are content hashes: equal hash, equal patches.
    """

    input_ids: Tensor
    position_ids: Tensor
    next_position: int
    pixel_values: Tensor | None = None
    image_grid_thw: Tensor | None = None
    pictures: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.input_ids)


def distinct_pictures(prompts: Sequence[Prompt]) -> PictureBatch | None:
    """Gather the pictures of several prompts, each distinct one once; None where there are none."""
    place: dict[str, int] = {}
    patches, grids, order = [], [], []
    for prompt in prompts:
        if prompt.pixel_values is None or prompt.image_grid_thw is None:
            continue
        pieces = prompt.pixel_values.split(prompt.image_grid_thw.prod(-1).tolist())
        for name, piece, grid in zip(prompt.pictures, pieces, prompt.image_grid_thw, strict=True):
            if name not in place:
                place[name] = len(place)
                patches.append(piece)
                grids.append(grid)
            order.append(place[name])
    if not order:
        return None
    return PictureBatch(torch.cat(patches), torch.stack(grids), tuple(order), tuple(place))
