"""What a model reads of one request: ids, positions, pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from backends.models.pictures import EncodedPicture, PictureBatch

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, eq=False)
class Prompt:
    """One encoded prompt of P tokens, on the CPU.

    ``input_ids`` [P]; ``position_ids`` [A, P] on the axes of the family; ``next_position`` is the
    position of the first response token on all of them. ``placeholder`` is the id that stands for
    the features of ``pictures``, once for each.
    """

    input_ids: Tensor
    position_ids: Tensor
    next_position: int
    pictures: tuple[EncodedPicture, ...] = ()
    placeholder: int | None = None

    def __len__(self) -> int:
        return len(self.input_ids)

    @property
    def places(self) -> Tensor:
        """Which tokens stand for a picture's features: booleans [P]."""
        return self.input_ids == (-1 if self.placeholder is None else self.placeholder)


def distinct_pictures(prompts: Sequence[Prompt]) -> PictureBatch | None:
    """Gather the pictures of several prompts, each distinct one once; None where there are none."""
    place: dict[str, int] = {}
    distinct, order = [], []
    for prompt in prompts:
        for picture in prompt.pictures:
            if picture.name not in place:
                place[picture.name] = len(place)
                distinct.append(picture)
            order.append(place[picture.name])
    return PictureBatch(tuple(distinct), tuple(order)) if order else None
