"""Models on disk and in memory: Hugging Face folders in, Hugging Face folders out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForImageTextToText,
    AutoProcessor,
    AutoTokenizer,
)
from transformers.utils import logging as transformers_logging

from backends.base.family import ModelFamily
from backends.models.families import ModelError, family_at
from benchmarks.atomic import whole_folder

if TYPE_CHECKING:
    from transformers import PreTrainedModel, ProcessorMixin


# Whoever trains or asks shows its own progress; bars about reading shards would drown it.
transformers_logging.disable_progress_bar()


def load_model(
    path: str | Path, dtype: str | torch.dtype = "float32", device: str | torch.device = "cpu"
) -> PreTrainedModel:
    """Load a model from a folder in Hugging Face layout, in eval mode.

    ``dtype`` is "float32" or "bfloat16" (or the torch dtype). Raises :class:`ModelError` where
    the folder has no configuration or weights, and where any weight of the architecture was not
    in the files: such a weight would silently be random.
    """
    path = _folder(path)
    family = family_at(path)
    config = AutoConfig.from_pretrained(path, local_files_only=True)
    if not family.packed(config):
        raise ModelError(
            f"{path} has layers without full causal attention (sliding windows), which is not "
            "supported."
        )
    if not any(path.glob("*.safetensors")):
        raise ModelError(f"{path} holds no *.safetensors file: these are the model's weights.")
    auto = AutoModelForImageTextToText if family.reads_pictures else AutoModelForCausalLM
    model, info = auto.from_pretrained(
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
    family.prepare(model)
    return model.to(device).eval()


def load_processor(path: str | Path) -> ProcessorMixin:
    """Load the processor (tokenizer, image processor, chat template) of a model folder; of a model
    of text its tokenizer, which has the chat template.

    Raises :class:`ModelError` where a part is missing.
    """
    path = _folder(path)
    looks = family_at(path).reads_pictures
    if looks and not (path / "processor_config.json").exists():
        _require(path, "preprocessor_config.json", "the image processor")
    _require(path, "tokenizer_config.json", "the tokenizer")
    auto = AutoProcessor if looks else AutoTokenizer
    processor = auto.from_pretrained(path, local_files_only=True)
    if looks and not hasattr(processor, "image_processor"):
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


def tokenizer_of(processor: ProcessorMixin) -> Any:
    """The tokenizer of a processor, which a model of text has alone."""
    return getattr(processor, "tokenizer", processor)


def stop_token_ids(model: PreTrainedModel, processor: ProcessorMixin) -> tuple[int, ...]:
    """Ids that end a response; the first is the tokenizer's end of turn."""
    ids = [tokenizer_of(processor).eos_token_id]
    eos = model.generation_config.eos_token_id
    ids += eos if isinstance(eos, list) else [eos]
    return tuple(dict.fromkeys(i for i in ids if i is not None))


def suppressed_token_ids(family: ModelFamily, processor: ProcessorMixin) -> tuple[int, ...]:
    """Ids that are never sampled and have probability 0 in engine and trainer alike, in rising
    order."""
    vocabulary = tokenizer_of(processor).get_vocab()
    return tuple(sorted(vocabulary[t] for t in family.never_sampled if t in vocabulary))


def pad_token_id(processor: ProcessorMixin) -> int:
    """The id that fills rows up: the tokenizer's own, else its end of turn."""
    tokenizer = tokenizer_of(processor)
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
