"""Majority vote as a reward: agreement with one's own group, without labels.

Source: MM-UPT, arXiv 2505.22453 section 3.2; its released code (waltonfuture/MM-UPT,
``verl/workers/reward/function.py``) votes differently and is kept under its own name.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from backends.base.reward import GroupReward, Reward, Rollout
from benchmarks.answers.asked import Asked
from benchmarks.answers.equality import classes, equivalent
from benchmarks.answers.reading import read

#: What the released code writes for a response without an answer.
MISSING = "None"


@dataclass(frozen=True)
class Vote:
    """One vote of G responses over equivalence classes of their answers.

    ``answers[i]`` is the extracted answer of response i (None: none found) and ``members[i]`` its
    class. ``winner`` is the answer that stands for the winning class (None: nobody answered),
    ``ratio`` the winner's share of all G, ``entropy`` the Shannon entropy in nats of the classes
    among the parsed answers, ``unparsed`` the share without an answer.
    """

    answers: tuple[str | None, ...]
    members: tuple[int | None, ...]
    winning: int | None
    winner: str | None
    ratio: float
    entropy: float
    unparsed: float
    tie: bool


@lru_cache(maxsize=1024)
def vote(responses: tuple[str, ...], asked: Asked | None = None) -> Vote:
    """Vote on equivalence classes: no-answer never wins; of tied classes the first seen does.

    Where the question that was ``asked`` has options, an option's letter, its text and its value
    are one answer.
    """
    answers = tuple(read(text, asked).answer for text in responses)
    members = tuple(classes(answers))
    counts = Counter(member for member in members if member is not None)  # in sample order
    size, parsed = len(responses), sum(counts.values())
    if not counts:
        return Vote(answers, members, None, None, 0.0, 0.0, 1.0, False)
    most = max(counts.values())
    leaders = [member for member, count in counts.items() if count == most]
    shares = [count / parsed for count in counts.values()]
    return Vote(
        answers=answers,
        members=members,
        winning=leaders[0],
        winner=answers[members.index(leaders[0])],
        ratio=most / size,
        entropy=-math.fsum(share * math.log(share) for share in shares) + 0.0,
        unparsed=1 - parsed / size,
        tie=len(leaders) > 1,
    )


class Majority(Reward):
    """1 for agreeing with the group's majority; no-answer never wins.

    0 for another answer; no rewards at all (None) where nobody answered.
    """

    name = "majority"
    version = 3
    order_matters = True

    def __call__(self, group: Rollout) -> GroupReward:
        result = vote(group.responses, group.asked)
        stats = {"ties": float(result.tie)}
        if result.winning is None:
            return GroupReward((None,) * len(group.responses), stats)
        return GroupReward(tuple(float(m == result.winning) for m in result.members), stats)


class MajorityReleased(Reward):
    """MM-UPT's released vote: raw strings, a missing answer is the string None and can win.

    Raw strings vote, and equivalence with the winner is paid. A response without a closed
    ``\\boxed{}`` votes as the string "None", which can win and is then paid 1; so can an empty box.
    Of tied strings the one seen first wins.
    """

    name = "majority_released"
    version = 1
    order_matters = True

    def __call__(self, group: Rollout) -> GroupReward:
        raw = [last_boxed(text) for text in group.responses]
        counts = Counter(raw)
        winner, most = counts.most_common(1)[0]
        stats = {
            "ties": float(sum(count == most for count in counts.values()) > 1),
            "missing_won": float(winner == MISSING),
        }
        same = _matches(raw, winner)
        return GroupReward(tuple(float(answer in same) for answer in raw), stats)


def _matches(raw: Sequence[str], winner: str) -> set[str]:
    return {a for a in set(raw) if a == winner or (a and winner and equivalent(a, winner))}


def last_boxed(text: str) -> str:
    """Content of the last ``\\boxed{...}``, braces balanced and without white space around it;
    "None" where there is none or it is open (mathruler's ``extract_boxed_content``).
    """
    start = text.rfind("\\boxed{")
    depth = 0
    for end in range(start, len(text) if start >= 0 else start):
        if text[end] == "{":
            depth += 1
        elif text[end] == "}":
            depth -= 1
            if depth == 0:
                return text[start + len("\\boxed{") : end].strip()
    return MISSING
