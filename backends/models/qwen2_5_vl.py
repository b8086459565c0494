"""The family of Qwen2.5-VL (arXiv 2502.13923).

Importing it loads no torch: a plan asks its version.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from backends.base.family import ModelFamily, Picture

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor
    from torch.nn import Module


class Qwen2_5VL(ModelFamily):
    """Qwen2.5-VL: pictures as patches of any number, positions of time, height and width."""

    model_type = "qwen2_5_vl"
    version = "2"
    axes = 3
    reads_pictures = True
    never_sampled = (
        "<|image_pad|>",
        "<|video_pad|>",
        "<|vision_pad|>",
        "<|vision_start|>",
        "<|vision_end|>",
    )

    def prepare(self, model: Any) -> None:
        import torch

        from backends.models.patches import PatchProjection

        patches = model.model.visual.patch_embed.proj
        if type(patches) is torch.nn.Conv3d:
            patches.__class__ = PatchProjection

    def language_model(self, model: Any) -> Any:
        return model.model.language_model

    def vision_tower(self, model: Any) -> Module:
        tower: Module = model.model.visual
        return tower

    def layer_inputs(
        self,
        embeds: Tensor,
        position_ids: Tensor,
        mask: Any,
        places: Tensor | None = None,
        features: Tensor | None = None,
    ) -> dict[str, Any]:
        if features is not None and places is not None:
            embeds = embeds.masked_scatter(places[..., None], features.to(embeds.dtype))
        return super().layer_inputs(embeds, position_ids, mask)

    def placeholder(self, processor: Any) -> int:
        token: int = processor.image_token_id
        return token

    def positions(
        self, input_ids: Tensor, pictures: Sequence[Picture], processor: Any
    ) -> tuple[Tensor, int]:
        """Multimodal rotary positions: text counts up on all three axes. A picture of t x h x w
        merged patches keeps its start on every axis and counts within it; the text after it goes
        on at start + max(h, w) (Qwen2-VL, arXiv 2409.12191 section 2.1; ``get_rope_index`` of the
        Hugging Face model, which the tests compare with)."""
        import torch

        spans: list[Tensor] = []
        is_picture = input_ids.eq(self.placeholder(processor))
        merge = processor.image_processor.merge_size
        start, at = 0, 0
        for picture in pictures:
            t, h, w = picture["image_grid_thw"][0].tolist()
            h, w = h // merge, w // merge
            text = int(is_picture[at:].int().argmax())
            spans.append(torch.arange(start, start + text).expand(3, -1))
            start += text
            axes = torch.meshgrid(torch.arange(t), torch.arange(h), torch.arange(w), indexing="ij")
            spans.append(torch.stack(axes).reshape(3, -1) + start)
            start += max(h, w)
            at += text + t * h * w
        spans.append(torch.arange(start, start + len(input_ids) - at).expand(3, -1))
        return torch.cat(spans, dim=1), start + len(input_ids) - at

    def scale(self, processor: Any, min_pixels: int | None, max_pixels: int | None) -> None:
        images = processor.image_processor
        images.size = {
            "shortest_edge": images.size["shortest_edge"] if min_pixels is None else min_pixels,
            "longest_edge": images.size["longest_edge"] if max_pixels is None else max_pixels,
        }

    def pictures(self, processor: Any, images: Sequence[Image]) -> list[Picture]:
        """``pixel_values`` [patches, patch_dim] and ``image_grid_thw`` [1, 3] of each picture."""
        read = processor.image_processor(images=list(images), return_tensors="pt")
        grids: Tensor = read["image_grid_thw"]
        patches = read["pixel_values"].split(grids.prod(-1).tolist())
        return [
            # Copies: a view of one picture would keep all of them in memory.
            {"pixel_values": piece.clone(), "image_grid_thw": grid[None].clone()}
            for piece, grid in zip(patches, grids, strict=True)
        ]

    def tokens(self, processor: Any, picture: Picture) -> int:
        merge: int = processor.image_processor.merge_size
        return int(picture["image_grid_thw"].prod()) // merge**2

    def features(self, model: Any, pictures: Picture) -> Sequence[Tensor]:
        found: Sequence[Tensor] = model.get_image_features(
            pictures["pixel_values"], pictures["image_grid_thw"]
        ).pooler_output
        return found

    def blank(self, model: Any) -> Picture:
        """One merged patch of zeros."""
        import torch

        vision = model.config.vision_config
        side = vision.spatial_merge_size
        patch = vision.in_channels * vision.temporal_patch_size * vision.patch_size**2
        return {
            "pixel_values": torch.zeros(side * side, patch),
            "image_grid_thw": torch.tensor([[1, side, side]]),
        }

    def stock_inputs(
        self, input_ids: Tensor, pictures: Picture, placeholder: int | None
    ) -> dict[str, Any]:
        assert placeholder is not None
        return {**pictures, "mm_token_type_ids": input_ids.eq(placeholder).int()}

    def vllm_settings(self, processor: Any) -> dict[str, Any]:
        size = processor.image_processor.size
        return {
            "limit_mm_per_prompt": {"image": 8, "video": 0},
            "mm_processor_kwargs": {
                "size": {k: size[k] for k in ("shortest_edge", "longest_edge")}
            },
            "mm_processor_cache_gb": 0,  # pictures come encoded
            "mm_device_do_normalize": False,  # and normalised
        }

    def vllm_fields(self, pictures: Sequence[Picture]) -> dict[str, Any]:
        import torch
        from vllm.multimodal.inputs import MultiModalFieldConfig

        patches = torch.cat([picture["image_grid_thw"] for picture in pictures]).prod(-1)
        return {
            "pixel_values": MultiModalFieldConfig.flat_from_sizes("image", patches),
            "image_grid_thw": MultiModalFieldConfig.batched("image", keep_on_cpu=True),
        }

    def vllm_head(self, model: Any) -> Any:
        return model.language_model.lm_head
