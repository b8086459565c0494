"""The contract of a reward: a group of responses in, a reward for each out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from backends.base.config import Config
from benchmarks.answers.asked import Asked, asked_of

#: Why a response ended: by itself, or at the limit of its length.
Finish = Literal["stop", "length"]


@dataclass(frozen=True)
class Rollout:
    """One group as a reward sees it: a question and its G responses, in sample order.

    ``lengths`` [G] are the responses' tokens, an end-of-turn token included, and ``finishes`` [G]
    say why they ended. ``max_response_tokens`` is the stage's limit. ``answer`` is the gold, and
    ``meta`` what else the question came with: both are handed over only to rewards that declare
    ``needs_answer``; others get an empty string and None. ``asked`` says what kind of answer the
    question wants and which options it has, as far as the reader of answers needs it, without the
    gold; by default what the text of the question says.
    """

    id: str
    question: str
    responses: tuple[str, ...]
    lengths: tuple[int, ...]
    finishes: tuple[Finish, ...]
    max_response_tokens: int
    answer: str = ""
    meta: Mapping[str, Any] | None = None
    asked: Asked = None  # type: ignore[assignment]

    def __post_init__(self) -> None:
        if self.asked is None:
            object.__setattr__(self, "asked", asked_of(self.question, self.meta))


@dataclass(frozen=True)
class GroupReward:
    """Rewards of a group [G]; None marks a response that cannot be scored and is left out of the
    group's mean. ``stats`` are scalars to average over groups (``majority_ratio``, ...)."""

    rewards: tuple[float | None, ...]
    stats: Mapping[str, float]


class NoParameters(Config):
    """Of a reward that has nothing to set."""


class Reward(ABC):
    """What a group's responses are worth. The first sentence of its docstring is what lists show.

    ``name`` is what it is called in messages, ``version`` is raised with every change of what it
    computes (the source of a user's own file is hashed instead). Only a reward with
    ``needs_answer`` is shown the label. ``Parameters`` are the settings that an experiment may give
    it under ``parameters:``; a wrong name or type is told when the experiment is planned.

    One object is made of each setting and rewards every group of a training. A vote may say
    ``order_matters``: of equal candidates the first wins; to every other reward the order of the
    responses is nothing.
    """

    name: ClassVar[str]
    version: ClassVar[int]
    needs_answer: ClassVar[bool] = False
    order_matters: ClassVar[bool] = False
    Parameters: ClassVar[type[Config]] = NoParameters

    def __init__(self, parameters: Any = None) -> None:
        self.parameters = self.Parameters() if parameters is None else parameters

    @abstractmethod
    def __call__(self, group: Rollout) -> GroupReward:
        """The rewards of the group, in the order of its responses.

        Pure and bounded in time: the trainer calls it in its own process and waits, so what may
        hang (a judge, a solver) needs a time limit of its own, and raises or returns None when it
        is reached. Responses are untrusted text of any form and length, the empty one included.
        """
