"""Supervised rewards: agreement with the label."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from backends.base.reward import GroupReward, Reward, Rollout
from backends.rewards.majority import vote
from benchmarks.answers.asked import Asked, asked_of
from benchmarks.answers.equality import normalise
from benchmarks.answers.reading import read
from benchmarks.answers.rules import right

_TAGGED = re.compile(r"<answer>(.*?)</answer>", re.DOTALL)
_LINE = re.compile(r"<answer>(.*?)</answer>")
_BRACE = re.compile(r"\\.|[{}]", re.DOTALL)

#: How data sets write that they have no label, as :func:`normalise` leaves it.
NOTHING = frozenset(("none", "n/a", "n.a", "null", "nan", "nil"))


class Accuracy(Reward):
    """1 for an answer equivalent to the label.

    What the scorer ``rules`` calls right (:func:`benchmarks.answers.rules.right`): the answer is
    read from the whole response, whatever its template, with the question's options at hand. A
    question without a :func:`label` has no reward (all None, counted as
    ``unlabelled``): LMM-R1's code pays 1 there (``math_verifier.py``), which rewards anything at
    all. Nor has a group in which nobody gives an answer: it teaches nothing, as in a vote.
    """

    name = "accuracy"
    version = 3
    needs_answer = True

    def __call__(self, group: Rollout) -> GroupReward:
        asked = labelled(group.question, group.meta, group.answer)
        return _paid(group, correct(group.responses, asked) if asked else None)


class Exact(Reward):
    """1 where the whole response equals the label (No-Thinking).

    Not stripped, case-sensitive. Source: No-Thinking, ``grpo_direct.py`` of the CLS-RL repository.
    The label alone is stripped, and read from its ``<answer>`` tags where it has them. Without a
    label or an answer as :class:`Accuracy`.
    """

    name = "exact"
    version = 1
    needs_answer = True

    def __call__(self, group: Rollout) -> GroupReward:
        gold = label(group.answer)
        return _paid(group, [text == gold for text in group.responses] if gold else None)


class Tag(Reward):
    """1 where the text in the <answer> tags equals the label (Thinking).

    The text in the response's first tags, in any case of letters; a response without tags is
    compared as a whole. Source: Thinking, ``grpo.py`` of the CLS-RL repository, which asks this
    where math-verify has found no equivalence. As there, tags hold one line. Without a label or an
    answer as :class:`Accuracy`.
    """

    name = "tag"
    version = 1
    needs_answer = True

    def __call__(self, group: Rollout) -> GroupReward:
        gold = label(group.answer).lower()
        same = [_in_tags(text, _LINE).lower() == gold for text in group.responses]
        return _paid(group, same if gold else None)


def labelled(question: str, meta: Mapping[str, Any] | None, answer: str) -> Asked | None:
    """What a question asks for, with its :func:`label` as the gold; None where there is none."""
    gold = label(answer)
    return asked_of(question, meta, gold) if gold else None


def correct(responses: tuple[str, ...], asked: Asked) -> list[bool]:
    """Which responses give the gold: each distinct answer is read and compared once."""
    verdicts: dict[str, bool] = {}
    answers = [read(text, asked).answer for text in responses]
    for answer in answers:
        if answer is not None and answer not in verdicts:
            verdicts[answer] = right(answer, asked)
    return [answer is not None and verdicts[answer] for answer in answers]


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


def _paid(group: Rollout, paid: Sequence[bool] | None) -> GroupReward:
    """1 and 0 for right and wrong; no rewards without a label (``paid`` is None), or where no
    response is right or gives any answer."""
    stats = {"unlabelled": float(paid is None)}
    if paid is None or not (any(paid) or vote(group.responses, group.asked).winning is not None):
        return GroupReward((None,) * len(group.responses), stats)
    return GroupReward(tuple(map(float, paid)), stats)


def _in_tags(text: str, tags: re.Pattern[str]) -> str:
    tagged = tags.search(text)
    return (tagged.group(1) if tagged else text).strip()
