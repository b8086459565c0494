"""Pictures as tensors: gathered in batches, and their features."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from backends.base.family import Picture
from backends.models.families import family_of

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass(frozen=True, eq=False)
class EncodedPicture:
    """A picture as a model reads it: the tensors of its family, and the hash of its file. Equal
    hash, equal tensors."""

    name: str
    tensors: Picture


@dataclass(frozen=True, eq=False)
class PictureBatch:
    """The D distinct ``pictures`` of several prompts, each once; ``order`` lists, for every
    occurrence in prompt order, which of them it shows."""

    pictures: tuple[EncodedPicture, ...]
    order: tuple[int, ...]

    def to(self, device: str | torch.device) -> PictureBatch:
        """The same pictures on another device."""
        moved = tuple(
            EncodedPicture(p.name, {name: x.to(device) for name, x in p.tensors.items()})
            for p in self.pictures
        )
        return PictureBatch(moved, self.order)


def joined(pictures: Sequence[EncodedPicture]) -> dict[str, torch.Tensor]:
    """The tensors of several pictures by name, along their first dimension; empty for none."""
    names = pictures[0].tensors if pictures else ()
    return {name: torch.cat([p.tensors[name] for p in pictures]) for name in names}


#: Main memory for the features of pictures, of each rank of a training with a frozen vision tower.
PICTURE_MEMORY = 2 << 30


class PictureCache:
    """Features [tokens, H] by picture: what a frozen vision tower says does not change in a
    training. They lie in main memory, of which they take up to ``limit`` bytes; then the pictures
    that were not asked for longest make room, but never one that is ``pinned``.
    """

    def __init__(self, limit: int = PICTURE_MEMORY) -> None:
        self.limit = limit
        self.pinned: frozenset[str] = frozenset()
        self._bytes = 0
        self._features: dict[str, torch.Tensor] = {}  # least recently asked for first

    def __contains__(self, name: str) -> bool:
        return name in self._features

    def get(self, name: str) -> torch.Tensor | None:
        """The features of the picture with this content hash, if they are kept."""
        found = self._features.pop(name, None)
        if found is not None:
            self._features[name] = found
        return found

    def keep(self, name: str, features: torch.Tensor) -> None:
        """Keep these, and forget others where there is no room."""
        self._features[name] = features = features.cpu()
        self._bytes += features.nbytes
        for other in list(self._features):
            if self._bytes <= self.limit:
                break
            if other not in self.pinned:
                self._bytes -= self._features.pop(other).nbytes


def picture_features(model: PreTrainedModel, batch: PictureBatch) -> torch.Tensor:
    """Features [tokens, F] of every occurrence of a picture, each distinct one computed once: of
    this batch, or where ``model.picture_cache`` is a :class:`PictureCache`, of a training."""
    cache: PictureCache | None = getattr(model, "picture_cache", None)
    if cache is None:
        distinct = family_of(model).features(model, joined(batch.pictures))
    else:
        distinct = _kept_features(model, batch.pictures, cache)
    return torch.cat([distinct[i] for i in batch.order])


def _kept_features(
    model: PreTrainedModel, pictures: Sequence[EncodedPicture], cache: PictureCache
) -> list[torch.Tensor]:
    """Features of each distinct picture. Those that are new go through the tower one by one: their
    bits must not depend on which others a resumed training, or another rank, still needs."""
    distinct = []
    for picture in pictures:
        features = cache.get(picture.name)
        if features is None:
            with torch.no_grad():
                (features,) = family_of(model).features(model, picture.tensors)
            cache.keep(picture.name, features)
        distinct.append(features.to(next(iter(picture.tensors.values())).device))
    return distinct
