"""A penalty for saying the same again."""

from __future__ import annotations

from pydantic import Field

from backends.base.config import Config
from backends.base.reward import GroupReward, Reward, Rollout


class Repetition(Reward):
    """0 where no run of words comes twice, towards -1 the more of them do.

    Minus the share of a response's n-grams that are repetitions: 1 - distinct / all, over words in
    lower case. A response of fewer words than ``ngram`` gets 0. Source: arXiv 2502.03373, whose
    released code (``reward/repetition.py``) adds this to the reward of wrong responses, beside a
    penalty a token over n-grams of 40; open-r1 (``get_repetition_penalty_reward``) rewards all
    responses so, with n-grams of 3 words.
    """

    name = "repetition"
    version = 1

    class Parameters(Config):
        ngram: int = Field(default=3, ge=1, description="words in a run")

    parameters: Parameters

    def __call__(self, group: Rollout) -> GroupReward:
        size = self.parameters.ngram
        return GroupReward(tuple(0.0 - _repeated(t, size) for t in group.responses), {})


def _repeated(text: str, size: int) -> float:
    """The share of the n-grams of ``size`` words that came before."""
    words = text.lower().split()
    if len(words) < size:
        return 0.0
    grams = list(zip(*(words[start:] for start in range(size)), strict=False))
    return 1 - len(set(grams)) / len(grams)
