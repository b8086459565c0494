"""What every model family must do, as tests against the stock model and its own processor."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
import torch
from torch import Tensor

from backends.base.engine import Request, Sampling
from backends.base.family import ModelFamily
from backends.deepspeed.policy.packing import pack
from backends.deepspeed.policy.policy import Policy
from backends.engines.hf import HFEngine
from backends.models.encoding import Encoder
from backends.models.folders import tokenizer_of
from backends.models.pictures import joined
from backends.models.prompt import Prompt
from backends.training.groups import Group
from benchmarks.data.pictures import read_picture

#: How far two ways to compute the same may be apart in float32, relative and absolute.
CLOSE = 1e-5


class FamilyContract:
    """Subclass it, and give it three pytest fixtures: ``family``; ``model``, a small random one of
    it in eval mode and float32, fresh for each test; ``processor``, with a chat template (of a
    model of text its tokenizer). ``requests`` should have pictures where it looks at any."""

    @pytest.fixture
    def requests(self) -> list[Request]:
        """Requests of several lengths; with no, one and two pictures of several sizes."""
        return [Request("a", "How many?"), Request("b", "And 1 + 1?", system="Be brief.")]

    @pytest.fixture
    def encoder(self, family: ModelFamily, processor: Any) -> Encoder:
        return Encoder(family, processor, max_prompt_tokens=4096)

    @pytest.fixture
    def prompts(self, encoder: Encoder, requests: list[Request]) -> list[Prompt]:
        return [prompt for prompt in encoder.encode_all(requests) if prompt is not None]

    @pytest.fixture
    def groups(self, prompts: list[Prompt], encoder: Encoder) -> list[Group]:
        """Every prompt with three responses, of one token and of several."""
        responses = [encoder.response(text)[: 1 + 3 * i] for i, text in enumerate(("y", "is", "x"))]
        return [Group(prompt, responses) for prompt in prompts]

    def test_it_says_what_it_is(self, family: ModelFamily, model: Any) -> None:
        assert family.model_type == model.config.model_type
        assert family.version

    def test_ids_and_pictures_are_the_processors_own(
        self,
        family: ModelFamily,
        processor: Any,
        requests: list[Request],
        prompts: list[Prompt],
    ) -> None:
        for request, prompt in zip(requests, prompts, strict=True):
            text = processor.apply_chat_template(
                _messages(request, family), tokenize=False, add_generation_prompt=True
            )
            data = [p if isinstance(p, bytes) else p.read_bytes() for p in request.images]
            images = {"images": [read_picture(each) for each in data]} if data else {}
            expected = processor(text=[text], return_tensors="pt", **images)
            assert torch.equal(prompt.input_ids, expected["input_ids"][0])
            for name, tensor in joined(prompt.pictures).items():
                assert torch.equal(tensor, expected[name]), name

    def test_positions_are_the_stock_models(
        self, family: ModelFamily, model: Any, groups: list[Group]
    ) -> None:
        """Of the prompt, and of a response that follows it."""
        for group in groups:
            response = group.responses[-1]
            after = group.prompt.next_position + torch.arange(len(response))
            own = torch.cat([group.prompt.position_ids, after.expand(family.axes, -1)], dim=1)
            assert torch.equal(own, _stock_positions(family, model, group, response))

    def test_a_picture_has_a_feature_for_each_of_its_tokens(
        self, family: ModelFamily, model: Any, processor: Any, prompts: list[Prompt]
    ) -> None:
        pictures = [picture for prompt in prompts for picture in prompt.pictures]
        if not family.reads_pictures:
            assert not pictures
            return
        assert len(pictures) > 1, "give requests with pictures"
        for prompt in prompts:
            counts = [family.tokens(processor, each.tensors) for each in prompt.pictures]
            assert int(prompt.places.sum()) == sum(counts)
        with torch.no_grad():
            together = family.features(model, joined(pictures))
            for picture, features in zip(pictures, together, strict=True):
                assert len(features) == family.tokens(processor, picture.tensors)
                (alone,) = family.features(model, picture.tensors)
                torch.testing.assert_close(alone, features, rtol=CLOSE, atol=CLOSE)
            (blank,) = family.features(model, family.blank(model))
        assert blank.isfinite().all()

    def test_packed_log_probabilities_are_those_of_the_stock_forward(
        self, family: ModelFamily, model: Any, encoder: Encoder, groups: list[Group]
    ) -> None:
        assert family.packed(model.config)
        with torch.no_grad():
            expected = torch.cat(
                [_stock_logp(model, encoder, g, r) for g in groups for r in g.responses]
            )
            own = Policy(model, encoder.suppressed)(pack(groups, "cpu"))
        torch.testing.assert_close(own, expected, rtol=CLOSE, atol=CLOSE)

    def test_greedy_sampling_is_the_stock_models(
        self,
        family: ModelFamily,
        model: Any,
        encoder: Encoder,
        requests: list[Request],
        prompts: list[Prompt],
    ) -> None:
        answers = dict(HFEngine(model, encoder).generate(requests, Sampling(max_tokens=6)))
        for index, prompt in enumerate(prompts):
            ids = prompt.input_ids[None]
            expected = model.generate(
                input_ids=ids,
                attention_mask=torch.ones_like(ids),
                **family.stock_inputs(ids, joined(prompt.pictures), prompt.placeholder),
                do_sample=False,
                max_new_tokens=6,
                **({"suppress_tokens": list(encoder.suppressed)} if encoder.suppressed else {}),
            )[0, len(prompt) :]
            assert answers[index][0].tokens == tuple(expected.tolist())

    def test_what_stands_for_a_picture_is_never_sampled(
        self, family: ModelFamily, processor: Any, encoder: Encoder
    ) -> None:
        if (placeholder := family.placeholder(processor)) is not None:
            assert placeholder in encoder.suppressed
        vocabulary = tokenizer_of(processor).get_vocab()
        assert {vocabulary[t] for t in family.never_sampled} == set(encoder.suppressed)

    def test_its_parts_are_parts_of_the_model(self, family: ModelFamily, model: Any) -> None:
        whole = {id(p) for p in model.parameters()}
        layers = {id(p) for p in family.language_model(model).parameters()}
        assert layers
        assert layers <= whole
        tower = family.vision_tower(model)
        assert (tower is not None) == family.reads_pictures
        if tower is not None:
            seen = {id(p) for p in tower.parameters()}
            assert seen
            assert seen <= whole - layers


def _messages(request: Request, family: ModelFamily) -> list[dict[str, Any]]:
    content: Any = request.text
    if family.reads_pictures:
        content = [
            *([{"type": "image"}] * len(request.images)),
            {"type": "text", "text": request.text},
        ]
    system = [{"role": "system", "content": request.system}] if request.system else []
    return [*system, {"role": "user", "content": content}]


def _stock_positions(family: ModelFamily, model: Any, group: Group, response: list[int]) -> Tensor:
    """As the Hugging Face model has them; one that has no way of its own counts."""
    prompt = group.prompt
    ids = torch.cat([prompt.input_ids, torch.tensor(response)])[None]
    own = getattr(model.model, "get_rope_index", None)
    if own is None:
        return torch.arange(ids.shape[1]).expand(family.axes, -1)
    given = family.stock_inputs(ids, joined(prompt.pictures), prompt.placeholder)
    taken = inspect.signature(own).parameters
    found: Tensor = own(ids, **{name: x for name, x in given.items() if name in taken})[0]
    return found[:, 0]


def _stock_logp(model: Any, encoder: Encoder, group: Group, response: list[int]) -> Tensor:
    """log p of the response's tokens, by one stock forward of it alone."""
    prompt = group.prompt
    ids = torch.cat([prompt.input_ids, torch.tensor(response)])[None]
    given = encoder.family.stock_inputs(ids, joined(prompt.pictures), prompt.placeholder)
    logits = model(input_ids=ids, attention_mask=torch.ones_like(ids), **given).logits
    logits = logits[0, len(prompt) - 1 : -1].float()
    logits[:, list(encoder.suppressed)] = -torch.inf
    return logits.log_softmax(-1).gather(-1, torch.tensor(response)[:, None])[:, 0]
