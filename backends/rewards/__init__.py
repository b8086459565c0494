"""Rewards by name: a group of responses in, a reward for each out."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

from pydantic import ValidationError

from backends.base.reward import GroupReward, Reward, Rollout
from backends.base.stage import RewardTerm
from benchmarks.plugins import BrokenExtension, Extension, Registry, unknown

log = logging.getLogger(__name__)

REWARDS = Registry(
    "reward",
    {
        "majority": "backends.rewards.majority:Majority",
        "majority_released": "backends.rewards.majority:MajorityReleased",
        "accuracy": "backends.rewards.correctness:Accuracy",
        "exact": "backends.rewards.correctness:Exact",
        "tag": "backends.rewards.correctness:Tag",
        "cosine_length": "backends.rewards.length:CosineLength",
        "overlong": "backends.rewards.length:Overlong",
        "repetition": "backends.rewards.repetition:Repetition",
        "format_boxed": "backends.rewards.format:FormatBoxed",
        "format_think": "backends.rewards.format:FormatThink",
        "format_lmm_r1": "backends.rewards.format:FormatLMMR1",
        "format_answer_first": "backends.rewards.format:FormatAnswerFirst",
        "format_adaptive": "backends.rewards.format:FormatAdaptive",
    },
)


def reward_class(name: str) -> type[Reward]:
    """The reward of this name: ours, one that an installed package offers as ``reward.<name>``, or
    that of a user's file, ``path/to/file.py:ClassName``.

    Raises UnknownExtension naming the nearest known one, BrokenExtension for one that cannot be
    loaded or is no :class:`Reward`.
    """
    return _loaded(REWARDS.find(name))


def reward(term: RewardTerm) -> Reward:
    """The reward of a term, with its parameters. The same object for equal terms.

    Raises as :func:`reward_class`, and pydantic's ValidationError for parameters that it has not.
    """
    return _made(reward_class(term.name), json.dumps(term.parameters, sort_keys=True))


@cache
def _made(loaded: type[Reward], parameters: str) -> Reward:
    return loaded(loaded.Parameters.model_validate_json(parameters))


def _loaded(extension: Extension) -> type[Reward]:
    loaded = extension.load()
    if isinstance(loaded, type) and issubclass(loaded, Reward):
        if isinstance(getattr(loaded, "name", None), str):
            return loaded
        lacks = "says no `name`"
    else:
        lacks = "is no subclass of backends.base.reward.Reward"
    raise BrokenExtension(f"reward {extension.name!r} of {extension.origin} {lacks}")


def identity(term: RewardTerm) -> str:
    """``name@version`` and every parameter, defaults included: what a step's key carries of a term.
    A user's file is known by its name and the hash of its source, not by where it lies."""
    found = REWARDS.find(term.name)
    parameters = reward(term).parameters.model_dump(mode="json")
    shown = json.dumps(parameters, sort_keys=True) if parameters else ""
    return found.identity(_loaded(found)) + shown


def mistakes(terms: Sequence[RewardTerm]) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """What is wrong with a stage's rewards: the place in the list, such as ``(1, "parameters",
    "buffer")``, and what to say of it."""
    for i, term in enumerate(terms):
        try:
            loaded = reward_class(term.name)
        except KeyError as error:
            yield (i, "name"), str(error)
            continue
        try:
            reward(term)
        except ValidationError as error:
            for one in error.errors():
                yield (i, "parameters", *one["loc"]), _said(term, loaded, one)
        except Exception as error:  # a stranger's class may raise anything
            said = f"reward {term.name!r} cannot be made: {type(error).__name__}: {error}"
            yield (i, "name"), said


def _said(term: RewardTerm, loaded: type[Reward], error: Any) -> str:
    if error["type"] == "extra_forbidden":
        noun = f"parameter of reward {term.name!r}"
        return unknown(noun, error["loc"][-1], loaded.Parameters.model_fields)
    place = ".".join(map(str, error["loc"])) or "parameters"
    said = error["msg"].removeprefix("Value error, ").replace("Input should be", "expected")
    given = error["input"]
    shown = f", not {given!r}" if isinstance(given, (str, int, float, bool)) else ""
    return f"{place} of reward {term.name!r}: {said}{shown}"


def score(rollout: Rollout, rewards: Sequence[RewardTerm]) -> GroupReward:
    """Weighted sum of the named rewards over one group, with their stats merged.

    A response that one of them cannot score (None, or no finite number) has no reward. A reward
    that raises takes the whole group out (all None, ``reward_errors`` 1) and is logged with the
    question's id: one bad question must not end a training.
    """
    total: list[float | None] = [0.0] * len(rollout.responses)
    stats: dict[str, float] = {"reward_errors": 0.0}
    blind = replace(rollout, answer="", meta=None)
    for term in rewards:
        made = reward(term)
        try:
            result = made(rollout if made.needs_answer else blind)
            if len(result.rewards) != len(total):
                raise ValueError(
                    f"{len(result.rewards)} rewards for a group of {len(total)} responses"
                )
        except Exception as error:
            log.warning(
                "reward %r failed on question %r, which is left out of this step: %s: %s",
                made.name,
                rollout.id,
                type(error).__name__,
                error,
            )
            return GroupReward((None,) * len(total), {"reward_errors": 1.0})
        stats |= result.stats
        total = [
            None if old is None or new is None else old + term.weight * new
            for old, new in zip(total, result.rewards, strict=True)
        ]
    finite = (None if r is None or not math.isfinite(r) else r for r in total)
    return GroupReward(tuple(finite), stats)
