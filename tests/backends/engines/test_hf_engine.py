"""The `hf` engine against Hugging Face's own generate, against itself, and against the trainer."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import islice

import pytest
import torch
from transformers import PreTrainedModel, Qwen2_5_VLProcessor

from backends.base.engine import Request, Response, Sampling
from backends.deepspeed.policy.packing import pack
from backends.deepspeed.policy.policy import Policy
from backends.engines.choice import choose
from backends.engines.hf import HFEngine
from backends.models.encoding import Encoder
from backends.models.pictures import joined
from backends.training.groups import Group
from benchmarks.data.pictures import read_picture


@pytest.fixture
def engine(model: PreTrainedModel, encoder: Encoder) -> HFEngine:
    return HFEngine(model, encoder)


@pytest.fixture
def requests(picture: Callable[..., bytes]) -> list[Request]:
    """Prompts of several lengths, with no, one and two pictures, one of them shared."""
    rng = random.Random(0)
    images = [
        (),
        (picture(1),),
        (picture(2, 56, 112), picture(3)),
        (picture(1),),
        (),
        (picture(4),),
    ]
    return [
        Request(f"r{i}", "".join(rng.choices("abc 123", k=rng.randint(2, 20))), own)
        for i, own in enumerate(images)
    ]


def responses(
    engine: HFEngine, requests: list[Request], sampling: Sampling
) -> dict[str, list[Response]]:
    """By request id."""
    found = dict(engine.generate(requests, sampling, logp=True))
    assert sorted(found) == list(range(len(requests)))
    return {requests[i].id: group for i, group in found.items()}


def test_greedy_equals_generate_token_for_token(
    engine: HFEngine, requests: list[Request], model: PreTrainedModel
) -> None:
    """Two likeliest tokens that lie within rounding (1e-5) of each other would part them: of these
    144 tokens on one processor in some five hundred."""
    found = responses(engine, requests, Sampling(max_tokens=24))
    for request in requests:
        prompt = engine.encoder.encode(request)
        assert prompt is not None
        ids = prompt.input_ids[None]
        expected = model.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            mm_token_type_ids=(ids == model.config.image_token_id).int(),
            **joined(prompt.pictures),
            do_sample=False,
            max_new_tokens=24,
            suppress_tokens=list(engine.suppressed),
        )[0, len(prompt) :]
        assert found[request.id][0].tokens == tuple(expected.tolist())


def test_pictures_between_words_are_read_where_they_stand(
    engine: HFEngine,
    model: PreTrainedModel,
    processor: Qwen2_5_VLProcessor,
    picture: Callable[..., bytes],
) -> None:
    """Against the model's own generate on what its processor makes of the message, in which the
    parts come in this order. The likeliest tokens of these prompts are not within rounding."""
    two = (picture(2, 56, 112), picture(3))
    content = [
        *({"type": "text", "text": "Compare "}, {"type": "image"}),
        *({"type": "text", "text": " with "}, {"type": "image"}, {"type": "text", "text": "."}),
    ]
    chat = processor.apply_chat_template(
        [{"role": "user", "content": content}], tokenize=False, add_generation_prompt=True
    )
    found = {}
    for name, images in (("as asked", two), ("the other way round", two[::-1])):
        request = Request(name, "Compare <image> with <image>.", images)
        (response,) = responses(engine, [request], Sampling(max_tokens=16))[name]
        given = processor(
            text=chat, images=[read_picture(each) for each in images], return_tensors="pt"
        )
        given["mm_token_type_ids"] = (given["input_ids"] == model.config.image_token_id).int()
        expected = model.generate(
            **given, do_sample=False, max_new_tokens=16, suppress_tokens=list(engine.suppressed)
        )[0, given["input_ids"].shape[1] :]
        assert response.tokens == tuple(expected.tolist())
        found[name] = response.logp
    assert found["as asked"] != found["the other way round"]


def test_text_does_not_depend_on_batch_order_or_rank(
    engine: HFEngine, requests: list[Request], model: PreTrainedModel, encoder: Encoder
) -> None:
    """Rounding hangs on the shape of a batch. A draw within it (1e-6) of where two tokens meet
    would part the texts: of these 216 tokens, three times over, on one processor in a thousand by
    this estimate (nobody counted)."""
    sampling = Sampling(n=3, temperature=1.0, max_tokens=12, seed=5)
    expected = responses(engine, requests, sampling)
    assert responses(engine, requests[::-1], sampling).keys() == expected.keys()
    alone = {k: v for r in requests for k, v in responses(engine, [r], sampling).items()}
    small = responses(HFEngine(model, encoder, tokens_per_batch=200), requests[::-1], sampling)
    two_ranks = responses(engine, requests[::2], sampling) | responses(
        engine, requests[1::2], sampling
    )
    for other in (alone, small, two_ranks):
        assert {k: [r.tokens for r in v] for k, v in other.items()} == {
            k: [r.tokens for r in v] for k, v in expected.items()
        }


def test_samples_differ_by_index_by_request_and_by_seed(engine: HFEngine) -> None:
    def texts(id: str, seed: int) -> list[tuple[int, ...]]:
        sampling = Sampling(n=4, temperature=1.0, max_tokens=12, seed=seed)
        return [r.tokens for r in responses(engine, [Request(id, "same")], sampling)[id]]

    everything = texts("a", 0) + texts("b", 0) + texts("a", 1)
    assert len(set(everything)) == len(everything)
    assert texts("a", 0) == texts("a", 0)


def test_a_longer_limit_continues_the_same_sample(engine: HFEngine) -> None:
    request = Request("a", "same")
    short, long = (
        responses(engine, [request], Sampling(n=2, temperature=1.0, max_tokens=k))["a"]
        for k in (4, 20)
    )
    for cut, whole in zip(short, long, strict=True):
        assert whole.tokens[: len(cut.tokens)] == cut.tokens


@pytest.mark.parametrize("temperature", [0.0, 0.7, 1.0])
def test_logp_equals_the_trainer(
    engine: HFEngine, requests: list[Request], model: PreTrainedModel, temperature: float
) -> None:
    found = responses(engine, requests, Sampling(n=3, temperature=temperature, max_tokens=10))
    groups = []
    for request in requests:
        prompt = engine.encoder.encode(request)
        assert prompt is not None
        groups.append(Group(prompt, [list(r.tokens) for r in found[request.id]]))
    with torch.no_grad():
        expected = Policy(model, engine.suppressed)(pack(groups, "cpu"), temperature or 1.0)
    logp = torch.tensor([x for r in requests for s in found[r.id] for x in s.logp])
    torch.testing.assert_close(logp, expected, rtol=1e-5, atol=2e-5)


def test_placeholders_are_never_sampled(model: PreTrainedModel, encoder: Encoder) -> None:
    engine = HFEngine(model, encoder)
    with torch.no_grad():  # a policy that wants nothing else
        hidden = model.config.text_config.hidden_size
        model.get_output_embeddings().weight[list(engine.suppressed)] = 5 * torch.randn(5, hidden)
    for temperature in (0.0, 1.0, 3.0):
        sampling = Sampling(n=64, temperature=temperature, max_tokens=16)
        found = responses(engine, [Request("a", "What?")], sampling)["a"]
        tokens = {t for r in found for t in r.tokens}
        assert tokens
        assert not tokens & set(engine.suppressed)


def test_why_a_response_ended(
    model: PreTrainedModel, encoder: Encoder, processor: Qwen2_5_VLProcessor
) -> None:
    engine = HFEngine(model, encoder)
    assert engine.stop_ids == (
        processor.tokenizer.eos_token_id,
        processor.tokenizer.pad_token_id,  # the second end token of the generation config
    )
    found = responses(
        engine, [Request("a", "What?")], Sampling(n=128, temperature=1.5, max_tokens=64)
    )["a"]
    stopped = [r for r in found if r.finish == "stop"]
    cut = [r for r in found if r.finish == "length"]
    assert stopped
    assert cut
    for r in stopped:
        assert r.tokens[-1] in engine.stop_ids
        assert not set(r.tokens[:-1]) & set(engine.stop_ids)
        assert "<|im_end|>" not in r.text
    for r in cut:
        assert len(r.tokens) == 64
        assert not set(r.tokens) & set(engine.stop_ids)
    assert all(len(r.logp) == len(r.tokens) for r in found)


def test_an_over_long_prompt_is_reported_and_not_cut(engine: HFEngine) -> None:
    requests = [Request("short", "a"), Request("long", "a" * 300), Request("also", "b")]
    found = dict(engine.generate(requests, Sampling(n=2, temperature=1.0, max_tokens=4)))
    assert found[1] == []
    assert len(found[0]) == len(found[2]) == 2


def test_results_come_batch_by_batch(model: PreTrainedModel, encoder: Encoder) -> None:
    engine = HFEngine(model, encoder, tokens_per_batch=1)
    calls = []
    hook = model.model.language_model.register_forward_hook(lambda *_: calls.append(1))
    requests = [Request(str(i), "a") for i in range(20)]
    answers = engine.generate(requests, Sampling(max_tokens=2))
    next(answers)
    begun = torch.get_num_threads() + 1  # batches: the first, and as many as there are threads
    assert 2 <= len(calls) <= 2 * begun < 2 * len(requests)
    assert len(list(answers)) == len(requests) - 1
    hook.remove()
    assert len(calls) == 2 * len(requests)


@pytest.mark.parametrize("stop", [None, 1], ids=["to the end", "left early"])
def test_batches_in_threads_give_the_same_texts(
    model: PreTrainedModel, encoder: Encoder, requests: list[Request], stop: int | None
) -> None:
    engine = HFEngine(model, encoder, tokens_per_batch=300)
    many = [replace(r, id=f"{r.id}.{i}") for i in range(6) for r in requests]
    sampling = Sampling(n=3, temperature=1.0, max_tokens=12, seed=5)
    expected = responses(engine, many, sampling)
    model.train()
    before, threads, together = torch.get_num_threads(), set[str](), threading.Barrier(3)

    def meet(*_: object) -> None:
        name = threading.current_thread().name
        if name not in threads:
            threads.add(name)
            together.wait()

    hook = model.model.language_model.register_forward_hook(meet)
    torch.set_num_threads(3)
    try:
        answers = engine.generate(many, sampling)
        assert isinstance(answers, Generator)
        found = dict(islice(answers, stop))
        answers.close()
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)
        hook.remove()
    assert len(threads) == 3
    assert model.training
    assert len(found) == (stop or len(many))
    for i, group in found.items():
        assert [r.tokens for r in group] == [r.tokens for r in expected[many[i].id]]


def test_threads_may_share_an_encoder(encoder: Encoder, requests: list[Request]) -> None:
    special = [replace(r, text=f"{r.text} <|image_pad|> {i}") for i, r in enumerate(requests * 8)]
    expected = [encoder.encode(r) for r in special]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(encoder.encode, special))
        texts = list(pool.map(lambda p: encoder.decode(p.input_ids.tolist()), expected))
    for ours, theirs, text in zip(found, expected, texts, strict=True):
        assert ours is not None
        assert theirs is not None
        assert torch.equal(ours.input_ids, theirs.input_ids)
        assert text == encoder.decode(theirs.input_ids.tolist())


def test_the_context_ends_a_response(
    model: PreTrainedModel, encoder: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in vLLM: prompt and response together have at most the context's tokens."""
    requests = [Request(f"r{k}", "a" * k) for k in (1, 8, 12, 13)]
    sampling = Sampling(n=8, temperature=1.0, max_tokens=40)
    whole = responses(HFEngine(model, encoder), requests, sampling)
    lengths = [len(prompt) for prompt in encoder.encode_all(requests) if prompt is not None]
    context = lengths[2] + 1
    assert lengths[3] == context
    monkeypatch.setattr(model.config.text_config, "max_position_embeddings", context)
    found = responses(HFEngine(model, encoder), requests, sampling)
    assert found["r13"] == []
    for request, length in zip(requests[:3], lengths, strict=False):
        room = context - length
        for cut, full in zip(found[request.id], whole[request.id], strict=True):
            assert cut.tokens == full.tokens[:room]
            assert cut.finish == (full.finish if len(full.tokens) <= room else "length")


def test_each_picture_is_computed_once(
    engine: HFEngine, requests: list[Request], model: PreTrainedModel
) -> None:
    patches = []
    hook = model.model.visual.register_forward_pre_hook(
        lambda _, args: patches.append(len(args[0]))
    )
    list(engine.generate(requests, Sampling(n=4, temperature=1.0, max_tokens=2)))
    hook.remove()
    assert patches == [
        6 * 6 + 4 * 8 + 6 * 6 + 6 * 6
    ]  # pictures 1, 2, 3, 4; picture 1 is asked of twice


def test_the_mode_of_a_model_in_training_is_left_as_it_was(
    engine: HFEngine, model: PreTrainedModel
) -> None:
    model.train()
    model.gradient_checkpointing_enable({"use_reentrant": False})
    expected = responses(engine, [Request("a", "x")], Sampling(max_tokens=8))["a"]
    assert model.training
    assert model.config.text_config._attn_implementation == "sdpa"
    assert "forward" not in vars(model.model.visual.patch_embed)
    model.eval()
    model.gradient_checkpointing_disable()
    assert responses(engine, [Request("a", "x")], Sampling(max_tokens=8))["a"] == expected


def test_choices_follow_the_distribution_and_the_nucleus() -> None:
    p = torch.tensor([0.4, 0.3, 0.2, 0.06, 0.04, 0.0])
    draws = torch.linspace(0, 1, 100_001)[:-1].double()
    logits = p.log().expand(len(draws), -1)

    def shares(top_p: float, suppressed: tuple[int, ...] = ()) -> torch.Tensor:
        token, logp = choose(
            logits.clone(), Sampling(temperature=1.0, top_p=top_p), draws, suppressed
        )
        allowed = p.clone()
        allowed[list(suppressed)] = 0
        torch.testing.assert_close(logp, (allowed / allowed.sum()).log()[token])  # before top_p
        return token.bincount(minlength=6) / len(draws)

    torch.testing.assert_close(shares(1.0), p, atol=2e-5, rtol=0)
    torch.testing.assert_close(shares(0.8), torch.tensor([4, 3, 2, 0, 0, 0]) / 9, atol=2e-5, rtol=0)
    torch.testing.assert_close(
        shares(1.0, (0, 2)), torch.tensor([0, 0.3, 0, 0.06, 0.04, 0]) / 0.4, atol=2e-5, rtol=0
    )
