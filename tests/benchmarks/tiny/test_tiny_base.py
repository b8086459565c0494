"""The shipped base: it loads like any Qwen2.5-VL, follows its prompts, and can be regenerated.

What makes the tiny world work is held here: the vote is better than a sample where it should be,
and mostly wrong on the hard split.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks import tiny
from benchmarks.prompts import SYNTHESIS, Template, templates
from benchmarks.tiny.splits import item, split

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

ROOT = Path(__file__).resolve().parents[3]
SHAPES = {
    "boxed": r".+ \\boxed\{-?[\d.]+\}",
    "think": r"<think>.+</think> <answer>-?[\d.]+</answer>",
    "direct": r"-?[\d.]+",
    "answer_first": r"<answer>-?[\d.]+</answer> <reason>.+</reason>",
}


@pytest.fixture(scope="module")
def check() -> Any:
    """``experiments.tiny.check``: experiments are no installed package, so import from the root."""
    sys.path.insert(0, str(ROOT))
    try:
        from experiments.tiny import check

        yield check
    finally:
        sys.path.remove(str(ROOT))


def answers(check: Any, mode: Template, count: int) -> list[str]:
    """Greedy responses to the first questions of the mini MathVista under a template."""
    items = [item("mathvista", i, a) for i, a in enumerate(split("mathvista")[:count])]
    greedy, _ = check.responses(tiny.checkpoint(), items, mode, samples=1)
    return list(greedy)


def test_the_files_are_a_hugging_face_checkpoint_below_four_megabytes() -> None:
    names = {path.name for path in tiny.checkpoint().iterdir()}
    assert names >= {
        *("config.json", "generation_config.json", "model.safetensors", "tokenizer.json"),
        *("tokenizer_config.json", "preprocessor_config.json", "chat_template.jinja"),
    }
    assert sum(path.stat().st_size for path in tiny.checkpoint().iterdir()) < 4e6
    config = json.loads((tiny.checkpoint() / "config.json").read_text())
    assert config["architectures"] == ["Qwen2_5_VLForConditionalGeneration"]


@pytest.mark.parametrize(
    "text",
    [
        "What is the sum of A and C?",
        "Ünïcode 漢字 🙂 \x00\t\r\n",
        *(t.user for t in templates().values()),
    ],
)
def test_the_tokenizer_encodes_any_text(text: str) -> None:
    tokenizer = transformers.AutoTokenizer.from_pretrained(tiny.checkpoint())
    assert tokenizer.decode(tokenizer(text)["input_ids"]) == text


def test_the_chat_template_is_qwens_with_an_optional_system_turn() -> None:
    processor = transformers.AutoProcessor.from_pretrained(tiny.checkpoint())
    picture_turn = {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "Q?"}]}
    user = "<|im_start|>user\n<|vision_start|><|image_pad|><|vision_end|>Q?<|im_end|>\n"
    prompt = processor.apply_chat_template([picture_turn], add_generation_prompt=True)
    assert prompt == user + "<|im_start|>assistant\n"
    turns = [{"role": "system", "content": "S."}, picture_turn]
    assert processor.apply_chat_template(turns) == "<|im_start|>system\nS.<|im_end|>\n" + user


def test_big_pictures_are_made_to_fit() -> None:
    from PIL import Image

    processor = transformers.AutoProcessor.from_pretrained(tiny.checkpoint())
    text = "<|vision_start|><|image_pad|><|vision_end|>"
    batch = processor(text=[text], images=[[Image.new("RGB", (1600, 900))]], return_tensors="pt")
    pads = int(
        (batch["input_ids"] == processor.tokenizer.convert_tokens_to_ids("<|image_pad|>")).sum()
    )
    assert 20 <= pads <= 36


@pytest.mark.parametrize("mode", list(SHAPES))
def test_the_base_follows_the_mode_of_its_prompt(check: Any, mode: str) -> None:
    responses = answers(check, templates()[mode], 50)
    followed = [bool(re.fullmatch(SHAPES[mode], response)) for response in responses]
    assert sum(followed) >= 48, responses


@pytest.mark.parametrize("name", list(SYNTHESIS))
def test_the_base_writes_questions_about_the_picture(check: Any, name: str) -> None:
    """Questions that it has learnt to write, of the family that the picture shows."""
    words = {
        "bars": r"value|sum|difference|mean",
        "dial": "dial",
        "triangle": "angle",
        "line": r"slope|f\(",
    }
    responses = answers(check, SYNTHESIS[name], 50)
    families = [asked.problem.scene.family for asked in split("mathvista")[:50]]
    right = [
        response.endswith("?") and bool(re.search(words[family], response))
        for family, response in zip(families, responses, strict=True)
    ]
    assert sum(right) >= 45, responses


def test_the_vote_beats_a_sample_and_the_hard_split_misleads_it(check: Any) -> None:
    figures = check.measure(tiny.checkpoint(), "mathvista", "boxed", limit=150)["all"]
    assert 0.60 <= figures.greedy <= 0.88
    assert figures.majority >= figures.pass_1 + 0.18
    assert figures.majority >= figures.greedy + 0.03
    hard = check.measure(tiny.checkpoint(), "hard_test", "boxed", limit=100)["all"]
    assert hard.majority < 0.35


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_the_script_regenerates_a_base_that_behaves_like_the_shipped_one(
    check: Any, tmp_path: Path
) -> None:
    """Not bit for bit: rounding differs between machines. But greedy, pass@1 and maj@8 of the mini
    MathVista agree within 0.12 (three standard errors of a difference at n = 300), and so do pass@1
    of every kind within 0.20 where the kind has at least 35 questions."""
    run = subprocess.run(
        [sys.executable, "-m", "experiments.tiny.pretrain", "--out", str(tmp_path)],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    for name in ("mathvista", "hard_test"):
        shipped = check.measure(tiny.checkpoint(), name, "boxed")
        ours = check.measure(tmp_path, name, "boxed")
        for figure in ("greedy", "pass_1", "majority"):
            a, b = getattr(shipped["all"], figure), getattr(ours["all"], figure)
            assert abs(a - b) <= 0.12, (name, figure, a, b)
        for kind in (kind for kind, f in shipped.items() if f.n >= 35):
            assert abs(shipped[kind].pass_1 - ours[kind].pass_1) <= 0.20, (name, kind)
