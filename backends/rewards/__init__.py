"""Reward functions by name: a group of responses in, a reward for each out."""

from __future__ import annotations

import difflib
import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.metadata import entry_points

from backends.base.reward import GroupReward, RewardFunction, Rollout
from backends.base.stage import Reward
from backends.rewards.correctness import accuracy, exact, tag
from backends.rewards.format import (
    format_adaptive,
    format_answer_first,
    format_boxed,
    format_lmm_r1,
    format_think,
)
from backends.rewards.majority import majority, majority_released

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RewardEntry:
    """A reward function as it is listed. Only one with ``needs_answer`` is shown the label."""

    name: str
    function: RewardFunction
    needs_answer: bool
    purpose: str


REWARDS: dict[str, RewardEntry] = {
    entry.name: entry
    for entry in (
        RewardEntry(
            "majority",
            majority,
            False,
            "1 for agreeing with the group's majority; no-answer never wins",
        ),
        RewardEntry(
            "majority_released",
            majority_released,
            False,
            "MM-UPT's released vote: raw strings, a missing answer is the string None and can win",
        ),
        RewardEntry("accuracy", accuracy, True, "1 for an answer equivalent to the label"),
        RewardEntry(
            "exact", exact, True, "1 where the whole response equals the label (No-Thinking)"
        ),
        RewardEntry(
            "tag", tag, True, "1 where the text in the <answer> tags equals the label (Thinking)"
        ),
        RewardEntry("format_boxed", format_boxed, False, "1 for a non-empty \\boxed{} answer"),
        RewardEntry(
            "format_think",
            format_think,
            False,
            "1 for <think>...</think> <answer>...</answer> and nothing else",
        ),
        RewardEntry(
            "format_lmm_r1",
            format_lmm_r1,
            False,
            "LMM-R1's stricter form: no space between the tags, each tag once",
        ),
        RewardEntry(
            "format_answer_first",
            format_answer_first,
            False,
            "1 for <answer>...</answer> <reason>...</reason> and nothing else",
        ),
        RewardEntry(
            "format_adaptive",
            format_adaptive,
            False,
            "1 for <answer>...</answer>, with <think>...</think> before it or without",
        ),
    )
}


def reward(name: str) -> RewardEntry:
    """The reward function of this name: ours, or one that an installed package offers.

    A package offers one through the entry-point group ``harness.plugins``, under the name
    ``reward.<name>``, as a :class:`RewardEntry`. Raises KeyError naming the nearest known one.
    """
    if name in REWARDS:
        return REWARDS[name]
    offered = {
        point.name.removeprefix("reward."): point
        for point in entry_points(group="harness.plugins")
        if point.name.startswith("reward.")
    }
    if name in offered:
        entry: RewardEntry = offered[name].load()
        return entry
    known = [*REWARDS, *offered]
    near = difflib.get_close_matches(name, known, 1)
    hint = f", did you mean {near[0]!r}?" if near else ""
    raise KeyError(f"unknown reward {name!r}{hint} Known: {', '.join(known)}.")


def score(rollout: Rollout, rewards: Sequence[Reward]) -> GroupReward:
    """Weighted sum of the named functions over one group, with their stats merged.

    A response that one of them cannot score (None, or no finite number) has no reward. A function
    that raises takes the whole group out (all None, ``reward_errors`` 1) and is logged with the
    question's id: one bad question must not end a training.
    """
    total: list[float | None] = [0.0] * len(rollout.responses)
    stats: dict[str, float] = {"reward_errors": 0.0}
    blind = replace(rollout, answer="", meta=None)
    for part in rewards:
        entry = reward(part.name)
        try:
            result = entry.function(rollout if entry.needs_answer else blind)
            if len(result.rewards) != len(total):
                raise ValueError(
                    f"{len(result.rewards)} rewards for a group of {len(total)} responses"
                )
        except Exception as error:
            log.warning(
                "reward %r failed on question %r, which is left out of this step: %s: %s",
                part.name,
                rollout.id,
                type(error).__name__,
                error,
            )
            return GroupReward((None,) * len(total), {"reward_errors": 1.0})
        stats |= result.stats
        total = [
            None if old is None or new is None else old + part.weight * new
            for old, new in zip(total, result.rewards, strict=True)
        ]
    finite = (None if r is None or not math.isfinite(r) else r for r in total)
    return GroupReward(tuple(finite), stats)
