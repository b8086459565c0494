"""Every reward of ours keeps the contract; and the contract tests find those that do not."""

from __future__ import annotations

import random
from typing import Any

import pytest
from pydantic import ConfigDict

from backends.base.config import Config
from backends.base.reward import GroupReward, Reward, Rollout
from backends.base.stage import RewardTerm
from backends.rewards import REWARDS, reward
from backends.testing.rewards import RewardContract

SETTINGS: dict[str, dict[str, Any]] = {
    "overlong": {"max_length": 9, "buffer": 4},
    "cosine_length": {"max_length": 10, "correct": [1.0, 0.5], "wrong": [-1.0, -0.5]},
    "repetition": {"ngram": 2},
}
CASES = [*((name, {}) for name in REWARDS._ours), *SETTINGS.items()]


@pytest.mark.parametrize(("name", "parameters"), CASES, ids=str)
class TestOurs(RewardContract):
    @pytest.fixture
    def reward(self, name: str, parameters: dict[str, Any]) -> Reward:
        return reward(RewardTerm(name=name, parameters=parameters))


class Sound(Reward):
    """The length of a response."""

    name = "sound"
    version = 1

    def __call__(self, group: Rollout) -> GroupReward:
        return GroupReward(tuple(float(len(text)) for text in group.responses), {})


class Undocumented(Sound):
    pass


class Short(Sound):
    """One reward too few."""

    def __call__(self, group: Rollout) -> GroupReward:
        return GroupReward(super().__call__(group).rewards[1:], {})


class Infinite(Sound):
    """No number where a response is empty."""

    def __call__(self, group: Rollout) -> GroupReward:
        return GroupReward(tuple(len(t) or float("inf") for t in group.responses), {})


class Random(Sound):
    """Another reward at each call."""

    def __call__(self, group: Rollout) -> GroupReward:
        return GroupReward(tuple(random.random() for _ in group.responses), {})


class Remembering(Sound):
    """Depends on the groups before."""

    seen = 0

    def __call__(self, group: Rollout) -> GroupReward:
        self.seen += 1
        return GroupReward((float(self.seen),) * len(group.responses), {})


class First(Sound):
    """1 for the response that comes first."""

    def __call__(self, group: Rollout) -> GroupReward:
        return GroupReward(tuple(float(i == 0) for i in range(len(group.responses))), {})


class Fragile(Sound):
    """Raises on an empty response."""

    def __call__(self, group: Rollout) -> GroupReward:
        return GroupReward(tuple(1.0 / len(text) for text in group.responses), {})


class Loose(Sound):
    """Takes any parameter."""

    class Parameters(Config):
        model_config = ConfigDict(extra="ignore")


class Peeking(Sound):
    """Needs the label without saying so."""

    def __call__(self, group: Rollout) -> GroupReward:
        assert group.meta is not None
        return GroupReward((0.0,) * len(group.responses), {})


@pytest.mark.parametrize(
    ("broken", "test"),
    [
        (Undocumented, "it_says_what_it_is"),
        (Short, "each_response_has_a_finite_reward_or_none"),
        (Infinite, "each_response_has_a_finite_reward_or_none"),
        (Random, "the_same_group_has_the_same_rewards"),
        (Remembering, "the_same_group_has_the_same_rewards"),
        (First, "the_order_of_the_responses_is_nothing_to_it"),
        (Fragile, "each_response_has_a_finite_reward_or_none"),
        (Loose, "a_parameter_that_it_has_not_is_refused"),
        (Peeking, "one_that_is_not_shown_the_label_does_without"),
    ],
)
def test_the_contract_finds_what_is_broken(broken: type[Reward], test: str) -> None:
    check = getattr(RewardContract(), f"test_{test}")
    check(Sound())
    with pytest.raises((AssertionError, ZeroDivisionError, pytest.fail.Exception)):
        check(broken())
