"""Where groups come from: votes of more than the group, replaced questions, other models."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from backends.base.backend import Inputs, TrainingError
from backends.base.engine import EngineError, Request, RequestError, Response
from backends.base.resources import Resources
from backends.base.reward import GroupReward, Rollout
from backends.base.stage import Stage
from backends.deepspeed.rollout import ExternalResponses, Rollouts, best, read_external
from backends.engines.hf import HFEngine
from backends.models.encoding import Encoder
from backends.models.folders import load_model
from backends.models.pictures import joined
from backends.registry import backend
from backends.training.clock import Clock
from backends.training.samples import QuestionOrder
from benchmarks import tiny
from benchmarks.base import Item
from benchmarks.data.pictures import read_picture
from benchmarks.data.questions import save_questions
from tests.backends.offered import offer

from .conftest import SMALL, Trained, apart, read, same
from .stopping import killed_at_update

OTHERS = "xyz"  # what the other model says; the tiny random policy never does


def reward_is(
    monkeypatch: pytest.MonkeyPatch, value: Callable[[str, str], float | None]
) -> dict[str, Any]:
    """Stage settings with a reward that is a function of the question's id and the response."""

    def function(rollout: Rollout) -> GroupReward:
        return GroupReward(tuple(value(rollout.id, text) for text in rollout.responses), {})

    offer(monkeypatch, "test", function)
    return {"rewards": [{"name": "test"}]}


@pytest.fixture(scope="module")
def engine(model_folder: Path) -> HFEngine:
    return HFEngine(load_model(model_folder, "float32", "cpu"), encoder_of(model_folder))


def encoder_of(folder: Path) -> Encoder:
    return Encoder.at(folder, 2048)


def rollouts(engine: HFEngine, items: list[Item], **fields: Any) -> Rollouts:
    external = fields.pop("responses", None)
    stage = Stage.model_validate(SMALL | fields)

    def sample(asked: Any, sampling: Any) -> Iterator[Any]:
        prompts, ids = [p for _, p in asked], [d.id for d, _ in asked]
        return engine.generate_encoded(prompts, ids, sampling, logp=True)

    return Rollouts(stage, 0, items, engine.encoder, sample, external)


def test_a_group_is_trained_on_the_pictures_where_its_question_has_them(
    engine: HFEngine, picture: Callable[..., bytes]
) -> None:
    """The ids of the processor's own encoding, the pictures in its order; pictures at the front
    would be another prompt."""
    two = (picture(2, 56, 112), picture(3))
    text = "Compare <image> with <image>."
    items = [Item("q", text, "1", two), Item("front", text.replace("<image>", "it"), "1", two)]
    made = rollouts(engine, items, questions_per_step=2)
    drawn = made.order.at(0)
    samples, _ = made.at(0, drawn, Clock())
    by_id = {drawn[s.place].item.id: s.group.prompt for s in samples}
    content: list[dict[str, str]] = []
    for part in text.split("<image>"):
        content += [{"type": "text", "text": part}, {"type": "image"}]
    processor: Any = engine.encoder.processor
    given = processor(
        text=processor.apply_chat_template(
            [{"role": "user", "content": content[:-1]}], tokenize=False, add_generation_prompt=True
        ),
        images=[read_picture(each) for each in two],
        return_tensors="pt",
    )
    assert torch.equal(by_id["q"].input_ids, given["input_ids"][0])
    for name, tensor in joined(by_id["q"].pictures).items():
        assert torch.equal(tensor, given[name])
    front, between = by_id["front"].places.nonzero(), by_id["q"].places.nonzero()
    assert between.max() - between.min() > front.max() - front.min()


# ------------------------------------------------------------------------------------ who is kept


def test_the_best_are_kept_and_the_policys_own_go_before_equals() -> None:
    rewards = [0.0, 1.0, None, 1.0, 0.5, 1.0]
    external = [False, False, False, True, True, True]
    assert best(rewards, external, 3, False) == [False, True, False, True, False, True]
    # All of one reward: the last gives way to the policy's best other, not to another's.
    assert best(rewards, external, 3, True) == [True, True, False, True, False, False]
    assert best([1.0, 1.0, 1.0, 0.5], [False, False, True, True], 2, True) == [
        True,
        True,
        False,
        False,
    ]
    assert best([None, 0.0, None, 1.0], [False, False, True, True], 3, True) == [
        True,
        True,
        False,
        True,
    ]


def test_all_vote_and_the_first_are_trained_on(
    engine: HFEngine, items: list[Item], monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = QuestionOrder(items, 4, 0).at(0)
    many, _ = rollouts(engine, items, group_size=8).at(0, drawn, Clock())
    last = {engine.encoder.decode(sample.group.responses[-1]) for sample in many}
    fields = reward_is(monkeypatch, lambda _, text: float(text in last))
    few, _ = rollouts(engine, items, group_size=3, vote_size=8, **fields).at(0, drawn, Clock())
    for three in few:  # the last response divides those who vote, not those who are trained on
        assert (three.figures["reward"], three.figures["zero_variance_groups"]) == (1 / 8, 1)
    few, counts = rollouts(engine, items, group_size=3, vote_size=8).at(0, drawn, Clock())
    assert len(few) == 4
    assert counts["sampled_tokens"] == sum(eight.tokens for eight in many)
    for eight, three in zip(many, few, strict=True):
        assert three.group.responses == eight.group.responses[:3]
        assert list(three.rewards) == list(eight.rewards)[:3]
        assert three.figures["majority_ratio"] == eight.figures["majority_ratio"]


def test_a_question_whose_group_agrees_is_replaced(
    engine: HFEngine, items: list[Item], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Groups of four questions agree; the same groups come out on two ranks as on one."""
    drawn = QuestionOrder(items, 4, 0).at(0)
    agree = {drawn[0].item.id, drawn[3].item.id}
    agree |= set(sorted({i.id for i in items} - {d.item.id for d in drawn})[:2])
    fields = reward_is(
        monkeypatch, lambda name, text: float(name not in agree and sum(map(ord, text)))
    )
    made = rollouts(engine, items, dynamic_sampling=12, **fields)
    asked: list[list[str]] = []
    sample = made.sample

    def watched(given: Any, sampling: Any) -> Any:
        asked.append([d.item.id for d, _ in given])
        return sample(given, sampling)

    monkeypatch.setattr(made, "sample", watched)
    found, counts = made.at(0, drawn, Clock())
    assert counts["dropped_prompts"] == 0
    assert [s.place for s in found] == [0, 1, 2, 3]
    assert all(s.contrast for s in found)
    assert [s.figures.get("replaced_questions", 0) > 0 for s in found] == [True, False, False, True]
    # None replaces another that the step asks already; what was replaced is counted too.
    assert asked[0] == [d.item.id for d in drawn]
    assert not set(asked[0]) & {name for turn in asked[1:] for name in turn}
    assert counts["sampled_tokens"] > sum(s.tokens for s in found)
    shown = {item.id: len(item.images) for item in items}
    assert counts["pictures"] == sum(shown[name] for turn in asked for name in turn)

    split = [
        rollouts(engine, items, dynamic_sampling=12, **fields).at(0, drawn[r::2], Clock())[0]
        for r in (0, 1)
    ]
    ours = {s.place: s.group.responses for part in split for s in part}
    assert ours == {s.place: s.group.responses for s in found}

    for step in range(6):
        now = {d.item.id for d in QuestionOrder(items, 4, 0).at(step)}
        spares = [d.item.id for turn in (1, 2, 3) for d in made._spares(step, turn)]
        assert len(spares) == 12
        assert not now & set(spares)

    once, _ = rollouts(engine, items, dynamic_sampling=1, **fields).at(0, drawn, Clock())
    assert not all(s.contrast for s in once)  # the limit holds


# -------------------------------------------------------------------------------- other models


def train(
    model: Path, questions: Path, workdir: Path, others: Path | None = None, **fields: Any
) -> Trained:
    resources = Resources.model_validate(fields.pop("resources", {}))
    stage = Stage.model_validate(SMALL | fields)
    backend("deepspeed").train(stage, Inputs(model, questions, 0, others), resources, workdir)
    return read(workdir)


@pytest.fixture
def beside_others(
    model_folder: Path,
    questions: Path,
    external: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[..., Trained]:
    """``beside_others(stage, off_policy=...)``: one step in which only what the other model says
    is right."""
    fields = reward_is(monkeypatch, lambda _, text: float(text == OTHERS)) | {"steps": 1}

    def run(stage: dict[str, Any] | None = None, **how: Any) -> Trained:
        mixed = {"external": {"models": ["m"], **how}} | fields | (stage or {})
        return train(model_folder, questions, tmp_path / "mixed", external, **mixed)

    return run


@pytest.fixture
def external(items: list[Item], tmp_path: Path) -> Path:
    path = tmp_path / "external.jsonl"
    rows = [{"id": item.id, "model": "m", "texts": [OTHERS, "y"]} for item in items]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def expected_loss(items: list[Item], engine: HFEngine, unit: bool) -> float:
    """The first update's loss by its definition: the policy's three samples have reward 0 and
    the external one 1, and its probability comes from a forward pass of its own."""
    encoder = engine.encoder
    drawn = QuestionOrder(items, 4, 0).at(0)
    groups, _ = rollouts(engine, items, group_size=3).at(0, drawn, Clock())
    ids = encoder.response(OTHERS)
    high, low = 0.75, -0.25
    total, tokens = 0.0, 0
    for group in groups:
        total -= low * group.tokens
        tokens += group.tokens + len(ids)
        if not unit:
            total -= high * len(ids)
            continue
        question = drawn[group.place].item
        for position, token in enumerate(ids):
            logits = next_logits(engine, encoder, question, ids[:position])
            logits[list(encoder.suppressed)] = -torch.inf
            total -= high * float(logits.softmax(0)[token])
    return total / tokens


def next_logits(engine: HFEngine, encoder: Encoder, item: Item, before: list[int]) -> Tensor:
    prompt = encoder.encode(Request("r", item.question, item.images))
    assert prompt is not None
    given = torch.cat([prompt.input_ids, torch.tensor(before, dtype=torch.long)])[None]
    types = (given == encoder.placeholder).long()
    with torch.no_grad():
        out = engine.model(input_ids=given, mm_token_type_ids=types, **joined(prompt.pictures))
    return out.logits[0, -1].float()


@pytest.mark.parametrize("off_policy", ["uncorrected", "unit_behaviour"])
def test_what_an_external_response_is_to_the_update(
    off_policy: str, items: list[Item], engine: HFEngine, beside_others: Callable[..., Trained]
) -> None:
    run = beside_others({"advantage": "group_mean"}, off_policy=off_policy)
    (row,) = run.metrics
    assert row["external_share"] == 0.25
    assert row["external_reward"] == 0.5
    assert row["engine_factor"] == pytest.approx(1, abs=1e-4)  # over the policy's own tokens
    unit = off_policy == "unit_behaviour"
    assert row["loss"] == pytest.approx(expected_loss(items, engine, unit), rel=1e-4)


def test_better_external_responses_are_learnt_as_demonstrations(
    model_folder: Path,
    items: list[Item],
    tmp_path: Path,
    base: dict[str, Tensor],
    beside_others: Callable[..., Trained],
) -> None:
    """Where the policy's own groups agree, what is left is supervised training on the better
    responses: Adam's first step has its direction whatever the weight."""
    mixed = beside_others(off_policy="sft", sft_weight=1.0)
    assert mixed.metrics[0]["external_share"] == 0.5  # "y" is no better than the policy's own
    shown = [Item(i.id, i.question, images=i.images, solution=OTHERS) for i in items]
    taught = train(
        model_folder,
        save_questions(shown, tmp_path / "shown"),
        tmp_path / "taught",
        objective="sft",
        rewards=[],
        steps=1,
    )
    assert apart(mixed.weights, taught.weights) < 0.02 * apart(taught.weights, base)


def test_figures_are_of_the_policys_own_responses(
    engine: HFEngine, items: list[Item], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The policy is never rewarded, the external response always: no figure of the policy shows
    that, and what became of the group is counted."""
    fields = reward_is(monkeypatch, lambda _, text: float(text == OTHERS))
    said = Response(OTHERS, tuple(engine.encoder.response(OTHERS)), "stop")
    drawn = QuestionOrder(items, 4, 0).at(0)
    alone, _ = rollouts(engine, items, **fields).at(0, drawn, Clock())
    both = {d.item.id: ExternalResponses([said, said], 1) for d in drawn}
    for off_policy in ("uncorrected", "sft"):
        external = {"models": ["m"], "off_policy": off_policy}
        found, _ = rollouts(engine, items, external=external, responses=both, **fields).at(
            0, drawn, Clock()
        )
        mixed = [s for s in found if not s.taught]
        for own, group in zip(alone, mixed, strict=True):
            assert own.figures["reward"] == 0
            for name in set(own.figures) - {"zero_variance_groups"}:
                assert group.figures[name] == own.figures[name], name
            assert group.figures["external_reward"] == 1
            assert group.figures["external_dropped"] == 1
            assert group.figures["zero_variance_groups"] == (off_policy == "sft")


def test_a_response_that_was_kept_for_contrast_is_counted(
    engine: HFEngine, items: list[Item], monkeypatch: pytest.MonkeyPatch
) -> None:
    fields = reward_is(monkeypatch, lambda _, text: float(text == OTHERS))
    said = Response(OTHERS, tuple(engine.encoder.response(OTHERS)), "stop")
    drawn = QuestionOrder(items, 4, 0).at(0)
    for many in (3, 4):  # of a group of 4
        pool = {d.item.id: ExternalResponses([said] * many) for d in drawn}
        found, _ = rollouts(engine, items, external={"models": ["m"]}, responses=pool, **fields).at(
            0, drawn, Clock()
        )
        assert [s.figures["contrast_kept"] for s in found] == [float(many == 4)] * 4
        assert [s.figures["zero_variance_groups"] for s in found] == [0] * 4


def test_external_files_are_checked_and_long_responses_left_out(
    engine: HFEngine, tmp_path: Path
) -> None:
    path = tmp_path / "external.jsonl"
    path.write_text('{"id": "q", "model": "m", "texts": ["abc", "abcdefgh"], "dropped": 2}\n')
    found = read_external(path, engine.encoder, 4)
    assert [r.text for r in found["q"].responses] == ["abc"]
    assert found["q"].dropped == 3
    path.write_text('{"id": "q", "texts": []}\n{"id": "q"}\n')
    with pytest.raises(TrainingError, match=r"line 2: no external responses"):
        read_external(path, engine.encoder, 4)


def test_a_request_that_is_refused_is_not_an_engine_that_died(
    model_folder: Path, questions: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    def refuse(*_: Any, **__: Any) -> Any:
        asked.append(1)
        raise RequestError("max_tokens is too large")

    monkeypatch.setattr(HFEngine, "generate_encoded", refuse)
    with pytest.raises(TrainingError, match="cannot be asked that: max_tokens is too large"):
        train(model_folder, questions, tmp_path / "run")
    assert len(asked) == 1  # starting the engine again would not help


# ---------------------------------------------------------------------------------------- vllm

VLLM: dict[str, Any] = {
    "rollout_engine": "vllm",
    "template": "boxed",
    "max_response_tokens": 12,
    "lr": 1e-3,
    "steps": 3,
}
with_vllm = pytest.mark.skipif(find_spec("vllm") is None, reason="vllm is not installed")


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_questions(tiny.questions("train")[:8], tmp_path_factory.mktemp("pool"))


@with_vllm
def test_vllm_samples_the_weights_of_every_step_and_goes_on_after_a_stop(
    pool: Path, tmp_path: Path
) -> None:
    """Its log-probabilities stay those of the trainer while language model and vision tower move,
    so weights are renewed and no picture's features are kept; a stopped training ends the same."""
    whole = train(tiny.checkpoint(), pool, tmp_path / "whole", **VLLM)
    assert all(row["grad_norm"] > 0 for row in whole.metrics)
    for row in whole.metrics:
        assert row["engine_gap"] < 2e-4
        assert row["engine_factor"] == pytest.approx(1, abs=2e-4)

    stopped = tmp_path / "stopped"
    resources = {"save_every": 1}
    with killed_at_update(3):
        train(tiny.checkpoint(), pool, stopped, resources=resources, **VLLM)
    assert len((stopped / "metrics.jsonl").read_text().splitlines()) == 2
    again = train(tiny.checkpoint(), pool, stopped, resources=resources, **VLLM)
    assert same(again.weights, whole.weights)
    assert again.figures() == whole.figures()


@with_vllm
def test_an_engine_that_dies_is_started_again_once(
    pool: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from backends.engines.vllm import VLLMEngine

    real, calls = VLLMEngine.generate_encoded, []

    def dying(times: int) -> Any:
        def generate(self: VLLMEngine, *args: Any, **named: Any) -> Any:
            calls.append(self)
            if len(calls) in range(2, 2 + times):
                raise EngineError("the engine is gone")
            return real(self, *args, **named)

        return generate

    whole = train(tiny.checkpoint(), pool, tmp_path / "whole", **VLLM)
    monkeypatch.setattr(VLLMEngine, "generate_encoded", dying(1))
    once = train(tiny.checkpoint(), pool, tmp_path / "once", **VLLM)
    assert same(once.weights, whole.weights)
    calls.clear()
    monkeypatch.setattr(VLLMEngine, "generate_encoded", dying(2))
    with pytest.raises(TrainingError, match="died twice: the engine is gone"):
        train(tiny.checkpoint(), pool, tmp_path / "twice", **VLLM)


@with_vllm
def test_an_engine_that_samples_otherwise_ends_the_training(pool: Path, tmp_path: Path) -> None:
    """With top_p 0.5 vLLM's probabilities are those of what top_p left."""
    with pytest.raises(TrainingError, match=r"step 3: .* differ by a factor of 1\.\d+"):
        train(tiny.checkpoint(), pool, tmp_path / "run", **VLLM | {"top_p": 0.5, "lr": 1e-6})
