"""Format rewards: 1 where a response has the form that the template asks for, else 0."""

from __future__ import annotations

import re

from backends.base.reward import GroupReward, Rollout
from backends.rewards.majority import MISSING, last_boxed

#: CLS-RL ``grpo.py`` (arXiv 2503.16188): the whole response, white space allowed between the parts.
THINK = re.compile(r"<think>.*?</think>\s*<answer>.*?</answer>", re.DOTALL)

#: LMM-R1 ``math_verifier.py``: nothing between the parts.
LMM_R1 = re.compile(
    r"<think>(?:(?!</think>).)*</think><answer>(?:(?!</answer>).)*</answer>", re.DOTALL
)

#: Think-After-Answer (arXiv 2503.16188 appendix E.2). Its code is not released: the pattern is
#: THINK's, with the parts that its prompt names.
ANSWER_FIRST = re.compile(r"<answer>.*?</answer>\s*<reason>.*?</reason>", re.DOTALL)

#: Adaptive-Thinking (the same, appendix E.3): an answer, with a thought before it or without.
ADAPTIVE = re.compile(r"(?:<think>.*?</think>\s*)?<answer>.*?</answer>", re.DOTALL)


def format_boxed(rollout: Rollout) -> GroupReward:
    """1 for a response with a closed, non-empty ``\\boxed{}``."""
    return _paid([last_boxed(text).strip() not in ("", MISSING) for text in rollout.responses])


def format_think(rollout: Rollout) -> GroupReward:
    """1 for a response that is a thought and an answer in their tags, and nothing else."""
    return _paid([THINK.fullmatch(text) is not None for text in rollout.responses])


def format_answer_first(rollout: Rollout) -> GroupReward:
    """1 for a response that is an answer and a reason in their tags, and nothing else."""
    return _paid([ANSWER_FIRST.fullmatch(text) is not None for text in rollout.responses])


def format_adaptive(rollout: Rollout) -> GroupReward:
    """1 for a response that is an answer in its tags, with a thought before it or without; counts
    the share that thinks as ``thinking``."""
    paid = _paid([ADAPTIVE.fullmatch(text) is not None for text in rollout.responses])
    thoughts = sum(text.lstrip().startswith("<think>") for text in rollout.responses)
    return GroupReward(paid.rewards, {"thinking": thoughts / len(rollout.responses)})


def format_lmm_r1(rollout: Rollout) -> GroupReward:
    """1 for LMM-R1's form of the same, which also wants each opening tag exactly once."""
    return _paid([_lmm_r1(text.strip()) for text in rollout.responses])


def _lmm_r1(text: str) -> bool:
    once = text.count("<think>") == 1 and text.count("<answer>") == 1
    return once and LMM_R1.fullmatch(text) is not None


def _paid(right: list[bool]) -> GroupReward:
    return GroupReward(tuple(float(r) for r in right), {})
