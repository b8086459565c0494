"""What a trainer hands to the rewards of a group."""

from __future__ import annotations

from typing import Any

import pytest

from backends.base.engine import Response
from backends.base.reward import GroupReward, Rollout
from backends.base.stage import Stage
from backends.training.groups import Group
from backends.training.samples import Drawn, Sample, reward
from benchmarks.base import Item
from tests.backends.offered import offer


def test_a_reward_sees_the_tokens_and_the_end_of_every_response(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[Rollout] = []

    def spy(rollout: Rollout) -> GroupReward:
        seen.append(rollout)
        return GroupReward((1.0, 0.0), {})

    offer(monkeypatch, "spy", spy)
    settings: dict[str, Any] = {
        "rewards": [{"name": "spy"}],
        **{"steps": 1, "questions_per_step": 1, "max_response_tokens": 4, "lr": 1e-5},
    }
    responses = [Response("7", (5, 1), "stop"), Response("8 or", (6, 7, 8, 9), "length")]
    sample = Sample(
        0,
        Group(None, [list(r.tokens) for r in responses]),  # type: ignore[arg-type]
        truncated=[r.finish == "length" for r in responses],
    )
    item = Item(id="q", question="What?", images=(), answer="7")
    rewarded = reward(Drawn(0, "q#0", item), sample, responses, Stage.model_validate(settings))
    (group,) = seen
    assert (group.responses, group.lengths, group.finishes) == (
        ("7", "8 or"),
        (2, 4),
        ("stop", "length"),
    )
    assert (group.max_response_tokens, group.answer) == (4, "")
    assert rewarded.rewards == (1.0, 0.0)
