"""Rewards of length, in tokens: DAPO's penalty for over-long responses, and the cosine reward."""

from __future__ import annotations

import math

from pydantic import Field

from backends.base.config import Config
from backends.base.reward import GroupReward, Reward, Rollout
from backends.rewards.correctness import correct, labelled


class Overlong(Reward):
    """0 for a response that leaves the buffer free, down to -1 at the maximum length.

    DAPO's soft over-length penalty (arXiv 2503.14476 section 3.4, eq. 13): 0 up to ``max_length -
    buffer`` tokens, from there a straight line to -1 at ``max_length``, and -1 beyond. The share of
    responses that it touches is counted as ``overlong``.
    """

    name = "overlong"
    version = 1

    class Parameters(Config):
        max_length: int | None = Field(
            default=None, ge=1, description="tokens; unset: the stage's max_response_tokens"
        )
        buffer: int | None = Field(
            default=None,
            ge=1,
            description="tokens, at most max_length; unset: a fifth of it, as 4096 of 20480",
        )

    parameters: Parameters

    def __call__(self, group: Rollout) -> GroupReward:
        longest = self.parameters.max_length or group.max_response_tokens
        buffer = min(self.parameters.buffer or longest / 5, longest)
        rewards = [max(-1.0, min(0.0, (longest - buffer - n) / buffer)) for n in group.lengths]
        touched = sum(r < 0 for r in rewards) / len(rewards)
        return GroupReward(tuple(rewards), {"overlong": touched})


class CosineLength(Reward):
    """Pays a correct response less and a wrong one more the longer it is, along a cosine.

    Source: arXiv 2502.03373 section 4.2. Of n tokens out of ``max_length`` a correct response gets
    ``end + (start - end) / 2 * (1 + cos(pi * n / max_length))`` with the two values of ``correct``,
    a wrong one the same with those of ``wrong``, and one that reaches ``max_length`` gets
    ``exceeded``. The defaults are the paper's. (Its code counts the last 16 tokens before the limit
    as exceeding too.) Without a label no rewards, counted as ``unlabelled``; a response without an
    answer is wrong.
    """

    name = "cosine_length"
    version = 1
    needs_answer = True

    class Parameters(Config):
        max_length: int | None = Field(
            default=None, ge=1, description="tokens; unset: the stage's max_response_tokens"
        )
        correct: tuple[float, float] = Field(
            default=(2.0, 1.0), description="at length 0 and towards max_length"
        )
        wrong: tuple[float, float] = Field(
            default=(-10.0, 0.0), description="at length 0 and towards max_length"
        )
        exceeded: float = Field(default=-10.0, description="at max_length and beyond")

    parameters: Parameters

    def __call__(self, group: Rollout) -> GroupReward:
        asked = labelled(group.question, group.meta, group.answer)
        stats = {"unlabelled": float(asked is None)}
        if asked is None:
            return GroupReward((None,) * len(group.responses), stats)
        right = correct(group.responses, asked)
        rewards = [self._of(n, r, group) for n, r in zip(group.lengths, right, strict=True)]
        return GroupReward(tuple(rewards), stats)

    def _of(self, length: int, right: bool, group: Rollout) -> float:
        longest = self.parameters.max_length or group.max_response_tokens
        if length >= longest:
            return self.parameters.exceeded
        start, end = self.parameters.correct if right else self.parameters.wrong
        return end + (start - end) / 2 * (1 + math.cos(math.pi * length / longest))
