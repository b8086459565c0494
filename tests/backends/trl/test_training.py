"""Whole trainings of a tiny random model by TRL, and the same ones by our own trainer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from backends.base.backend import Inputs, TrainingError
from backends.base.resources import Resources
from backends.base.reward import GroupReward, Rollout
from backends.base.stage import Stage
from backends.engines.hf import HFEngine
from backends.models.folders import load_processor
from backends.registry import backend
from benchmarks.base import Item
from tests.backends.offered import offer

from .conftest import SMALL, Train, apart, gap, same

#: What our own trainer logs, but for the gap between its sampler and itself.
EXPECTED = {
    *("step", "reward", "majority_ratio", "label_accuracy", "accuracy", "semantic_entropy"),
    *("response_length", "truncated", "unparsed", "zero_variance_groups", "kl", "clip_share"),
    *("loss", "grad_norm", "lr", "tokens", "dropped_prompts", "skipped_steps"),
    *("seconds_rollout", "seconds_reward", "seconds_reference", "seconds_update"),
}
SFT: dict[str, Any] = {
    "objective": "sft",
    "rewards": [],
    "template": "boxed",
    "max_response_tokens": 24,
}


def give(
    monkeypatch: pytest.MonkeyPatch, function: Callable[[Rollout], tuple[float | None, ...]]
) -> dict[str, Any]:
    """Stage settings with this reward."""
    offer(monkeypatch, "test", lambda r: GroupReward(function(r), {}))
    return {"rewards": [{"name": "test"}]}


def letters(rollout: Rollout) -> tuple[float | None, ...]:
    return tuple(sum(c.isalnum() for c in r) / max(len(r), 1) for r in rollout.responses)


def test_a_training_leaves_a_checkpoint_and_metrics(train: Train, model_folder: Path) -> None:
    run = train("run", kl={"beta": 0.01}, temperature=0.7, warmup_steps=4, steps=3)
    assert [row["step"] for row in run.metrics] == [1, 2, 3]
    for row in run.metrics:
        assert row.keys() >= EXPECTED
        assert all(isinstance(value, int | float) for value in row.values())
        assert row["tokens"] == row["response_length"] * 4 * 4
        assert min(row[f"seconds_{p}"] for p in ("rollout", "reward", "reference", "update")) > 0
    assert [row["lr"] for row in run.metrics] == pytest.approx([0.25e-4, 0.5e-4, 0.75e-4])
    assert run.metrics[0]["kl"] == pytest.approx(0, abs=1e-9)
    assert run.metrics[2]["kl"] > 0
    assert sorted(p.name for p in run.workdir.iterdir()) == ["checkpoint", "metrics.jsonl"]
    HFEngine.from_path(run.workdir / "checkpoint")
    tokenizers = [load_processor(f).tokenizer for f in (model_folder, run.workdir / "checkpoint")]
    assert tokenizers[0].padding_side == tokenizers[1].padding_side


@pytest.mark.parametrize(
    "stage",
    [
        {"aggregation": "sequence_mean", "kl": {"beta": 0.1}},
        {"aggregation": "token_mean", "kl": {"beta": 0.1}, "temperature": 0.7},
        {"aggregation": "fixed_length", "advantage": "group_mean", "weight_decay": 0.1},
        {"aggregation": "token_mean", "advantage": "batch_norm", "mask_truncated": True},
        {"aggregation": "sequence_mean", "kl": {"beta": 0.1}, "mask_truncated": True},
        {"aggregation": "fixed_length", "advantage": "group_mean", "mask_truncated": True},
        {"aggregation": "sequence_mean", "ratio": "sequence", "freeze_vision": True},
    ],
    ids=["mm_upt", "token_mean", "dr_grpo", "masked", "mm_upt_masked", "dr_grpo_masked", "gspo"],
)
def test_on_the_same_samples_trl_and_our_trainer_reach_the_same_weights(
    train: Train,
    items: list[Item],
    monkeypatch: pytest.MonkeyPatch,
    replayed: dict[str, list[list[int]]],
    base: dict[str, Tensor],
    stage: dict[str, Any],
) -> None:
    """Three steps: a prompt that is dropped, a group without rewards, responses without one."""
    long = [replace(items[0], question="x" * 500), *items[1:]]

    def some(rollout: Rollout) -> tuple[float | None, ...]:
        found = list(letters(rollout))
        if rollout.id == "q1":
            return (None,) * len(found)
        return (None, *found[1:]) if rollout.id == "q3" else tuple(found)

    asked = stage | give(monkeypatch, some)
    asked |= {"steps": 3, "lr": 1e-3, "warmup_steps": 2, "max_prompt_tokens": 256}
    asked |= {"questions_per_step": 8, "lr_schedule": "cosine"}
    ours = train("ours", by="deepspeed", items=long, **asked)
    assert len(replayed) == 3 * 7
    theirs = train("theirs", items=long, resources={"tokens_per_micro_batch": 1200}, **asked)
    assert gap(theirs, ours, base) < 1e-3
    for a, b in zip(theirs.metrics, ours.metrics, strict=True):
        for name in ("reward", "dropped_prompts", "unusable_groups", "tokens", "lr", "truncated"):
            assert a[name] == pytest.approx(b[name]), name
        assert a["grad_norm"] == pytest.approx(b.get("grad_norm", 0.0), rel=1e-3)
        assert a["loss"] == pytest.approx(b["loss"], rel=1e-3, abs=1e-5)
    assert theirs.metrics[0]["dropped_prompts"] == 1
    assert theirs.metrics[0]["unusable_groups"] == 1


def test_supervised_trl_and_our_trainer_reach_the_same_weights(
    train: Train, items: list[Item], whole_vocabulary: None, base: dict[str, Tensor]
) -> None:
    mixed = [
        replace(items[0], question="x" * 500),
        replace(items[1], answer="", solution=""),
        *items[2:],
    ]
    stage = SFT | {"steps": 4, "questions_per_step": 4, "lr": 1e-3, "max_prompt_tokens": 400}
    stage |= {"weight_decay": 0.1, "betas": (0.8, 0.99)}
    ours = train("ours", by="deepspeed", items=mixed, **stage)
    theirs = train("theirs", items=mixed, resources={"tokens_per_micro_batch": 400}, **stage)
    assert gap(theirs, ours, base) < 1e-3
    for a, b in zip(theirs.metrics, ours.metrics, strict=True):
        for name in ("loss", "grad_norm", "tokens", "response_length", "dropped_prompts", "lr"):
            assert a[name] == pytest.approx(b[name], rel=1e-4), name
    assert sum(row["dropped_prompts"] for row in theirs.metrics) == 4
    assert "reward" not in theirs.metrics[0]


def test_the_same_seed_gives_the_same_bits_and_another_does_not(train: Train) -> None:
    one, two, other = train("one"), train("two"), train("other", seed=1)
    assert same(one.weights, two.weights)
    assert one.figures() == two.figures()
    assert not same(one.weights, other.weights)


def test_an_unsupervised_method_never_reads_the_label(train: Train, items: list[Item]) -> None:
    poisoned = [
        replace(i, answer=f"\\boxed{{{'7' * n}}}", meta={"key": "7"}) for n, i in enumerate(items)
    ]
    assert same(train("true").weights, train("poisoned", items=poisoned).weights)


def test_a_supervised_method_does_read_it(train: Train, items: list[Item]) -> None:
    wrong = [replace(item, answer="never") for item in items]
    stage = {"rewards": [{"name": "accuracy"}], "steps": 1}
    row = train("run", items=wrong, **stage).metrics[0]
    assert row["reward"] == row["accuracy"] == 0
    with pytest.raises(TrainingError, match="none of the 8 questions"):
        train("none", items=[replace(item, answer="") for item in items], **stage)


def test_an_easy_reward_is_learned(train: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    stage = give(monkeypatch, letters) | {"questions_per_step": 8, "group_size": 8, "lr": 3e-3}
    rows = train("run", **stage, steps=12, max_response_tokens=4).metrics
    assert rows[-1]["reward"] > rows[0]["reward"] + 0.25


def test_picture_tokens_are_never_sampled(
    train: Train, monkeypatch: pytest.MonkeyPatch, processor: Any
) -> None:
    """A random model would say one in most groups, and the update would fail on it."""
    from backends.models.families import family
    from backends.models.folders import suppressed_token_ids
    from backends.trl.grpo import GroupTrainer

    said: set[int] = set()
    group = GroupTrainer._group

    def watch(self: Any, row: int, completions: Any) -> Any:
        said.update(token for ids in completions for token in ids)
        return group(self, row, completions)

    monkeypatch.setattr(GroupTrainer, "_group", watch)
    train("run", steps=1, questions_per_step=8, group_size=8, max_response_tokens=16)
    assert len(said) > 100
    assert not said & set(suppressed_token_ids(family("qwen2_5_vl"), processor))


def test_groups_without_rewards_leave_the_weights_alone(
    train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    nothing = give(monkeypatch, lambda r: (None,) * len(r.responses))
    with pytest.raises(TrainingError, match="without one update"):
        train("run", **nothing, kl={"beta": 1.0}, weight_decay=0.5)


def test_a_gradient_that_is_not_finite_is_skipped_and_ends_the_third_time(
    train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []

    def broken_twice(rollout: Rollout) -> tuple[float, ...]:
        calls.append(rollout.id)
        broken = len(calls) <= 2 * 4
        return tuple(1e38 * i if broken else float(i) for i in range(len(rollout.responses)))

    stage = {"advantage": "group_mean", "steps": 4, "kl": {"beta": 1.0}}
    run = train("twice", **stage | give(monkeypatch, broken_twice))
    assert [row["skipped_steps"] for row in run.metrics] == [1, 1, 0, 0]
    assert all(weight.isfinite().all() for weight in run.weights.values())

    def broken(rollout: Rollout) -> tuple[float, ...]:
        return tuple(1e38 * i for i in range(len(rollout.responses)))

    with pytest.raises(TrainingError, match=r"step 3: the gradient was not finite 3 times"):
        train("ever", **stage | give(monkeypatch, broken))


def test_bfloat16_trains(train: Train, base: dict[str, Tensor]) -> None:
    run = train("run", resources={"dtype": "bfloat16"}, lr=1e-2)
    assert {w.dtype for w in run.weights.values()} == {torch.bfloat16}
    assert apart({k: v.float() for k, v in run.weights.items()}, base) > 0
    assert all(weight.isfinite().all() for weight in run.weights.values())


def test_mistakes_in_the_inputs_are_reasons(tmp_path: Path) -> None:
    """From the process that trains to the one that asked."""
    with pytest.raises(TrainingError, match="no such question file"):
        backend("trl").train(
            Stage.model_validate(SMALL),
            Inputs(tmp_path / "nowhere", tmp_path / "none.jsonl", 0),
            Resources(device="cpu"),
            tmp_path / "run",
        )
