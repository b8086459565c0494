"""Supervised rewards: agreement with the label."""

from __future__ import annotations

import re

from backends.base import GroupReward, Rollout
from backends.rewards.majority import vote
from benchmarks.answers import equivalent, normalise

_TAGGED = re.compile(r"<answer>(.*?)</answer>", re.DOTALL)
_LINE = re.compile(r"<answer>(.*?)</answer>")


def accuracy(rollout: Rollout) -> GroupReward:
    """1 for a response whose extracted answer is equivalent to the label, else 0.

    The answer is read from the whole response, whatever its template: a box, ``<answer>`` tags, a
    statement. A question whose label is missing or holds nothing to compare with (``$$``) has no
    reward (all None, counted as ``unlabelled``): LMM-R1's code pays 1 there
    (``math_verifier.py``), which rewards anything at all.
    """
    gold = _label(rollout)
    if not normalise(gold):
        return GroupReward((None,) * len(rollout.responses), {"unlabelled": 1.0})
    right = correct(rollout.responses, gold)
    return GroupReward(tuple(float(r) for r in right), {"unlabelled": 0.0})


def exact(rollout: Rollout) -> GroupReward:
    """1 where the whole response equals the label: not stripped, case-sensitive.

    Source: No-Thinking, ``grpo_direct.py`` of the CLS-RL repository. The label alone is stripped,
    and read from its ``<answer>`` tags where it has them.
    """
    gold = _label(rollout)
    if not gold:
        return GroupReward((None,) * len(rollout.responses), {"unlabelled": 1.0})
    return GroupReward(tuple(float(t == gold) for t in rollout.responses), {"unlabelled": 0.0})


def tag(rollout: Rollout) -> GroupReward:
    """1 where the text in the response's first ``<answer>`` tags is that of the label, in any case
    of letters; a response without tags is compared as a whole.

    Source: Thinking, ``grpo.py`` of the CLS-RL repository, which asks this where math-verify has
    found no equivalence. As there, tags hold one line.
    """
    gold = _label(rollout)
    if not gold:
        return GroupReward((None,) * len(rollout.responses), {"unlabelled": 1.0})
    same = [_in_tags(text, _LINE).lower() == gold.lower() for text in rollout.responses]
    return GroupReward(tuple(map(float, same)), {"unlabelled": 0.0})


def correct(responses: tuple[str, ...], gold: str) -> list[bool]:
    """Which responses give an answer equivalent to ``gold``: one comparison per class of
    answers.
    """
    result = vote(responses)
    verdict: dict[int, bool] = {}
    for answer, member in zip(result.answers, result.members, strict=True):
        if answer is not None and member is not None and member not in verdict:
            verdict[member] = equivalent(answer, gold)
    return [member is not None and verdict[member] for member in result.members]


def _label(rollout: Rollout) -> str:
    return _in_tags(rollout.answer, _TAGGED)


def _in_tags(text: str, tags: re.Pattern[str]) -> str:
    tagged = tags.search(text)
    return (tagged.group(1) if tagged else text).strip()
