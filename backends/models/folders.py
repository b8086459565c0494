"""Models on disk and in memory: Hugging Face folders in, Hugging Face folders out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from transformers import AutoConfig, AutoModelForImageTextToText, AutoProcessor
from transformers.utils import logging as transformers_logging

from benchmarks.atomic import whole_folder

if TYPE_CHECKING:
    from transformers import PreTrainedModel, ProcessorMixin


# Whoever trains or asks shows its own progress; bars about reading shards would drown it.
transformers_logging.disable_progress_bar()

_ARCHITECTURE = "qwen2_5_vl"

#: Tokens that stand for a picture in a prompt. A policy that emitted one would make the next
#: forward fail ("image features and image tokens do not match"), so nothing ever samples them.
_VISION_TOKENS = (
    "<|image_pad|>",
    "<|video_pad|>",
    "<|vision_pad|>",
    "<|vision_start|>",
    "<|vision_end|>",
)


class ModelError(ValueError):
    """A model folder that cannot be used. The message names the folder and what it lacks."""


def load_model(
    path: str | Path, dtype: str | torch.dtype = "float32", device: str | torch.device = "cpu"
) -> PreTrainedModel:
    """Load a vision-language model from a folder in Hugging Face layout, in eval mode.

    ``dtype`` is "float32" or "bfloat16" (or the torch dtype). Raises :class:`ModelError` where
    the folder has no configuration or weights, and where any weight of the architecture was not
    in the files: such a weight would silently be random.
    """
    path = _folder(path)
    _require(path, "config.json", "the model's configuration")
    config = AutoConfig.from_pretrained(path, local_files_only=True)
    if config.model_type != _ARCHITECTURE:
        raise ModelError(
            f"{path} is a {config.model_type!r} model: this trainer and the hf engine know "
            f"{_ARCHITECTURE}, whose picture positions they compute themselves."
        )
    if set(config.text_config.layer_types) != {"full_attention"}:
        raise ModelError(f"{path} uses sliding-window attention, which is not supported.")
    if not any(path.glob("*.safetensors")):
        raise ModelError(f"{path} holds no *.safetensors file: these are the model's weights.")
    model, info = AutoModelForImageTextToText.from_pretrained(
        path,
        dtype=_dtype(dtype),
        attn_implementation="sdpa",
        local_files_only=True,
        output_loading_info=True,
    )
    for problem in ("missing_keys", "mismatched_keys"):
        if keys := sorted(map(str, info[problem])):
            raise ModelError(
                f"{path}: {len(keys)} weights are {problem.removesuffix('_keys')} and would be "
                f"random, among them {', '.join(keys[:3])}: they must be those of config.json."
            )
    patches = model.model.visual.patch_embed.proj
    if type(patches) is torch.nn.Conv3d:
        patches.__class__ = PatchProjection
    return model.to(device).eval()


class PatchProjection(torch.nn.Conv3d):
    """The vision tower's first layer. Its stride is its kernel, so each patch is one place of the
    convolution: a matrix product, in a third of the time on a CPU. One class for sampling and
    training, so that a picture's features have the same bits in both."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Patches [P, channels, frames, height, width] to [P, H]."""
        return torch.nn.functional.linear(input.flatten(1), self.weight.flatten(1), self.bias)


def load_processor(path: str | Path) -> ProcessorMixin:
    """Load the processor (tokenizer, image processor, chat template) of a model folder.

    Raises :class:`ModelError` where a part is missing.
    """
    path = _folder(path)
    if not (path / "processor_config.json").exists():
        _require(path, "preprocessor_config.json", "the image processor")
    _require(path, "tokenizer_config.json", "the tokenizer")
    processor = AutoProcessor.from_pretrained(path, local_files_only=True)
    if not hasattr(processor, "image_processor"):
        raise ModelError(f"{path} has a tokenizer but no image processor: not a vision model?")
    if not processor.chat_template:
        raise ModelError(f"{path} has no chat template (chat_template.jinja).")
    return processor


def save_checkpoint(
    model: PreTrainedModel,
    processor: ProcessorMixin,
    path: str | Path,
    state: Mapping[str, torch.Tensor] | None = None,
) -> Path:
    """Write a checkpoint in Hugging Face layout (safetensors, config, processor) and return its
    folder.

    ``state`` replaces the model's own weights, for a model whose parameters are partitioned
    (ZeRO-3). The folder appears whole or not at all, and replaces an older checkpoint at
    ``path``: see :func:`benchmarks.atomic.whole_folder`.
    """
    path = Path(path)
    with whole_folder(path) as fresh:
        model.save_pretrained(fresh, state_dict=None if state is None else dict(state))
        processor.save_pretrained(fresh)
    return path


def stop_token_ids(model: PreTrainedModel, processor: ProcessorMixin) -> tuple[int, ...]:
    """Ids that end a response; the first is the tokenizer's end of turn."""
    ids = [processor.tokenizer.eos_token_id]
    eos = model.generation_config.eos_token_id
    ids += eos if isinstance(eos, list) else [eos]
    return tuple(dict.fromkeys(i for i in ids if i is not None))


def suppressed_token_ids(processor: ProcessorMixin) -> tuple[int, ...]:
    """Ids that are never sampled and have probability 0 in engine and trainer alike, in rising
    order."""
    vocabulary = processor.tokenizer.get_vocab()
    return tuple(sorted(vocabulary[token] for token in _VISION_TOKENS if token in vocabulary))


def pad_token_id(processor: ProcessorMixin) -> int:
    """The id that fills rows up: the tokenizer's own, else its end of turn."""
    tokenizer: Any = processor.tokenizer
    return tokenizer.eos_token_id if tokenizer.pad_token_id is None else tokenizer.pad_token_id


def suppress(logits: torch.Tensor, ids: Iterable[int]) -> torch.Tensor:
    """Set the logits [..., V] of the suppressed ids to minus infinity, in place, and return
    them."""
    if ids := list(ids):
        logits[..., ids] = -torch.inf
    return logits


def _folder(path: str | Path) -> Path:
    path = Path(path)
    if not path.is_dir():
        raise ModelError(f"{path} is not a folder: a model is a folder in Hugging Face layout.")
    return path


def _require(path: Path, name: str, what: str) -> None:
    if not (path / name).exists():
        raise ModelError(f"{path} has no {name}: {what} is missing.")


def _dtype(dtype: str | torch.dtype) -> torch.dtype:
    known = {"float32": torch.float32, "bfloat16": torch.bfloat16}
    if isinstance(dtype, torch.dtype):
        return dtype
    if dtype not in known:
        raise ModelError(f"unknown dtype {dtype!r}. Known: {', '.join(known)}.")
    return known[dtype]
