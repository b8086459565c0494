"""The formulas against torch's own counter, on the tiny model."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoConfig, AutoModelForImageTextToText, PreTrainedModel

from benchmarks import tiny


def script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


flops = script("flops")


@pytest.fixture(scope="module")
def model() -> PreTrainedModel:
    """The tiny world's sizes but for a windowed layer; attention as plain products, which are
    counted in full."""
    config = AutoConfig.from_pretrained(tiny.checkpoint())
    config.vision_config.fullatt_block_indexes = [1]
    return AutoModelForImageTextToText.from_config(config, attn_implementation="eager").eval()


def counted(work: Callable[[], object]) -> int:
    counter = FlopCounterMode(display=False)
    with counter:
        work()
    return counter.get_total_flops()


@pytest.mark.parametrize("grid", [(1, 6, 6), (1, 16, 16), (1, 10, 18)])
def test_the_vision_tower(model: PreTrainedModel, grid: tuple[int, int, int]) -> None:
    visual = model.model.visual
    patches = torch.zeros(grid[1] * grid[2], 3 * 2 * 14 * 14)
    found = counted(lambda: visual(patches, torch.tensor([grid])))
    assert flops.vision(model.config.vision_config, grid) == found


@pytest.mark.parametrize("tokens", [1, 7, 40])
def test_the_language_model(model: PreTrainedModel, tokens: int) -> None:
    ids = torch.ones(1, tokens, dtype=torch.long)
    text = model.config.text_config
    expected = flops.language(text, tokens, tokens * tokens) + flops.vocabulary(text, tokens)
    assert counted(lambda: model(input_ids=ids)) == expected


def test_a_backward_pass_is_two_forward_passes(model: PreTrainedModel) -> None:
    embeds = torch.randn(1, 9, model.config.text_config.hidden_size, requires_grad=True)

    def run(backward: bool) -> None:
        states = model.model.language_model(inputs_embeds=embeds).last_hidden_state
        if backward:
            states.sum().backward()

    forward, both = counted(lambda: run(False)), counted(lambda: run(True))
    assert both / forward == pytest.approx(flops.FORWARD_AND_BACKWARD, rel=1e-3)


def test_pairs_are_those_that_see_each_other() -> None:
    prompt, responses = 5, [3, 0, 4]
    pairs = sum(range(1, prompt + 1))
    pairs += sum(prompt + own for n in responses for own in range(1, n + 1))
    assert flops.causal_pairs(prompt, responses) == pairs


def test_sharing_a_prompt_saves_its_copies(model: PreTrainedModel) -> None:
    def of(responses: list[int], shared: bool) -> int:
        return flops.update(model.config, 50, [(1, 6, 6)], responses, shared)

    assert of([8], True) == of([8], False)
    assert of([8, 3], False) == of([8], False) + of([3], False)
    once = flops.vision(model.config.vision_config, (1, 6, 6)) + flops.language(
        model.config.text_config, 50, flops.causal_pairs(50, [])
    )
    assert of([8] * 4, False) - of([8] * 4, True) == 3 * 3 * once
