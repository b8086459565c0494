"""Rewards that a test makes of a function."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import ModuleType

import pytest

from backends.base.reward import GroupReward, Reward, Rollout
from backends.rewards import REWARDS


def offer(
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    function: Callable[[Rollout], GroupReward],
    needs_answer: bool = False,
) -> None:
    """Make a function of the group a reward of ours of this name, until the test ends."""

    class Offered(Reward):
        """Of a test."""

        version = 1

        def __call__(self, group: Rollout) -> GroupReward:
            return function(group)

    Offered.name, Offered.needs_answer = name, needs_answer
    module = ModuleType(f"reward_{name}_of_a_test")
    module.Offered = Offered  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setitem(REWARDS._ours, name, f"{module.__name__}:Offered")  # type: ignore[arg-type]
