"""Whole trainings of a tiny random model in this process."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from torch import Tensor

from backends.base.backend import Inputs, TrainingError
from backends.base.metrics import METRICS
from backends.base.resources import Resources
from backends.base.reward import GroupReward, Rollout
from backends.base.stage import Stage
from backends.engines.hf import HFEngine
from backends.registry import backend
from benchmarks.base import Item
from tests.backends.offered import offer

from ..trainings import TrainingContract
from .conftest import SMALL, Train, apart, read, same
from .stopping import killed_at_update

EXPECTED = {
    *("step", "reward", "majority_ratio", "label_accuracy", "accuracy", "semantic_entropy"),
    *("response_length", "truncated", "unparsed", "zero_variance_groups", "kl", "clip_share"),
    *("loss", "grad_norm", "lr", "engine_gap", "tokens", "dropped_prompts", "skipped_steps"),
    *("seconds_rollout", "seconds_reward", "seconds_reference", "seconds_update"),
}


def give(monkeypatch: pytest.MonkeyPatch, reward: Callable[[str], float]) -> dict[str, Any]:
    """Stage settings with a reward that is a function of one response."""

    def function(rollout: Rollout) -> GroupReward:
        return GroupReward(tuple(map(reward, rollout.responses)), {})

    offer(monkeypatch, "test", function)
    return {"rewards": [{"name": "test"}]}


def share(wanted: str) -> Callable[[str], float]:
    """The share of a response's characters that are wanted."""
    return lambda text: sum(c in wanted for c in text) / max(len(text), 1)


def test_a_training_leaves_a_checkpoint_and_metrics(train: Train, base: dict[str, Tensor]) -> None:
    run = train("run", kl={"beta": 0.01}, temperature=0.7, warmup_steps=4, steps=3)
    assert [row["step"] for row in run.metrics] == [1, 2, 3]
    for row in run.metrics:
        assert EXPECTED <= row.keys() <= METRICS.keys()
        assert all(isinstance(value, int | float) for value in row.values())
        # Engine and trainer agree on every token, at a temperature that is not 1.
        assert row["engine_gap"] < 1e-5
        assert row["tokens"] == row["response_length"] * 4 * 4
    assert [row["lr"] for row in run.metrics] == pytest.approx([0.25e-4, 0.5e-4, 0.75e-4])
    # The reference is the policy of the first step, and no other.
    assert run.metrics[0]["kl"] == 0
    assert run.metrics[2]["kl"] > 0
    # The advantages of a group sum to 0, so only unequal lengths leave a loss under token_mean.
    assert abs(run.metrics[0]["loss"]) < 0.5
    assert sorted(p.name for p in run.workdir.iterdir()) == ["checkpoint", "metrics.jsonl"]
    HFEngine.from_path(run.workdir / "checkpoint")
    assert 0 < apart(run.weights, base) < 0.1


def test_the_first_loss_of_sequence_mean_is_zero_and_its_gradient_is_not(train: Train) -> None:
    row = train("run", steps=1, aggregation="sequence_mean").metrics[0]
    assert row["loss"] == pytest.approx(0, abs=1e-6)
    assert row["grad_norm"] > 0.01


class TestTraining(TrainingContract):
    checkpoint_writer = "backends.deepspeed.loop.save_checkpoint"


def test_a_supervised_method_does_read_it(train: Train, items: list[Item]) -> None:
    def first(rollout: Rollout) -> GroupReward:
        texts = rollout.responses
        return GroupReward(tuple(float(t[:1] > rollout.answer[:1]) for t in texts), {})

    stage = {"rewards": [{"name": "test"}]}
    with pytest.MonkeyPatch.context() as patch:
        offer(patch, "test", first, needs_answer=True)
        one = train("one", **stage)
        two = train("two", items=[replace(i, answer="m") for i in items], **stage)
    assert not same(one.weights, two.weights)


def test_every_weight_moves_and_a_frozen_vision_tower_does_not(
    train: Train, base: dict[str, Tensor]
) -> None:
    def moved(weights: dict[str, Tensor]) -> set[str]:
        return {k for k in base if not weights[k].equal(base[k])}

    assert moved(train("all", steps=1).weights) == set(base)
    vision = {k for k in base if ".visual." in k or k.startswith("visual.")}
    assert vision
    assert moved(train("frozen", steps=1, freeze_vision=True).weights) == set(base) - vision


@pytest.mark.parametrize("aggregation", ["token_mean", "sequence_mean"])
def test_micro_batches_do_not_change_the_update(train: Train, aggregation: str) -> None:
    whole = train("whole", aggregation=aggregation)
    parts = train("parts", aggregation=aggregation, resources={"tokens_per_micro_batch": 1})
    assert apart(parts.weights, whole.weights) < 1e-5
    for one, two in zip(whole.figures(), parts.figures(), strict=True):
        assert two == pytest.approx(one, rel=1e-4, abs=1e-5)


def test_several_updates_use_the_clip(train: Train) -> None:
    run = train("run", updates_per_rollout=4, clip_low=1e-3, clip_high=1e-3, lr=1e-2)
    assert run.metrics[0]["clip_share"] > 0.05
    assert run.metrics[0]["engine_gap"] < 1e-5  # old log-probabilities are those of the rollout


VARIANTS: list[dict[str, Any]] = [
    {},
    {"advantage": "group_mean", "aggregation": "sequence_mean"},
    {"updates_per_rollout": 2, "kl": {"beta": 1e-3}},
    {"updates_per_rollout": 2, "kl": {"beta": 1e-3, "form": "k1", "place": "reward"}},
]
BANDIT: dict[str, Any] = {"steps": 25, "group_size": 8, "max_response_tokens": 3, "lr": 1e-2}
LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
def test_every_variant_solves_a_bandit(
    train: Train, monkeypatch: pytest.MonkeyPatch, variant: dict[str, Any]
) -> None:
    """Solved long before the end: trainings of all variants with other seeds ended at 0.985 to 1,
    more than ten deviations above the limit."""
    rows = train("run", **BANDIT, **variant, **give(monkeypatch, share(LETTERS))).metrics
    assert rows[0]["reward"] < 0.6
    assert sum(row["reward"] for row in rows[-3:]) / 3 > 0.9


@pytest.mark.parametrize(("place", "form"), [("loss", "k3"), ("reward", "k1")])
def test_kl_holds_the_policy_back(
    train: Train, monkeypatch: pytest.MonkeyPatch, place: str, form: str
) -> None:
    """On two seeds 0.9 to 1.3 were held and 4.2 to 4.8 free in the mean of the last ten steps, a
    ratio of about 0.25: the limit is twice that. The rate of false alarms was not measured."""
    stage = BANDIT | {"lr": 3e-3} | give(monkeypatch, share(LETTERS))

    def drift(name: str, beta: float) -> float:
        rows = train(name, **stage, kl={"beta": beta, "place": place, "form": form}).metrics
        return sum(row["kl"] for row in rows[-10:])

    assert drift("held", 3.0) < drift("free", 1e-9) / 2


def test_on_policy_the_loss_is_the_kl_penalty(
    train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Ratio 1 and advantages that sum to 0 leave nothing else; responses of one token make the means
    # over tokens and over responses the same.
    stage = give(monkeypatch, share(LETTERS))
    rows = train("run", **stage, steps=4, max_response_tokens=1, kl={"beta": 0.5}, lr=1e-2).metrics
    assert rows[-1]["kl"] > 0.01
    for row in rows:
        assert row["loss"] == pytest.approx(0.5 * row["kl"], abs=1e-6)


def test_an_inverted_reward_falls(train: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    letters = share(LETTERS)
    rows = train("run", **BANDIT, **give(monkeypatch, lambda text: 1 - letters(text))).metrics
    assert sum(1 - row["reward"] for row in rows[-3:]) / 3 < 0.05


def test_sft_learns_its_targets(train: Train) -> None:
    stage = {"objective": "sft", "rewards": [], "template": "boxed", "max_response_tokens": 24}
    rows = train("run", **stage, steps=15, questions_per_step=8, lr=1e-2).metrics
    assert rows[-1]["loss"] < rows[0]["loss"] / 2
    assert rows[0]["dropped_prompts"] == 0
    assert "reward" not in rows[0]


def test_nothing_of_a_demonstration_is_truncated(train: Train) -> None:
    stage = {"objective": "sft", "rewards": [], "template": "boxed", "max_response_tokens": 24}
    masked, plain = (train(f"{masked}", **stage, mask_truncated=masked) for masked in (True, False))
    assert masked.figures() == plain.figures()
    assert same(masked.weights, plain.weights)


def test_over_long_prompts_are_dropped_and_counted(train: Train, items: list[Item]) -> None:
    long = [replace(item, question="x" * 500) if n < 2 else item for n, item in enumerate(items)]
    run = train("run", items=long, max_prompt_tokens=200, questions_per_step=8, steps=1)
    row = run.metrics[0]
    assert row["dropped_prompts"] == 2
    assert row["tokens"] == row["response_length"] * 6 * 4


def test_labels_that_are_missing_pay_nobody_and_are_counted(
    train: Train, items: list[Item]
) -> None:
    half = [replace(item, answer="" if n % 2 else item.answer) for n, item in enumerate(items)]
    row = train(
        "run", items=half, rewards=[{"name": "accuracy"}], questions_per_step=8, steps=1
    ).metrics[0]
    assert row["unlabelled"] == 4
    assert row["unusable_groups"] == 4


def test_groups_without_rewards_leave_the_weights_alone(
    train: Train, monkeypatch: pytest.MonkeyPatch, base: dict[str, Tensor]
) -> None:
    offer(monkeypatch, "test", lambda r: GroupReward((None,) * 4, {}))
    stage = {"rewards": [{"name": "test"}], "kl": {"beta": 1.0}}
    with pytest.raises(TrainingError, match="without one update"):
        train("run", **stage)


def test_constant_rewards_have_no_gradient(
    train: Train, monkeypatch: pytest.MonkeyPatch, base: dict[str, Tensor]
) -> None:
    never = train("never", **give(monkeypatch, lambda text: 1.0))
    assert same(never.weights, base)
    assert [row["idle_updates"] for row in never.metrics] == [1, 1]

    # After a step that left momentum behind, and with weight decay: neither moves the weights.
    calls: list[str] = []

    def then_constant(text: str) -> float:
        calls.append(text)
        return float(len(calls) <= 16 and len(calls) % 2)

    stage = {"weight_decay": 0.1, **give(monkeypatch, then_constant)}
    once = train("once", steps=1, **stage)
    assert not same(once.weights, base)
    calls.clear()
    run = train("run", steps=3, **stage)
    assert same(run.weights, once.weights)
    assert [row["zero_variance_groups"] for row in run.metrics] == [0, 4, 4]
    assert [row["grad_norm"] > 0 for row in run.metrics] == [True, False, False]
    assert [row["skipped_steps"] for row in run.metrics] == [0, 0, 0]


@pytest.mark.parametrize("zero_stage", [0, 1, 2, 3])
def test_a_gradient_that_is_not_finite_is_skipped_and_ends_the_third_time(
    train: Train, monkeypatch: pytest.MonkeyPatch, zero_stage: int, tmp_path: Path
) -> None:
    calls: list[str] = []

    def broken_twice(text: str) -> float:
        calls.append(text)
        return 1e300 * len(calls) if len(calls) <= 2 * 16 else float(len(calls))

    resources = {"zero_stage": zero_stage}
    stage = {"advantage": "group_mean", "steps": 4, **give(monkeypatch, broken_twice)}
    run = train("twice", resources=resources, **stage)
    assert [row["skipped_steps"] for row in run.metrics] == [1, 1, 0, 0]
    assert all(weight.isfinite().all() for weight in run.weights.values())
    with pytest.raises(TrainingError, match=r"step 3: the gradient was not finite 3 times"):
        train("ever", resources=resources, **stage | give(monkeypatch, lambda t: 1e300 * len(t)))


def test_a_bfloat16_gradient_that_is_not_finite_is_skipped_too(
    train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = give(monkeypatch, lambda text: 1e300 * len(text))
    with pytest.raises(TrainingError, match=r"step 3: the gradient was not finite 3 times"):
        train("run", advantage="group_mean", steps=3, resources={"dtype": "bfloat16"}, **broken)


def test_refused_steps_are_counted_over_a_stop(
    train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two before it and one after it end the training."""
    stage = {"advantage": "group_mean", "steps": 4, "resources": {"save_every": 1}}
    stage |= give(monkeypatch, lambda text: 1e300 * len(text))
    with killed_at_update(3):
        train("run", **stage)
    with pytest.raises(TrainingError, match=r"step 3: the gradient was not finite 3 times"):
        train("run", **stage)


def test_an_update_without_samples_does_not_start_the_count_again(
    train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Refused, nothing to do, refused, nothing to do, refused."""
    groups: list[int] = []

    def every_other(rollout: Rollout) -> GroupReward:
        groups.append(len(groups))
        lost = (groups[-1] // 4) % 2
        return GroupReward(
            tuple(None if lost else 1e300 * len(text) for text in rollout.responses), {}
        )

    offer(monkeypatch, "test", every_other)
    with pytest.raises(TrainingError, match=r"step 5: the gradient was not finite 3 times"):
        train("run", advantage="group_mean", steps=6, rewards=[{"name": "test"}])


def test_no_one_and_three_pictures_and_the_placeholders_own_name(
    train: Train, picture: Callable[..., bytes], base: dict[str, Tensor]
) -> None:
    """A question may spell the picture token: it stays text, and every picture its place."""
    items = [
        Item("none", "Is <|image_pad|> a word?"),
        Item("one", "What is this?", images=(picture(1),)),
        Item("three", "Which differs?", images=(picture(2), picture(3, 56, 84), picture(2))),
        Item("named", "Why <|vision_start|><|image_pad|>?", images=(picture(4),)),
    ]
    row, *_ = train("run", items=items, steps=1, kl={"beta": 0.1}).metrics
    assert row["pictures"] == 5
    assert row["dropped_prompts"] == 0
    assert row["engine_gap"] < 1e-5
    assert row["grad_norm"] > 0
    assert row["device_seconds"] == sum(v for k, v in row.items() if k.startswith("seconds_"))
    assert row["sampled_tokens"] == row["tokens"]


def test_the_reference_of_a_stage_is_where_it_starts(
    train: Train, questions: Path, tmp_path: Path
) -> None:
    first = train("first", lr=1e-2, steps=1)
    backend("deepspeed").train(
        Stage.model_validate(SMALL | {"kl": {"beta": 0.1}, "lr": 1e-3}),
        Inputs(first.workdir / "checkpoint", questions, 0),
        Resources(),
        tmp_path / "second",
    )
    rows = read(tmp_path / "second").metrics
    assert rows[0]["kl"] == 0
    assert rows[1]["kl"] > 0


@pytest.mark.parametrize(
    ("stage", "resources", "message"),
    [
        ({"template": "boxd"}, {}, "did you mean 'boxed'"),
        ({"objective": "sft"}, {}, "rewards have no meaning"),
        ({"objective": "sft", "rewards": [], "kl": {"beta": 1}}, {}, "kl.beta has no meaning"),
        ({}, {"dtype": "bfloat16", "zero_stage": 0}, "use zero_stage 1"),
        ({"vote_size": 8, "external": {"models": ["m"]}}, {}, "leave one out"),
    ],
)
def test_what_cannot_be_trained_is_refused(
    stage: dict[str, Any], resources: dict[str, Any], message: str
) -> None:
    made = Stage.model_validate(SMALL | stage)
    problems = backend("deepspeed").problems(made, Resources.model_validate(resources))
    assert len(problems) == 1
    assert message in problems[0]


def test_mistakes_in_the_inputs_are_reasons(
    train: Train, items: list[Item], tmp_path: Path, questions: Path
) -> None:
    unlabelled = [replace(item, answer="", solution="") for item in items]
    with pytest.raises(TrainingError, match="none of the 8 questions"):
        train("a", items=unlabelled, rewards=[{"name": "accuracy"}])
    with pytest.raises(TrainingError, match="none of the 8 questions"):
        train("b", items=unlabelled, objective="sft", rewards=[])
    with pytest.raises(TrainingError, match="not a folder"):
        backend("deepspeed").train(
            Stage.model_validate(SMALL),
            Inputs(tmp_path / "nowhere", questions, 0),
            Resources(),
            tmp_path / "c",
        )


def test_bfloat16_trains(train: Train, base: dict[str, Tensor]) -> None:
    run = train("run", resources={"dtype": "bfloat16"}, lr=1e-2)
    assert not same({k: v.float() for k, v in run.weights.items()}, base)
    assert all(weight.isfinite().all() for weight in run.weights.values())
