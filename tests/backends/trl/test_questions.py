"""TRL sees our questions, in our order, as our tokens."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from transformers import ProcessorMixin

from backends.base.stage import Stage
from backends.models.encoding import Encoder, EncodingError
from backends.models.families import family
from backends.training.samples import QuestionOrder
from backends.trl.questions import Questions
from benchmarks.base import Item

from .conftest import SMALL


def questions(items: list[Item], encoder: Encoder, **stage: Any) -> Questions:
    return Questions(items, Stage.model_validate(SMALL | stage), 7, encoder)


def test_a_step_asks_what_a_step_of_our_trainer_asks(items: list[Item], encoder: Encoder) -> None:
    ours = QuestionOrder(items, 3, 7)
    theirs = questions(items, encoder, questions_per_step=3, steps=9)
    rows = theirs.conversations()
    assert len(rows) == 27
    for step in range(9):
        drawn = [theirs.drawn(row) for row in range(3 * step, 3 * step + 3)]
        assert drawn == ours.at(step)
        shown = rows[3 * step : 3 * step + 3]
        contents = [p[-1]["content"] for p in shown["prompt"]]
        assert [c[-1]["text"] for c in contents] == [d.item.question for d in drawn]
        assert [len(images) for images in shown["images"]] == [len(d.item.images) for d in drawn]


@pytest.mark.parametrize("template", ["plain", "boxed", "think", "lmm_r1"])
def test_the_tokens_are_those_of_our_encoder(
    items: list[Item], processor: ProcessorMixin, template: str
) -> None:
    from trl.data_utils import prepare_multimodal_messages

    encoder = Encoder(family("qwen2_5_vl"), processor, 2048)
    marked = [replace(i, question=f"Is {'<image>' * len(i.images)} it?") for i in items[:4]]
    two = (items[0].images[0], items[1].images[0])
    marked[0] = replace(items[0], question="Compare <image> with <image>.", images=two)
    asked = questions(
        [*marked, *items[4:]], encoder, template=template, questions_per_step=8, steps=1
    )
    rows = asked.conversations()[:8]
    conversations = [
        prepare_multimodal_messages(prompt, images=images)
        for prompt, images in zip(rows["prompt"], rows["images"], strict=True)
    ]
    found = processor.apply_chat_template(
        conversations, add_generation_prompt=True, tokenize=True, return_dict=True
    )
    for row, ids in enumerate(found["input_ids"]):
        prompt = asked.prompt(row)
        assert prompt is not None
        assert list(ids) == prompt.input_ids.tolist()


def test_a_prompt_that_is_too_long_is_replaced_by_an_empty_one(
    items: list[Item], encoder: Encoder
) -> None:
    long = [replace(items[0], question="x" * 500), *items[1:]]
    asked = questions(long, encoder, questions_per_step=8, steps=1)
    (row,) = (row for row in range(8) if asked.drawn(row).item.id == "q0")
    assert asked.prompt(row) is None
    shown = asked.conversations()[row]
    assert shown["images"] == []
    assert shown["prompt"] == [{"role": "user", "content": ""}]
    assert asked.longest(0) < 256


def test_a_special_token_in_a_question_is_named(items: list[Item], encoder: Encoder) -> None:
    bad = [replace(items[0], question="What is <|image_pad|>?"), *items[1:]]
    with pytest.raises(EncodingError, match=r"'q0' contains '<\|image_pad\|>'"):
        questions(bad, encoder)
    questions(bad, encoder, objective="sft", rewards=[])  # whose tokens are ours
