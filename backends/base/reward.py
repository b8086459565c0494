"""The contract of a reward: a group in, its rewards out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Rollout:
    """One group as a reward function sees it: a question and its G responses, in sample order.

    ``truncated[i]`` says that response i ended by length. ``answer`` is the gold; the trainer hands
    it over only to functions that declare ``needs_answer``; others get an empty string.
    """

    id: str
    question: str
    responses: tuple[str, ...]
    truncated: tuple[bool, ...]
    answer: str = ""
    meta: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class GroupReward:
    """Rewards of a group [G]; None marks a response that cannot be scored and is left out of the
    group's mean. ``stats`` are scalars to average over groups (``majority_ratio``, ...)."""

    rewards: tuple[float | None, ...]
    stats: Mapping[str, float]


#: Pure and bounded in time: the trainer calls it in its own process and waits, so what may hang (a
#: judge, a solver) needs a time limit of its own, and raises or returns None when it is reached.
RewardFunction = Callable[[Rollout], GroupReward]
