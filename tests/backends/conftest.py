"""A tiny random Qwen2.5-VL with a byte-level tokenizer and a real processor, built in code."""

from __future__ import annotations

import io
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from torch import Tensor
from transformers import (
    PreTrainedModel,
    PreTrainedTokenizerFast,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2_5_VLProcessor,
    Qwen2VLImageProcessor,
    Qwen2VLVideoProcessor,
)

from backends.models.encoding import Encoder
from backends.models.families import family
from backends.models.folders import save_checkpoint
from benchmarks.base import Item

# Matrices this small are slower on several threads, and far slower where the cores are shared.
torch.set_num_threads(1)

SPECIAL = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|vision_pad|>",
    "<|image_pad|>",
    "<|video_pad|>",
)

TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n"
    "{% if m['content'] is string %}{{ m['content'] }}{% else %}{% for c in m['content'] %}"
    "{% if c['type'] == 'image' %}<|vision_start|><|image_pad|><|vision_end|>"
    "{% else %}{{ c['text'] }}{% endif %}{% endfor %}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def _processor() -> Qwen2_5_VLProcessor:
    """Byte-level tokenizer (256 bytes, no merges) and Qwen's own image processor."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE(vocab={c: i for i, c in enumerate(alphabet)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        additional_special_tokens=list(SPECIAL),
    )
    return Qwen2_5_VLProcessor(
        image_processor=Qwen2VLImageProcessor(min_pixels=28 * 28, max_pixels=28 * 28 * 16),
        tokenizer=fast,
        video_processor=Qwen2VLVideoProcessor(),
        chat_template=TEMPLATE,
    )


def _model(processor: Qwen2_5_VLProcessor, seed: int = 0, tied: bool = True) -> PreTrainedModel:
    """The real architecture, windowed and full vision attention, 0.1 M random weights."""
    ids = processor.tokenizer.get_vocab()
    eos = ids["<|im_end|>"]
    config = Qwen2_5_VLConfig(
        text_config={
            "vocab_size": len(ids),
            "hidden_size": 64,
            "intermediate_size": 96,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "max_position_embeddings": 2048,
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": 10000.0,
                "mrope_section": [2, 3, 3],
            },
            "bos_token_id": None,
            "eos_token_id": eos,
            "pad_token_id": ids["<|endoftext|>"],
            "tie_word_embeddings": tied,
            # Ten times the usual spread: a random model must have an opinion to be tested on.
            "initializer_range": 0.2,
        },
        vision_config={
            "depth": 2,
            "hidden_size": 32,
            "intermediate_size": 48,
            "num_heads": 2,
            "out_hidden_size": 64,
            "window_size": 56,
            "fullatt_block_indexes": [1],
            "initializer_range": 0.2,
        },
        image_token_id=ids["<|image_pad|>"],
        video_token_id=ids["<|video_pad|>"],
        vision_start_token_id=ids["<|vision_start|>"],
        vision_end_token_id=ids["<|vision_end|>"],
        tie_word_embeddings=tied,
    )
    torch.manual_seed(seed)
    model = Qwen2_5_VLForConditionalGeneration(config)
    model.generation_config.eos_token_id = [eos, ids["<|endoftext|>"]]
    model.generation_config.pad_token_id = ids["<|endoftext|>"]
    return model.eval()


def _picture(seed: int, width: int = 84, height: int = 84) -> bytes:
    """A PNG of random coarse blocks."""
    blocks = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    out = io.BytesIO()
    Image.fromarray(blocks).resize((width, height), Image.Resampling.NEAREST).save(out, "PNG")
    return out.getvalue()


@pytest.fixture(scope="session")
def processor() -> Qwen2_5_VLProcessor:
    return _processor()


@pytest.fixture(scope="session")
def picture() -> Callable[..., bytes]:
    """``picture(seed, width=84, height=84)``: a PNG of random coarse blocks."""
    return _picture


@pytest.fixture(scope="session")
def build_model(processor: Qwen2_5_VLProcessor) -> Callable[..., PreTrainedModel]:
    """``build_model(seed=0, tied=True)``: the same weights for the same arguments."""
    return partial(_model, processor)


@pytest.fixture(scope="session")
def encoder(processor: Qwen2_5_VLProcessor) -> Encoder:
    return Encoder(family("qwen2_5_vl"), processor, max_prompt_tokens=256)


@pytest.fixture
def model(build_model: Callable[..., PreTrainedModel]) -> PreTrainedModel:
    """A fresh model each time: tests may train it."""
    return build_model()


@pytest.fixture(scope="session")
def model_folder(
    tmp_path_factory: pytest.TempPathFactory,
    processor: Qwen2_5_VLProcessor,
    build_model: Callable[..., PreTrainedModel],
) -> Path:
    """The tiny model as a checkpoint folder in Hugging Face layout."""
    return save_checkpoint(build_model(), processor, tmp_path_factory.mktemp("model") / "tiny")


@pytest.fixture(scope="session")
def base(model_folder: Path) -> dict[str, Tensor]:
    """The weights that every training of it starts from."""
    return load_file(model_folder / "model.safetensors")


@pytest.fixture(scope="session")
def items(picture: Callable[..., bytes]) -> list[Item]:
    """Eight questions, every third without a picture, with labels and one worked solution."""
    return [
        Item(
            f"q{i}",
            f"What is {i} + {i}?",
            answer=str(2 * i),
            images=() if i % 3 == 2 else (picture(i),),
            solution=f"{i} and {i} are {2 * i}" if i == 0 else "",
        )
        for i in range(8)
    ]
