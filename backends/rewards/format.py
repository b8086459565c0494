"""Format rewards: 1 where a response has the form that the template asks for, else 0."""

from __future__ import annotations

import re
from abc import abstractmethod

from backends.base.reward import GroupReward, Reward, Rollout
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


class _Format(Reward):
    """1 for a response that fits, else 0."""

    @abstractmethod
    def fits(self, text: str) -> bool:
        """Whether a response has the form."""

    def __call__(self, group: Rollout) -> GroupReward:
        return GroupReward(tuple(float(self.fits(text)) for text in group.responses), {})


class FormatBoxed(_Format):
    """1 for a non-empty \\boxed{} answer."""

    name = "format_boxed"
    version = 1

    def fits(self, text: str) -> bool:
        return last_boxed(text).strip() not in ("", MISSING)


class FormatThink(_Format):
    """1 for <think>...</think> <answer>...</answer> and nothing else."""

    name = "format_think"
    version = 1

    def fits(self, text: str) -> bool:
        return THINK.fullmatch(text) is not None


class FormatAnswerFirst(_Format):
    """1 for <answer>...</answer> <reason>...</reason> and nothing else."""

    name = "format_answer_first"
    version = 1

    def fits(self, text: str) -> bool:
        return ANSWER_FIRST.fullmatch(text) is not None


class FormatAdaptive(_Format):
    """1 for <answer>...</answer>, with <think>...</think> before it or without.

    Counts the share that thinks as ``thinking``.
    """

    name = "format_adaptive"
    version = 1

    def fits(self, text: str) -> bool:
        return ADAPTIVE.fullmatch(text) is not None

    def __call__(self, group: Rollout) -> GroupReward:
        thoughts = sum(text.lstrip().startswith("<think>") for text in group.responses)
        stats = {"thinking": thoughts / len(group.responses)}
        return GroupReward(super().__call__(group).rewards, stats)


class FormatLMMR1(_Format):
    """LMM-R1's stricter form: no space between the tags, each tag once."""

    name = "format_lmm_r1"
    version = 1

    def fits(self, text: str) -> bool:
        text = text.strip()
        once = text.count("<think>") == 1 and text.count("<answer>") == 1
        return once and LMM_R1.fullmatch(text) is not None
