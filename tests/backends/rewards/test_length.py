"""Rewards of length and repetition: the papers' formulas and their bounds."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from backends.base.reward import Finish, Rollout
from backends.base.stage import RewardTerm
from backends.methods import method
from backends.rewards import reward, score


def group(
    lengths: Sequence[int],
    responses: Sequence[str] = (),
    *,
    limit: int = 20480,
    answer: str = "",
    finishes: Sequence[Finish] = (),
) -> Rollout:
    texts = tuple(responses) or ("",) * len(lengths)
    ended = tuple(finishes) or ("stop",) * len(lengths)
    return Rollout("q", "?", texts, tuple(lengths), ended, limit, answer)


def paid(name: str, rollout: Rollout, **parameters: Any) -> tuple[float | None, ...]:
    return reward(RewardTerm(name=name, parameters=parameters))(rollout).rewards


@pytest.mark.parametrize(
    ("length", "penalty"),
    [
        (0, 0.0),
        (1, 0.0),
        (16384, 0.0),
        (16385, -1 / 4096),
        (18432, -0.5),
        (20479, -4095 / 4096),
        (20480, -1.0),
        (20481, -1.0),
        (99999, -1.0),
    ],
)
def test_the_soft_over_length_penalty_is_dapos(length: int, penalty: float) -> None:
    """Arithmetic of the paper's own maximum and cache, which are the stage's limit and a fifth of
    it; how the response ended is no part of it."""
    for finish in ("stop", "length"):
        rollout = group([length], finishes=[finish])
        assert paid("overlong", rollout) == (penalty,)
        assert paid("overlong", rollout, max_length=20480, buffer=4096) == (penalty,)


def test_the_soft_over_length_penalty_is_trls() -> None:
    """TRL's ``get_soft_overlong_punishment`` is the oracle."""
    trl = pytest.importorskip("trl.rewards")
    oracle = trl.get_soft_overlong_punishment(max_completion_len=40, soft_punish_cache=8)
    lengths = list(range(0, 50))
    wanted = oracle(completion_ids=[[0] * n for n in lengths])
    assert paid("overlong", group(lengths, limit=40)) == tuple(wanted)


@pytest.mark.parametrize(
    ("limit", "parameters", "lengths", "penalties"),
    [
        (40, {}, (32, 36, 40), (0.0, -0.5, -1.0)),
        (40, {"buffer": 20}, (20, 30, 40), (0.0, -0.5, -1.0)),
        (40, {"buffer": 4096}, (0, 20, 40), (0.0, -0.5, -1.0)),  # at most the whole length
        (40, {"max_length": 10}, (8, 9, 10, 40), (0.0, -0.5, -1.0, -1.0)),
        (1, {}, (0, 1), (0.0, -1.0)),
    ],
)
def test_the_buffer_follows_the_maximum(
    limit: int, parameters: dict[str, int], lengths: Sequence[int], penalties: Sequence[float]
) -> None:
    got = paid("overlong", group(lengths, limit=limit), **parameters)
    assert got == pytest.approx(tuple(penalties))


def test_the_share_of_penalised_responses_is_counted() -> None:
    result = reward(RewardTerm(name="overlong"))(group((1, 35, 40, 32), limit=40))
    assert result.stats == {"overlong": 0.5}


RIGHT, WRONG = "\\boxed{7}", "\\boxed{8}"


@pytest.mark.parametrize(
    ("text", "length", "value"),
    [
        (RIGHT, 0, 2.0),
        (RIGHT, 50, 1.5),
        (RIGHT, 99, 1 + 0.5 * (1 + math.cos(math.pi * 0.99))),
        (RIGHT, 100, -10.0),
        (RIGHT, 101, -10.0),
        (WRONG, 0, -10.0),
        (WRONG, 50, -5.0),
        (WRONG, 99, -5 * (1 + math.cos(math.pi * 0.99))),
        (WRONG, 100, -10.0),
        ("", 0, -10.0),
        ("", 50, -5.0),
    ],
)
def test_the_cosine_reward_is_the_papers(text: str, length: int, value: float) -> None:
    (got,) = paid("cosine_length", group([length], [text], limit=100, answer="7"))
    assert got == pytest.approx(value, abs=1e-12)


def test_short_is_better_when_right_and_long_when_wrong() -> None:
    lengths = tuple(range(0, 100))
    for text, better in ((RIGHT, -1), (WRONG, 1)):
        rollout = group(lengths, [text] * 100, limit=100, answer="7")
        values = paid("cosine_length", rollout)
        steps = [b - a for a, b in itertools.pairwise(values)]  # type: ignore[operator]
        assert all(step * better > 0 for step in steps)


def test_the_cosines_values_are_parameters() -> None:
    rollout = group((0, 10, 20, 0), [RIGHT, RIGHT, RIGHT, WRONG], answer="7")
    settings = {"max_length": 20, "correct": [1.0, 0.0], "wrong": [-1.0, 0.0], "exceeded": -0.5}
    assert paid("cosine_length", rollout, **settings) == pytest.approx((1.0, 0.5, -0.5, -1.0))


def test_the_cosine_reward_needs_a_label() -> None:
    result = score(group((1, 2), [RIGHT, WRONG]), [RewardTerm(name="cosine_length")])
    assert result.rewards == (None, None)
    assert result.stats["unlabelled"] == 1
    labelled = score(group((1,), [RIGHT], answer="7"), [RewardTerm(name="cosine_length")])
    assert labelled.stats["unlabelled"] == 0


@pytest.mark.parametrize(
    ("text", "ngram", "share"),
    [
        ("", 3, 0),
        ("one two", 3, 0),
        ("one two three", 3, 0),
        ("a b c a b c", 3, 1 / 4),  # abc bca cab abc
        ("A b C a B c", 3, 1 / 4),
        ("a a a a", 1, 3 / 4),
        ("a a a a", 2, 2 / 3),
        ("a b c d", 1, 0),
        ("a\nb\ta  b", 2, 1 / 3),
    ],
)
def test_repetition_is_the_share_of_n_grams_that_came_before(
    text: str, ngram: int, share: float
) -> None:
    (penalty,) = paid("repetition", group([1], [text]), ngram=ngram)
    assert penalty == pytest.approx(-share)
    assert math.copysign(1, penalty or 0.0) == (-1 if share else 1)  # no minus zero


def test_dapo_pays_what_its_paper_does_up_to_scale_and_shift() -> None:
    """The paper pays 1 and -1 and takes off up to 1; the group's deviation makes a scale and a
    shift nothing, not the ratio of the two."""
    (stage,) = method("dapo").resolve({"max_response_tokens": 40})
    lengths, texts = (10, 36, 40, 10, 36), (RIGHT, RIGHT, RIGHT, WRONG, WRONG)
    got = score(group(lengths, texts, limit=40, answer="7"), stage.rewards).rewards
    paper = [1.0, 1 - 0.5, 1 - 1.0, -1.0, -1 - 0.5]
    assert [2 * r - 1 for r in got if r is not None] == pytest.approx(paper)


def test_a_cut_response_is_over_long_to_the_stage_that_cut_it() -> None:
    rollout = replace(group([40], limit=40), finishes=("length",))
    assert paid("overlong", rollout) == (-1.0,)
