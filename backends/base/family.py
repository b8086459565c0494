"""The contract of a model family: what is particular to one architecture, and to no other."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor
    from torch.nn import Module

#: What a model is given of one picture, by the name under which its forward takes it. Those of
#: several pictures are joined along the first dimension.
Picture = Mapping[str, "Tensor"]


class ModelFamily(ABC):
    """How text and pictures become what the models of one ``config.model_type`` read, and where
    their parts are.

    A package offers one as ``family.<model_type>`` (see :mod:`benchmarks.plugins`); an object of it
    holds no state and serves every model. What is written here is right for a model of text whose
    layers are called as Hugging Face's are; a family with pictures writes the rest too.
    ``backends.testing.FamilyContract`` compares all of it with the stock model.

    ``P`` counts the tokens of a prompt, ``A`` the axes of a position, ``H`` the hidden size.
    """

    #: ``config.model_type`` of its models.
    model_type: str
    #: Raised with every change of what it computes: part of the keys of results.
    version: str
    #: A: 1 counts tokens; 3 are time, height and width of a multimodal rotary embedding.
    axes: int = 1
    #: Whether its models look at pictures: then they come with a processor, else with a tokenizer.
    reads_pictures: bool = False
    #: Special tokens that stand for pictures. A model that emitted one could not be asked further
    #: (picture tokens without features), so they have probability 0 in engine and trainer alike.
    never_sampled: tuple[str, ...] = ()

    # ------------------------------------------------------------------------------- the model

    def packed(self, config: Any) -> bool:
        """Whether every layer is full causal attention by this configuration, so that responses can
        share their prompt's keys and values in one packed forward."""
        return set(config.get_text_config().layer_types) == {"full_attention"}

    def prepare(self, model: Any) -> None:
        """Exchange modules of a loaded model for equal ones that are faster, in place."""
        return None

    @abstractmethod
    def language_model(self, model: Any) -> Any:
        """The module, a ``PreTrainedModel``, that takes :meth:`layer_inputs` to the last hidden
        states."""

    def vision_tower(self, model: Any) -> Module | None:
        """The module that looks at pictures; None where there is none."""
        return None

    def layer_inputs(
        self,
        embeds: Tensor,
        position_ids: Tensor,
        mask: Any,
        places: Tensor | None = None,
        features: Tensor | None = None,
    ) -> dict[str, Any]:
        """What :meth:`language_model` is called with, beside its cache.

        ``embeds`` [B, L, H] of the tokens, ``position_ids`` [A, B, L]; ``mask`` is what each layer
        is to get as its attention mask (None: causal). ``features`` [N, F] are those of all
        pictures in order, for the N True ``places`` [B, L]; None where there is no picture.
        """
        return {
            "inputs_embeds": embeds,
            "position_ids": position_ids[0] if self.axes == 1 else position_ids,
            "attention_mask": {"full_attention": mask},
        }

    # ---------------------------------------------------------------------------- the request

    def placeholder(self, processor: Any) -> int | None:
        """The id that stands in a prompt once for every feature of a picture."""
        return None

    def positions(
        self, input_ids: Tensor, pictures: Sequence[Picture], processor: Any
    ) -> tuple[Tensor, int]:
        """Positions [A, P] of a prompt [P], and that of the token that follows it."""
        import torch

        count = len(input_ids)
        return torch.arange(count).expand(self.axes, -1), count

    # --------------------------------------------------------------------------- its pictures

    def scale(self, processor: Any, min_pixels: int | None, max_pixels: int | None) -> None:
        """Let the processor scale pictures to between so many pixels (None: its own limit)."""
        raise NotImplementedError(f"{self.model_type} models read no pictures")

    def pictures(self, processor: Any, images: Sequence[Image]) -> list[Picture]:
        """The tensors of each picture, all prepared in one call of the processor."""
        raise NotImplementedError(f"{self.model_type} models read no pictures")

    def tokens(self, processor: Any, picture: Picture) -> int:
        """How many placeholders stand for a picture in a prompt: the number of its features."""
        raise NotImplementedError(f"{self.model_type} models read no pictures")

    def features(self, model: Any, pictures: Picture) -> Sequence[Tensor]:
        """Features [tokens, F] of each of several pictures, whose tensors are joined."""
        raise NotImplementedError(f"{self.model_type} models read no pictures")

    def blank(self, model: Any) -> Picture:
        """The smallest picture, for a rank that must look at one while another rank does."""
        raise NotImplementedError(f"{self.model_type} models read no pictures")

    # ---------------------------------------------------------------- whoever runs the model

    def stock_inputs(
        self, input_ids: Tensor, pictures: Picture, placeholder: int | None
    ) -> dict[str, Any]:
        """What Hugging Face's own forward takes beside ``input_ids`` [B, L] and their mask;
        ``pictures`` are the joined tensors of all rows, empty where there are none."""
        return dict(pictures)

    def vllm_settings(self, processor: Any) -> dict[str, Any]:
        """Arguments of vLLM's ``LLM`` that let it take pictures as they are prepared here."""
        return {}

    def vllm_fields(self, pictures: Sequence[Picture]) -> dict[str, Any]:
        """How vLLM cuts the joined tensors into pictures: a ``MultiModalFieldConfig`` a name."""
        raise NotImplementedError(f"{self.model_type} models read no pictures")

    def vllm_head(self, model: Any) -> Any:
        """The output projection of vLLM's own module of this architecture."""
        return model.lm_head
