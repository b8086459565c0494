"""Estimators and losses in whole trainings: each solves a bandit, and each keeps its promises."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from torch import Tensor

from backends.base.backend import TrainingError
from backends.base.reward import GroupReward, Rollout
from backends.base.stage import Stage
from backends.methods import method
from backends.training.schedule import learning_rate
from benchmarks.base import Item
from tests.backends.offered import offer

from .conftest import SMALL, Train, apart, same

BANDIT: dict[str, Any] = {"steps": 25, "group_size": 8, "max_response_tokens": 3, "lr": 1e-2}
LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
IN_REWARD = {"beta": 1e-3, "form": "k1", "place": "reward"}
CRITIC = {"advantage": "gae", "critic": {"lr": 1e-2}}


def give(
    monkeypatch: pytest.MonkeyPatch, reward: Callable[[Rollout], list[float | None]]
) -> dict[str, Any]:
    """Stage settings with a reward that is a function of the group."""
    offer(monkeypatch, "test", lambda rollout: GroupReward(tuple(reward(rollout)), {}))
    return {"rewards": [{"name": "test"}]}


def share(text: str) -> float:
    """The share of a response's characters that are letters."""
    return sum(c in LETTERS for c in text) / max(len(text), 1)


def shares(rollout: Rollout) -> list[float | None]:
    return [share(text) for text in rollout.responses]


VARIANTS: dict[str, dict[str, Any]] = {
    "dr_grpo": {"advantage": "group_mean", "aggregation": "fixed_length"},
    "batch_norm": {"advantage": "batch_norm"},
    "rloo": {"advantage": "rloo", "kl": IN_REWARD},
    "reinforce_baseline": {
        "advantage": "reinforce_baseline",
        "updates_per_rollout": 2,
        "kl": IN_REWARD,
    },
    "gae": {"updates_per_rollout": 2, "kl": IN_REWARD, **CRITIC},
    "sequence_ratio": {"ratio": "sequence", "updates_per_rollout": 2, "dual_clip": 3.0},
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_variant_solves_a_bandit(
    train: Train, monkeypatch: pytest.MonkeyPatch, variant: str
) -> None:
    """Solved long before the end: trainings of all variants with other seeds ended at 0.985 to 1,
    more than ten deviations above the limit."""
    rows = train("run", **BANDIT, **VARIANTS[variant], **give(monkeypatch, shares)).metrics
    assert rows[0]["reward"] < 0.6
    assert sum(row["reward"] for row in rows[-3:]) / 3 > 0.9


COINS: dict[str, dict[str, Any]] = {"grpo": {}, "gae": CRITIC} | {
    name: {"advantage": name} for name in ("group_mean", "batch_norm", "rloo", "reinforce_baseline")
}


@pytest.mark.parametrize("estimator", COINS)
def test_a_coin_and_its_other_side_move_every_weight_by_opposite_steps(
    train: Train, monkeypatch: pytest.MonkeyPatch, base: dict[str, Tensor], estimator: str
) -> None:
    """So nothing is learned, on average, from a reward that is a fair coin."""

    def step(pays: bool) -> dict[str, Tensor]:
        coin = random.Random(0)

        def toss(rollout: Rollout) -> list[float | None]:
            return [float((coin.random() < 0.5) == pays) for _ in rollout.responses]

        tossed = give(monkeypatch, toss)
        return train(f"{pays}", **BANDIT | {"steps": 1}, **COINS[estimator], **tossed).weights

    heads, tails = step(True), step(False)
    assert apart(heads, base) > 1e-3
    together = {name: heads[name] + tails[name] - base[name] for name in base}
    assert apart(together, base) < 1e-4 * apart(heads, base)


@pytest.mark.parametrize("preset", ["mm_upt", "mm_upt_released"])
def test_mm_upt_with_a_poisoned_label_column_gives_the_same_bits(
    train: Train, items: list[Item], preset: str
) -> None:
    small = {k: SMALL[k] for k in ("steps", "questions_per_step", "group_size", "lr")}
    (stage,) = method(preset).resolve(small | {"max_response_tokens": 8, "max_prompt_tokens": 400})
    poisoned = [
        replace(item, answer=rf"\boxed{{{n}}} <answer>{n}</answer>", solution="7", meta={"key": 7})
        for n, item in enumerate(items)
    ]
    fields = stage.model_dump()
    true, false = train("true", **fields), train("poisoned", items=poisoned, **fields)
    assert same(true.weights, false.weights)
    labels = {"accuracy", "label_accuracy"}
    for one, two in zip(true.figures(), false.figures(), strict=True):
        assert {k: v for k, v in one.items() if k not in labels} == {
            k: v for k, v in two.items() if k not in labels
        }


def test_truncated_responses_have_a_gradient_unless_they_are_masked(
    train: Train, monkeypatch: pytest.MonkeyPatch, base: dict[str, Tensor]
) -> None:
    # So short that every response ends by length.
    stage = {"max_response_tokens": 2, "questions_per_step": 8, "steps": 1, "lr": 1e-2}
    stage |= give(monkeypatch, shares)
    run = train("all", **stage)
    assert run.metrics[0]["truncated"] == 1
    assert run.metrics[0]["tokens"] == 2 * 8 * 4
    assert not same(run.weights, base)
    with pytest.raises(TrainingError, match="without one update"):
        train("masked", **stage, mask_truncated=True)


def test_responses_without_a_reward_are_counted_and_left_out(
    train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    def first_is_lost(rollout: Rollout) -> list[float | None]:
        _, *rest = shares(rollout)
        return [float("nan") if len(rollout.id) % 2 else None, *rest]

    for advantage in ("group_norm", "reinforce_baseline"):
        row = train(
            advantage, steps=1, advantage=advantage, **give(monkeypatch, first_is_lost)
        ).metrics[0]
        assert row["unscored"] == 4
        assert row["unusable_groups"] == 0
        assert row["skipped_steps"] == 0


def test_a_reward_that_raises_takes_its_question_out_and_is_counted(
    train: Train, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def raises_once(rollout: Rollout) -> list[float | None]:
        if rollout.id == "q3":
            raise ZeroDivisionError("no such thing")
        return shares(rollout)

    run = train("run", steps=1, questions_per_step=8, **give(monkeypatch, raises_once))
    row = run.metrics[0]
    assert (row["reward_errors"], row["unusable_groups"]) == (1, 1)
    assert "'q3'" in caplog.text
    assert "no such thing" in caplog.text


def test_policy_and_critic_are_stepped_together_or_not_at_all(
    train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rewards whose returns overflow break the critic's error alone: whitened advantages hide them
    from the policy."""
    groups: list[int] = []

    def breaks(rollout: Rollout) -> list[float | None]:
        groups.append(len(groups))
        scale = 1.0 if len(groups) <= 4 else 1e60
        return [scale * share(text) for text in rollout.responses]

    stage = {"weight_decay": 0.1, **CRITIC, **give(monkeypatch, breaks)}
    once = train("once", **stage, steps=1)
    groups.clear()
    twice = train("twice", **stage, steps=2)
    assert [row["skipped_steps"] for row in twice.metrics] == [0, 1]
    assert same(twice.weights, once.weights)


def test_the_critic_learns_what_is_paid(train: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    stage = {"steps": 12, "lr": 1e-6, "advantage": "gae", "critic": {"lr": 1e-2, "weight": 1.0}}
    rows = train("run", **stage, **give(monkeypatch, lambda r: [1.0] * 4)).metrics
    assert rows[0]["value_loss"] == pytest.approx(1.0)  # the values start at 0, every return is 1
    assert rows[-1]["value_loss"] < 0.2


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, [1, 1, 1, 1, 1]),
        ({"warmup_steps": 2}, [0.5, 1, 1, 1, 1]),
        ({"lr_schedule": "linear"}, [1, 0.8, 0.6, 0.4, 0.2]),
        ({"lr_schedule": "linear", "warmup_steps": 1}, [1, 1, 0.75, 0.5, 0.25]),
        ({"lr_schedule": "cosine", "warmup_steps": 1}, [1, 1, 0.853553, 0.5, 0.146447]),
        ({"warmup_steps": 9}, [1 / 9, 2 / 9, 3 / 9, 4 / 9, 5 / 9]),
    ],
)
def test_the_learning_rate_follows_its_schedule(
    fields: dict[str, Any], expected: list[float]
) -> None:
    stage = Stage.model_validate(SMALL | {"steps": 5, "lr": 1.0} | fields)
    assert [learning_rate(stage, step) for step in range(5)] == pytest.approx(expected, rel=1e-5)
