"""Pictures: read from files, gathered in batches, and their features."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from PIL import Image
from torch import Tensor

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass(frozen=True, eq=False)
class PictureBatch:
    """The distinct pictures of several prompts, each once.

    ``pixel_values`` [patches, patch_dim], ``image_grid_thw`` [D, 3]; ``order`` lists, for every
    occurrence in prompt order, which of the D pictures it shows. ``names`` [D] are their content
    hashes, none where nobody keeps what is computed of them.
    """

    pixel_values: Tensor
    image_grid_thw: Tensor
    order: tuple[int, ...]
    names: tuple[str, ...] = ()

    def to(self, device: str | torch.device) -> PictureBatch:
        """The same pictures on another device."""
        return PictureBatch(
            self.pixel_values.to(device), self.image_grid_thw.to(device), self.order, self.names
        )


def read_picture(data: bytes) -> Image.Image:
    """Decode an image file to RGB; transparent parts become white, as in Qwen's own reader
    (``to_rgb`` of qwen_vl_utils). Dropping alpha instead would turn many diagrams into black
    squares."""
    image: Image.Image = Image.open(io.BytesIO(data))
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        image = image if image.mode == "RGBA" else image.convert("RGBA")
        if image.getchannel("A").getextrema()[0] == 255:  # nothing shows through: skip the work
            return image.convert("RGB")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    return image.convert("RGB")


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


def picture_features(model: PreTrainedModel, pictures: PictureBatch) -> torch.Tensor:
    """Features [tokens, H] of every occurrence of a picture, each distinct one computed once: of
    this batch, or where ``model.picture_cache`` is a :class:`PictureCache`, of a training."""
    cache: PictureCache | None = getattr(model, "picture_cache", None)
    if cache is None or not pictures.names:
        distinct = model.get_image_features(
            pictures.pixel_values, pictures.image_grid_thw
        ).pooler_output
    else:
        distinct = _kept_features(model, pictures, cache)
    return torch.cat([distinct[i] for i in pictures.order])


def _kept_features(
    model: PreTrainedModel, pictures: PictureBatch, cache: PictureCache
) -> list[torch.Tensor]:
    """Features of each distinct picture. Those that are new go through the tower one by one: their
    bits must not depend on which others a resumed training, or another rank, still needs."""
    distinct = []
    patches = pictures.pixel_values.split(pictures.image_grid_thw.prod(-1).tolist())
    for name, piece, grid in zip(pictures.names, patches, pictures.image_grid_thw, strict=True):
        features = cache.get(name)
        if features is None:
            with torch.no_grad():
                (features,) = model.get_image_features(piece, grid[None]).pooler_output
            cache.keep(name, features)
        distinct.append(features.to(piece.device))
    return distinct
