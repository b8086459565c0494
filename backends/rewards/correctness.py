"""Supervised rewards: agreement with the label."""

from __future__ import annotations

import re
from collections.abc import Sequence

from backends.base.reward import GroupReward, Rollout
from backends.rewards.majority import vote
from benchmarks.answers.equality import equivalent, normalise

_TAGGED = re.compile(r"<answer>(.*?)</answer>", re.DOTALL)
_LINE = re.compile(r"<answer>(.*?)</answer>")
_BRACE = re.compile(r"\\.|[{}]", re.DOTALL)

#: How data sets write that they have no label, as :func:`normalise` leaves it.
NOTHING = frozenset(("none", "n/a", "n.a", "null", "nan", "nil"))


def accuracy(rollout: Rollout) -> GroupReward:
    """1 for a response whose extracted answer is equivalent to the label, else 0.

    The answer is read from the whole response, whatever its template: a box, ``<answer>`` tags, a
    statement. A question without a :func:`label` has no reward (all None, counted as
    ``unlabelled``): LMM-R1's code pays 1 there (``math_verifier.py``), which rewards anything at
    all. Nor has a group in which nobody gives an answer: it teaches nothing, as in a vote.
    """
    gold = label(rollout.answer)
    return _paid(rollout, correct(rollout.responses, gold) if gold else None)


def exact(rollout: Rollout) -> GroupReward:
    """1 where the whole response equals the label: not stripped, case-sensitive.

    Source: No-Thinking, ``grpo_direct.py`` of the CLS-RL repository. The label alone is stripped,
    and read from its ``<answer>`` tags where it has them. Without a label or an answer as
    :func:`accuracy`.
    """
    gold = label(rollout.answer)
    return _paid(rollout, [text == gold for text in rollout.responses] if gold else None)


def tag(rollout: Rollout) -> GroupReward:
    """1 where the text in the response's first ``<answer>`` tags is that of the label, in any case
    of letters; a response without tags is compared as a whole.

    Source: Thinking, ``grpo.py`` of the CLS-RL repository, which asks this where math-verify has
    found no equivalence. As there, tags hold one line. Without a label or an answer as
    :func:`accuracy`.
    """
    gold = label(rollout.answer).lower()
    same = [_in_tags(text, _LINE).lower() == gold for text in rollout.responses]
    return _paid(rollout, same if gold else None)


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


def label(answer: str) -> str:
    """The label, out of its ``<answer>`` tags where it has them; empty where there is nothing to
    compare with.

    That is nothing at all (``$$``), a word for nothing (``None``, ``N/A``, ``???``), and LaTeX
    whose braces do not close: a response could only agree with it by the same mistake.
    """
    text = _in_tags(answer, _TAGGED)
    plain = normalise(text)
    if not plain.strip("?") or plain in NOTHING or not _closed(text):
        return ""
    return text


def _closed(text: str) -> bool:
    """Whether every brace opens before it closes and closes; an escaped one is a sign."""
    depth = 0
    for brace in _BRACE.findall(text):
        depth += {"{": 1, "}": -1}.get(brace, 0)
        if depth < 0:
            return False
    return depth == 0


def _paid(rollout: Rollout, right: Sequence[bool] | None) -> GroupReward:
    """1 and 0 for right and wrong; no rewards without a label (``right`` is None), or where no
    response is right or gives any answer."""
    stats = {"unlabelled": float(right is None)}
    if right is None or not (any(right) or vote(rollout.responses).winning is not None):
        return GroupReward((None,) * len(rollout.responses), stats)
    return GroupReward(tuple(map(float, right)), stats)


def _in_tags(text: str, tags: re.Pattern[str]) -> str:
    tagged = tags.search(text)
    return (tagged.group(1) if tagged else text).strip()
