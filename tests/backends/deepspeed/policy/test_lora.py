"""Low-rank adapters: what is trained, what it is compared to, and what a training leaves."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from torch import Tensor
from transformers import PreTrainedModel

from backends.base.backend import Inputs, TrainingError
from backends.base.engine import Request, Sampling
from backends.base.resources import Resources
from backends.base.reward import GroupReward, Rollout
from backends.base.stage import LoRA, Stage
from backends.deepspeed import loop
from backends.deepspeed.learner import Learner
from backends.deepspeed.policy.lora import adapt, dropping, merged, without_adapters
from backends.deepspeed.policy.packing import pack
from backends.deepspeed.policy.policy import Policy
from backends.engines.hf import HFEngine
from backends.models.encoding import Encoder
from backends.models.folders import load_model
from backends.registry import backend
from backends.training.groups import Group
from benchmarks import tiny
from benchmarks.base import Item
from benchmarks.data.questions import save_questions
from tests.backends.offered import offer

from ...trained import close
from ..conftest import SMALL, Train, read, same
from ..stopping import killed_at_update
from ..test_zero import run_ranks

LORA: dict[str, Any] = {"rank": 4, "alpha": 8}
STAGE: dict[str, Any] = SMALL | {"lora": LORA, "lr": 1e-2, "steps": 3}
SFT: dict[str, Any] = {
    "objective": "sft",
    "rewards": [],
    "template": "boxed",
    "max_response_tokens": 24,
}
DROPOUT: dict[str, Any] = {"lora": LORA | {"dropout": 0.2}}


@pytest.fixture
def adapted(model: PreTrainedModel) -> PreTrainedModel:
    """The tiny model with adapters that have been moved away from 0."""
    adapt(model, LoRA.model_validate(LORA), seed=0)
    generator = torch.Generator().manual_seed(1)
    for name, weight in model.named_parameters():
        if ".lora_B" in name:
            weight.data.normal_(0, 0.05, generator=generator)
    return model


@pytest.fixture
def batch(encoder: Encoder, picture: Callable[..., bytes]) -> Any:
    prompts = [
        encoder.encode(Request("a", "What is this?", (picture(0),))),
        encoder.encode(Request("b", "And this?")),
    ]
    responses = [[list(range(5, 12)), [7, 8]], [[9], list(range(30, 36))]]
    groups = [Group(p, r) for p, r in zip(prompts, responses, strict=True) if p is not None]
    return pack(groups, "cpu")


def logp(model: PreTrainedModel, batch: Any) -> Tensor:
    with torch.no_grad():
        found: Tensor = Policy(model, ())(batch)
    return found


# ----------------------------------------------------------------------------------- the adapters


def test_adapters_start_at_the_base_and_from_the_seed(
    build_model: Callable[..., PreTrainedModel], batch: Any
) -> None:
    base = logp(build_model(), batch)
    starts = []
    for seed in (0, 0, 1):
        model = build_model()
        torch.manual_seed(seed + 5)  # what has been drawn before does not matter
        adapt(model, LoRA.model_validate(LORA), seed)
        assert torch.equal(logp(model, batch), base)
        starts.append({n: w.detach() for n, w in model.named_parameters() if ".lora_A" in n})
    assert same(starts[0], starts[1])
    assert not same(starts[0], starts[2])


def test_adapters_off_is_the_base_bit_for_bit(
    adapted: PreTrainedModel, build_model: Callable[..., PreTrainedModel], batch: Any
) -> None:
    base = logp(build_model(), batch)
    assert not torch.allclose(logp(adapted, batch), base, atol=0.01)
    trained = [n for n, w in adapted.named_parameters() if w.requires_grad]
    with without_adapters(adapted):
        assert torch.equal(logp(adapted, batch), base)
    assert not torch.allclose(logp(adapted, batch), base, atol=0.01)
    assert [n for n, w in adapted.named_parameters() if w.requires_grad] == trained


def test_the_merged_model_computes_what_the_adapted_one_does(
    adapted: PreTrainedModel, build_model: Callable[..., PreTrainedModel], batch: Any
) -> None:
    before = {name: weight.clone() for name, weight in adapted.named_parameters()}
    plain = build_model()
    names = [name for name, _ in plain.named_parameters()]
    assert [name for name, _ in merged(plain)] == names  # without adapters: itself
    weights = dict(merged(adapted))
    assert list(weights) == names
    plain.load_state_dict(weights, strict=False)
    torch.testing.assert_close(logp(plain, batch), logp(adapted, batch), rtol=1e-4, atol=1e-4)
    assert same(before, dict(adapted.named_parameters()))


def test_the_hf_engine_samples_the_adapted_module(
    adapted: PreTrainedModel, encoder: Encoder, picture: Callable[..., bytes]
) -> None:
    engine = HFEngine(adapted, encoder)
    prompt = encoder.encode(Request("a", "What is this?", (picture(0),)))
    assert prompt is not None
    sampling = Sampling(n=4, temperature=1.0, top_p=1.0, max_tokens=8, seed=0)
    ((_, responses),) = engine.generate_encoded([prompt], ["a"], sampling, logp=True)
    batch = pack([Group(prompt, [list(r.tokens) for r in responses])], "cpu")
    with torch.no_grad():
        ours = Policy(adapted, engine.suppressed)(batch)
    theirs = torch.tensor([x for r in responses for x in r.logp])
    torch.testing.assert_close(theirs, ours, rtol=1e-4, atol=1e-4)


def test_targets_are_linear_layers_of_the_language_model(model: PreTrainedModel) -> None:
    """``gate_proj`` is the name of a layer of the vision tower too."""
    with pytest.raises(TrainingError, match=r"no linear layer 'qkv'.*Known: down_proj, gate_proj"):
        adapt(model, LoRA(targets=("gate_proj", "qkv")), 0)
    adapt(model, LoRA(rank=2, targets=("gate_proj", "v_proj")), 0)
    trained = {n for n, w in model.named_parameters() if w.requires_grad}
    assert trained == {
        f"model.language_model.layers.{i}.{place}.lora_{part}.default.weight"
        for i in range(2)
        for place in ("mlp.gate_proj", "self_attn.v_proj")
        for part in "AB"
    }


def test_dropout_is_at_work_in_an_update_only(model: PreTrainedModel, batch: Any) -> None:
    lora = LoRA(rank=4, dropout=0.5)
    adapt(model, lora, seed=0)
    for name, weight in model.named_parameters():
        if ".lora_B" in name:
            weight.data.fill_(0.01)
    model.train()  # as with activation checkpointing
    plain = logp(model, batch)
    assert torch.equal(logp(model.eval(), batch), plain)
    found = []
    for seed in (0, 0, 1):
        with dropping(model, lora, seed):
            found.append(logp(model, batch))
    assert torch.equal(found[0], found[1])
    assert not torch.allclose(found[0], found[2], atol=1e-4)
    assert not torch.allclose(found[0], plain, atol=1e-4)
    assert torch.equal(logp(model, batch), plain)


# --------------------------------------------------------------------------------------- training


def test_only_adapters_are_trained_and_the_checkpoint_is_an_ordinary_model(
    train: Train, base: dict[str, Tensor], model_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held: list[int] = []
    close = Learner.close

    def count(self: Learner) -> None:
        held.append(sum(p.numel() for g in self.optimizer.param_groups for p in g["params"]))
        close(self)

    monkeypatch.setattr(Learner, "close", count)
    run = train("run", **STAGE)
    moved = {k for k in base if not run.weights[k].equal(base[k])}
    assert run.weights.keys() == base.keys()
    assert moved == {k for k in base if k.startswith("model.layers.") and "_proj.weight" in k}
    projections = [base[k] for k in moved]
    assert held == [sum(4 * (w.shape[0] + w.shape[1]) for w in projections)]

    ours = load_model(run.workdir / "checkpoint")
    beside = PeftModel.from_pretrained(load_model(model_folder), str(run.workdir / "adapter"))
    theirs: Any = beside.merge_and_unload()
    weights = dict(theirs.named_parameters())
    for name, weight in ours.named_parameters():
        torch.testing.assert_close(weight, weights[name], rtol=0, atol=1e-6)


def test_the_reference_is_the_base_without_a_copy_of_it(
    train: Train, model_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The figures and weights are those of a training that holds a second model."""
    stage = STAGE | {"kl": {"beta": 0.1}, "updates_per_rollout": 2}
    shared = train("shared", **stage)
    assert shared.metrics[-1]["kl"] > 0.01
    copies: list[Policy] = []

    def of_a_copy(self: loop.Training, batch: Any, temperature: float) -> Tensor:
        if not copies:
            copies.append(Policy(load_model(model_folder), self.encoder.suppressed))
            copies[0].model.picture_cache = self.pictures
        found: Tensor = copies[0](batch, temperature)
        return found

    monkeypatch.setattr(loop.Training, "_base", of_a_copy)
    copied = train("copied", **stage)
    assert copies
    assert same(copied.weights, shared.weights)
    assert copied.figures() == shared.figures()


LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"


def test_adapters_learn(train: Train, items: list[Item], monkeypatch: pytest.MonkeyPatch) -> None:
    """A bandit of letters is solved, demonstrations and preferences are learnt."""

    def letters(rollout: Rollout) -> GroupReward:
        shares = [sum(c in LETTERS for c in r) / max(len(r), 1) for r in rollout.responses]
        return GroupReward(tuple(shares), {})

    offer(monkeypatch, "letters", letters)
    bandit: dict[str, Any] = {
        "rewards": [{"name": "letters"}],
        "group_size": 8,
        "max_response_tokens": 3,
    }
    rows = train("grpo", **STAGE | bandit | {"steps": 25, "lr": 2e-2}).metrics
    assert rows[0]["reward"] < 0.6
    assert sum(row["reward"] for row in rows[-3:]) / 3 > 0.9

    whole: dict[str, Any] = {"steps": 15, "questions_per_step": 8, "lr": 2e-2}
    rows = train("sft", **STAGE | SFT | whole).metrics
    assert rows[-1]["loss"] < rows[0]["loss"] / 2

    pairs = [
        replace(item, meta={"chosen": f"it is {2 * i}", "rejected": "no " * (1 + i % 3)})
        for i, item in enumerate(items)
    ]
    dpo: dict[str, Any] = {"objective": "dpo", "rewards": [], "curation": {"keep": "ranked"}}
    dpo |= {"max_response_tokens": 16}
    rows = train("dpo", items=pairs, **STAGE | dpo | whole).metrics
    assert rows[0]["loss"] == pytest.approx(math.log(2), abs=1e-6)  # the reference is the policy
    assert rows[-1]["preference_accuracy"] == 1.0


def test_the_next_stage_starts_from_the_merged_model(
    train: Train, questions: Path, tmp_path: Path
) -> None:
    first = train("first", **STAGE)
    stage = Stage.model_validate(STAGE | {"kl": {"beta": 0.1}})
    inputs = Inputs(first.workdir / "checkpoint", questions, 1)
    backend("deepspeed").train(stage, inputs, Resources(), tmp_path / "second")
    second = read(tmp_path / "second")
    assert second.metrics[0]["kl"] == 0.0  # the reference is what the first stage has left
    assert second.metrics[-1]["kl"] > 0
    assert not same(second.weights, first.weights)


@pytest.mark.parametrize(
    ("zero_stage", "fields"),
    [*((z, {"kl": {"beta": 0.1}}) for z in (0, 1, 2, 3)), (1, SFT | DROPOUT)],
    ids=str,
)
def test_a_stopped_training_goes_on_bit_for_bit(
    train: Train, tmp_path: Path, zero_stage: int, fields: dict[str, Any]
) -> None:
    """What is frozen is not saved again."""
    stage = STAGE | {"steps": 5} | fields
    resources = {"zero_stage": zero_stage, "save_every": 2}
    with killed_at_update(4):
        train("stopped", resources=resources, **stage)
    folder = tmp_path / "stopped" / "resume"
    saved = torch.load(next(folder.rglob("*model_states.pt")), weights_only=False)["module"]
    assert any(".lora_A." in name for name in saved)
    assert not any(".base_layer." in name or ".visual." in name for name in saved)
    whole, stopped = (train(name, resources=resources, **stage) for name in ("whole", "stopped"))
    assert same(stopped.weights, whole.weights)
    assert stopped.figures() == whole.figures()


@pytest.mark.slow
def test_zero_stages_and_ranks_change_nothing(
    train: Train, tmp_path: Path, model_folder: Path, questions: Path
) -> None:
    """Two ranks with unequal micro-batches, with and without pictures; a critic of full weights."""
    stage = STAGE | {"questions_per_step": 3, "updates_per_rollout": 2, "kl": {"beta": 0.1}}
    stage |= {"lr": 1e-4}  # Adam makes rounding of a small gradient a step of the whole lr
    gae = stage | {"advantage": "gae", "critic": {"lr": 1e-4, "lam": 0.9}}
    small = {"tokens_per_micro_batch": 150}
    one, alone = train("one", **stage, resources=small), train("gae", **gae, resources=small)
    for z in (0, 2, 3):
        close(train(f"zero{z}", **stage, resources=small | {"zero_stage": z}), one)
    jobs = {f"ranks{z}": (stage, z) for z in (0, 3)} | {"ranks gae": (gae, 3)}
    run_ranks(tmp_path, model_folder, questions, jobs, small)
    for z in (0, 3):
        close(read(tmp_path / f"ranks{z}"), one)
    close(read(tmp_path / "ranks gae"), alone)


@pytest.mark.skipif(find_spec("vllm") is None, reason="vllm is not installed")
def test_vllm_samples_the_merged_weights(tmp_path: Path) -> None:
    fields = {"rollout_engine": "vllm", "template": "boxed", "max_response_tokens": 12}
    pool = save_questions(tiny.questions("train")[:8], tmp_path / "pool")
    backend("deepspeed").train(
        Stage.model_validate(STAGE | fields),
        Inputs(tiny.checkpoint(), pool, 0),
        Resources(),
        tmp_path / "run",
    )
    rows = read(tmp_path / "run").metrics
    assert all(row["grad_norm"] > 0 for row in rows)
    assert all(row["engine_gap"] < 2e-4 for row in rows)


def test_dropout_has_no_place_where_the_policy_samples() -> None:
    with pytest.raises(ValueError, match=r"lora\.dropout must be 0 in objective grpo"):
        Stage.model_validate(SMALL | DROPOUT)
    Stage.model_validate(SMALL | SFT | DROPOUT)


def test_lora_without_peft_is_refused_with_the_way_to_get_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stage = Stage.model_validate(STAGE)
    assert backend("deepspeed").problems(stage, Resources()) == []
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    (problem,) = backend("deepspeed").problems(stage, Resources())
    assert "pip install 'rl-harness[lora]'" in problem
