"""What every reward promises, as tests: a plug-in subclasses the class and names its reward.

class TestBrevity(RewardContract):
    @pytest.fixture
    def reward(self) -> Reward:
        return Brevity(Brevity.Parameters(longest=8))
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Sequence
from dataclasses import replace

import pytest
from pydantic import ValidationError

from backends.base.reward import Finish, GroupReward, Reward, Rollout
from benchmarks.plugins import summary

#: What models write, and what may break a reader of it.
TEXTS = (
    "So the answer is \\boxed{7}",
    "<think>3 + 4 = 7</think><answer>7</answer>",
    "\\boxed{8}",
    "I do not know, there is nothing to be read in this picture.",
    "7",
    "the same again the same again the same again",
)
HOSTILE = (
    *(
        "",
        " \n\t ",
        "\\boxed{",
        "\\boxed{}",
        "<answer>",
        "</think><think>",
        "\x00\x1b[31m",
        "\ud800",
    ),
    *("{" * 4000, "\\frac{" * 500, "<think>" * 1000, "9" * 5000, "9**9**9**9", "a " * 5000),
    *("__import__('os').system('true')", "١٢", "\u202e7", "\\boxed{\\boxed{\\boxed{7}}}"),
)
MAX_RESPONSE_TOKENS = 64


def rollout(texts: Sequence[str], answer: str = "7") -> Rollout:
    """A group of these responses, a token a word, cut where they are longer than the limit."""
    lengths = tuple(min(len(text.split()) + 1, MAX_RESPONSE_TOKENS) for text in texts)
    finishes: tuple[Finish, ...] = tuple(
        "stop" if length < MAX_RESPONSE_TOKENS else "length" for length in lengths
    )
    return Rollout(
        id="question-1",
        question="What is 3 + 4?",
        responses=tuple(texts),
        lengths=lengths,
        finishes=finishes,
        max_response_tokens=MAX_RESPONSE_TOKENS,
        answer=answer,
        meta={"solution": answer},
    )


class RewardContract:
    """Subclass it with a fixture ``reward``; every test below is then one of that reward."""

    @pytest.fixture
    def reward(self) -> Reward:
        raise NotImplementedError("give a fixture `reward` that returns the reward to test")

    def rewarded(self, reward: Reward, group: Rollout) -> GroupReward:
        """What training gets of it: the label only where it is declared to be needed."""
        blind = group if reward.needs_answer else replace(group, answer="", meta=None)
        return reward(blind)

    def test_it_says_what_it_is(self, reward: Reward) -> None:
        """A name and a sentence for lists, a version for the keys of results."""
        assert isinstance(reward.name, str)
        assert reward.name
        assert "version" in {name for kind in type(reward).__mro__ for name in vars(kind)}
        assert type(reward.version) is int
        assert inspect.cleandoc(type(reward).__doc__ or "")
        assert summary(type(reward))

    def test_each_response_has_a_finite_reward_or_none(self, reward: Reward) -> None:
        for texts in (TEXTS, HOSTILE):
            result = self.rewarded(reward, rollout(texts))
            assert len(result.rewards) == len(texts)
            assert all(r is None or math.isfinite(r) for r in result.rewards)
            assert all(math.isfinite(value) for value in result.stats.values())

    def test_the_same_group_has_the_same_rewards(self, reward: Reward) -> None:
        first = self.rewarded(reward, rollout(TEXTS))
        self.rewarded(reward, rollout((*TEXTS[::-1], "another"), "8"))
        again = self.rewarded(reward, rollout(TEXTS))
        assert (again.rewards, dict(again.stats)) == (first.rewards, dict(first.stats))
        anew = self.rewarded(type(reward)(reward.parameters), rollout(TEXTS))
        assert anew.rewards == first.rewards

    def test_the_order_of_the_responses_is_nothing_to_it(self, reward: Reward) -> None:
        """A vote that breaks ties by order declares ``order_matters``; where there is no tie it has
        to hold for it too."""
        texts = (*TEXTS, TEXTS[0])  # an answer that leads, so that no vote is tied
        turned = (*texts[3:], *texts[:3])
        first = self.rewarded(reward, rollout(texts)).rewards
        second = self.rewarded(reward, rollout(turned)).rewards
        assert (*second[-3:], *second[:-3]) == first
        if not reward.order_matters:
            backwards = self.rewarded(reward, rollout(TEXTS[::-1])).rewards
            assert backwards[::-1] == self.rewarded(reward, rollout(TEXTS)).rewards

    def test_one_that_is_not_shown_the_label_does_without(self, reward: Reward) -> None:
        """The label is poisoned: it is among the responses, one after the other."""
        if reward.needs_answer:
            pytest.skip("it is shown the label")
        told = {self.rewarded(reward, rollout(TEXTS, answer)).rewards for answer in TEXTS}
        assert len(told) == 1
        assert self.rewarded(reward, rollout(TEXTS, "")).rewards in told

    def test_a_question_without_a_label_is_no_error(self, reward: Reward) -> None:
        group = replace(rollout(TEXTS, ""), meta=None)
        assert len(reward(group).rewards) == len(TEXTS)

    @pytest.mark.parametrize("text", [*TEXTS, *HOSTILE], ids=lambda text: ascii(text[:20]))
    def test_a_group_of_one_is_rewarded_whatever_it_says(self, reward: Reward, text: str) -> None:
        group = rollout([text])
        for length in (0, 1, MAX_RESPONSE_TOKENS):
            finish: Finish = "length" if length == MAX_RESPONSE_TOKENS else "stop"
            result = self.rewarded(reward, replace(group, lengths=(length,), finishes=(finish,)))
            assert len(result.rewards) == 1

    def test_a_parameter_that_it_has_not_is_refused(self, reward: Reward) -> None:
        with pytest.raises(ValidationError):
            type(reward).Parameters.model_validate({"no_such_parameter_": 1})

    def test_its_parameters_survive_being_written_down(self, reward: Reward) -> None:
        written = reward.parameters.model_dump_json()
        assert type(reward).Parameters.model_validate_json(written) == reward.parameters
