"""Loading, saving and encoding: what is on disk, and what a request becomes."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import PreTrainedModel, Qwen2_5_VLProcessor

from backends.base.engine import Request, Sampling
from backends.engines.hf import HFEngine
from backends.models.encoding import Encoder, EncodingError
from backends.models.families import ModelError, family
from backends.models.folders import (
    load_model,
    load_processor,
    save_checkpoint,
    suppressed_token_ids,
)
from backends.models.pictures import joined
from benchmarks.data.pictures import read_picture


def copy_of(folder: Path, tmp_path: Path, without: str = "") -> Path:
    path = tmp_path / "copy"
    shutil.copytree(folder, path)
    for name in path.glob(without) if without else ():
        name.unlink()
    return path


def test_a_checkpoint_comes_back_as_it_was(
    model: PreTrainedModel, model_folder: Path, processor: Qwen2_5_VLProcessor
) -> None:
    loaded = load_model(model_folder)
    assert not loaded.training
    for (name, found), (_, want) in zip(
        loaded.named_parameters(), model.named_parameters(), strict=True
    ):
        assert torch.equal(found, want), name
    text = processor.apply_chat_template(
        [{"role": "user", "content": "hello"}], tokenize=False, add_generation_prompt=True
    )
    again = load_processor(model_folder)
    assert again.tokenizer(text)["input_ids"] == processor.tokenizer(text)["input_ids"]
    assert again.image_processor.size == processor.image_processor.size
    qwen = family("qwen2_5_vl")
    assert suppressed_token_ids(qwen, again) == suppressed_token_ids(qwen, processor) != ()


def test_bfloat16_loads_and_generates(model_folder: Path) -> None:
    engine = HFEngine.from_path(model_folder, dtype="bfloat16", max_prompt_tokens=64)
    assert engine.model.dtype == torch.bfloat16
    [(_, [response])] = engine.generate([Request("a", "x")], Sampling(max_tokens=4), logp=True)
    assert len(response.tokens) == len(response.logp) > 0


def test_saving_replaces_the_old_checkpoint_and_leaves_nothing_beside_it(
    build_model: Callable[..., PreTrainedModel], processor: Qwen2_5_VLProcessor, tmp_path: Path
) -> None:
    path = tmp_path / "out" / "checkpoint"
    for killed in (".checkpoint.1.new", ".checkpoint.2.old"):  # by processes that were killed
        (path.parent / killed).mkdir(parents=True)
    for seed in (0, 1):
        assert save_checkpoint(build_model(seed=seed), processor, path) == path
    assert [p.name for p in path.parent.iterdir()] == ["checkpoint"]
    found = load_model(path).get_input_embeddings().weight
    assert torch.equal(found, build_model(seed=1).get_input_embeddings().weight)


def test_a_state_replaces_the_models_own_weights(
    build_model: Callable[..., PreTrainedModel], processor: Qwen2_5_VLProcessor, tmp_path: Path
) -> None:
    state = build_model(seed=1).state_dict()
    path = save_checkpoint(build_model(seed=0), processor, tmp_path / "checkpoint", state)
    for name, weight in load_model(path).state_dict().items():
        assert torch.equal(weight, state[name]), name


@pytest.mark.parametrize(
    ("without", "message"),
    [("config.json", "no config.json"), ("*.safetensors", "no \\*.safetensors file")],
)
def test_a_folder_without_model(
    model_folder: Path, tmp_path: Path, without: str, message: str
) -> None:
    with pytest.raises(ModelError, match=message):
        load_model(copy_of(model_folder, tmp_path, without))


@pytest.mark.parametrize(
    ("without", "message"),
    [
        ("*processor_config.json", "no preprocessor_config.json"),
        ("tokenizer_config.json", "no tokenizer_config.json"),
        ("chat_template.jinja", "no chat template"),
    ],
)
def test_a_folder_without_processor(
    model_folder: Path, tmp_path: Path, without: str, message: str
) -> None:
    with pytest.raises(ModelError, match=message):
        load_processor(copy_of(model_folder, tmp_path, without))


def test_no_folder_and_no_such_dtype(model_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="is not a folder"):
        load_model(tmp_path / "nothing")
    with pytest.raises(ModelError, match=r"unknown dtype 'fp8'\. Known: float32, bfloat16"):
        load_model(model_folder, dtype="fp8")


def test_a_weight_that_is_missing_is_an_error_and_not_random(
    model_folder: Path, tmp_path: Path
) -> None:
    path = copy_of(model_folder, tmp_path)
    [file] = path.glob("*.safetensors")
    weights = load_file(file)
    gone = next(name for name in weights if "layers.1.mlp.up_proj" in name)
    del weights[gone]
    save_file(weights, file, metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"1 weights are missing .*layers\.1\.mlp\.up_proj"):
        load_model(path)


def test_another_architecture_is_refused(model_folder: Path, tmp_path: Path) -> None:
    path = copy_of(model_folder, tmp_path)
    config = json.loads((path / "config.json").read_text())
    config["model_type"] = "llava"
    (path / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError, match=r"'llava' .* qwen2_5_vl"):
        load_model(path)


def processed(
    processor: Qwen2_5_VLProcessor, content: list[dict[str, str]], images: Sequence[bytes]
) -> Any:
    """The processor's own encoding of a user's message."""
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": content}]
    return processor(
        text=processor.apply_chat_template(messages, tokenize=False, add_generation_prompt=True),
        images=[read_picture(image) for image in images],
        return_tensors="pt",
    )


def test_encoding_equals_the_processors_own(
    encoder: Encoder, processor: Qwen2_5_VLProcessor, picture: Callable[..., bytes]
) -> None:
    images = (picture(1), picture(2, 56, 112))
    prompt = encoder.encode(Request("a", "How many? Count.", images, system="Be brief."))
    assert prompt is not None
    content = [{"type": "image"}, {"type": "image"}, {"type": "text", "text": "How many? Count."}]
    expected = processed(processor, content, images)
    assert torch.equal(prompt.input_ids, expected["input_ids"][0])
    for name, tensor in joined(prompt.pictures).items():
        assert torch.equal(tensor, expected[name])


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("Is <image> or <image> more?", ["Is ", None, " or ", None, " more?"]),
        ("<image>more than<image>", [None, "more than", None]),
        ("<image><image>How many?", [None, None, "How many?"]),
        ("How many?", [None, None, "How many?"]),
    ],
)
def test_pictures_stand_where_the_text_has_them(
    encoder: Encoder,
    processor: Qwen2_5_VLProcessor,
    picture: Callable[..., bytes],
    text: str,
    parts: list[str | None],
) -> None:
    images = (picture(1), picture(2, 56, 112))
    prompt = encoder.encode(Request("a", text, images, system="Be brief."))
    assert prompt is not None
    content = [{"type": "text", "text": p} if p else {"type": "image"} for p in parts]
    expected = processed(processor, content, images)
    assert torch.equal(prompt.input_ids, expected["input_ids"][0])
    assert torch.equal(joined(prompt.pictures)["image_grid_thw"], expected["image_grid_thw"])


@pytest.mark.parametrize("text", ["One <image>?", "<image><image><image>?"])
def test_another_number_of_marks_than_of_pictures_is_named(
    encoder: Encoder, picture: Callable[..., bytes], text: str
) -> None:
    said = f"request 'q6': its text has {text.count('<image>')} <image> for 2 pictures"
    with pytest.raises(EncodingError, match=said):
        encoder.encode(Request("q6", text, (picture(1), picture(2))))


def test_a_picture_is_encoded_upright_and_in_8_bits(encoder: Encoder) -> None:
    """What a camera turned and what has 16 bits is read as the plain picture of the same."""
    blocks = np.random.default_rng(0).integers(0, 256, (4, 8), dtype=np.uint16)
    grey = np.kron(blocks, np.ones((21, 21), np.uint16))
    plain = Image.fromarray(grey.astype(np.uint8)).convert("RGB")
    lying = Image.Exif()
    lying[0x0112] = 6
    turned = plain.transpose(Image.Transpose.ROTATE_90)
    expected = encoder.encode(Request("a", "?", (png(plain),)))
    assert expected is not None
    for data in (png(Image.fromarray(grey * 257)), png(turned, exif=lying)):
        prompt = encoder.encode(Request("a", "?", (data,)))
        assert prompt is not None
        assert torch.equal(prompt.input_ids, expected.input_ids)
        for name, tensor in joined(prompt.pictures).items():
            assert torch.equal(tensor, joined(expected.pictures)[name])
    unturned = encoder.encode(Request("a", "?", (png(turned),)))
    assert unturned is not None
    grid = joined(unturned.pictures)["image_grid_thw"]
    assert not torch.equal(grid, joined(expected.pictures)["image_grid_thw"])


def test_the_mark_of_a_picture_is_text_where_there_is_none(encoder: Encoder) -> None:
    prompt = encoder.encode(Request("a", "What is <image>?"))
    assert prompt is not None
    assert "What is <image>?" in encoder.tokenizer.decode(prompt.input_ids)


@pytest.mark.parametrize("count", [0, 1, 2])
def test_special_strings_in_a_question_stay_text(
    encoder: Encoder, picture: Callable[..., bytes], count: int
) -> None:
    text = "a<|image_pad|>b<|im_end|>c<|vision_start|>"
    prompt = encoder.encode(Request("a", text, tuple(picture(i) for i in range(count))))
    plain = encoder.encode(Request("a", "x", tuple(picture(i) for i in range(count))))
    assert prompt is not None
    assert plain is not None
    special = set(encoder.tokenizer.all_special_ids)

    def specials(ids: torch.Tensor) -> list[int]:
        return [i for i in ids.tolist() if i in special]

    assert specials(prompt.input_ids) == specials(plain.input_ids)
    assert text in encoder.tokenizer.decode(prompt.input_ids)
    assert not special & set(encoder.response(text)[:-1])


def test_a_prompt_is_dropped_exactly_above_its_limit(
    processor: Qwen2_5_VLProcessor, picture: Callable[..., bytes]
) -> None:
    request = Request("a", "question", (picture(1),))
    qwen = family("qwen2_5_vl")
    prompt = Encoder(qwen, processor, 10_000).encode(request)
    assert prompt is not None
    assert Encoder(qwen, processor, len(prompt)).encode(request) is not None
    assert Encoder(qwen, processor, len(prompt) - 1).encode(request) is None


def png(image: Image.Image, **options: Any) -> bytes:
    out = io.BytesIO()
    image.save(out, "PNG", **options)
    return out.getvalue()


def test_transparent_pictures_are_laid_on_white() -> None:
    rgba = Image.new("RGBA", (2, 1), (0, 0, 0, 0))
    rgba.putpixel((0, 0), (0, 0, 0, 255))
    assert list(read_picture(png(rgba)).get_flattened_data()) == [(0, 0, 0), (255, 255, 255)]
    palette = Image.new("P", (1, 1), 0)
    palette.putpalette([9, 9, 9])
    assert read_picture(png(palette, transparency=0)).getpixel((0, 0)) == (255, 255, 255)


def test_a_broken_picture_names_its_request(encoder: Encoder, tmp_path: Path) -> None:
    with pytest.raises(
        EncodingError, match=r"request 'q7': the picture \(3 bytes\) cannot be read"
    ):
        encoder.encode(Request("q7", "x", (b"abc",)))
    with pytest.raises(EncodingError, match=r"request 'q8': the picture \(.*gone.png\)"):
        encoder.encode(Request("q8", "x", (tmp_path / "gone.png",)))
    long = png(Image.new("L", (2010, 10)))
    with pytest.raises(
        EncodingError, match=r"request 'q9': .* 200 times the shorter at most; crop"
    ):
        encoder.encode(Request("q9", "x", (long,)))


@pytest.mark.parametrize(("placed", "tokens"), [(0, 0), (2, 10)])
def test_picture_tokens_that_do_not_match_the_features_are_an_error(
    model_folder: Path, picture: Callable[..., bytes], placed: int, tokens: int
) -> None:
    processor = load_processor(model_folder)
    processor.chat_template = processor.chat_template.replace(
        "<|image_pad|>", "<|image_pad|>" * placed
    )
    with pytest.raises(
        EncodingError, match=rf"'q9' has {tokens} picture tokens for 9 features of its 1 pictures"
    ):
        Encoder(family("qwen2_5_vl"), processor, 256).encode(Request("q9", "x", (picture(1),)))
