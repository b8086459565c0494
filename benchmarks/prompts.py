"""Prompt templates by name: what is put around a question, in training and in evaluation alike.

Sources: MM-UPT ``examples/qwen2_5_vl_7b_mmr1.sh``; To Think or Not To Think (arXiv 2503.16188)
section 3 and appendix E; LMM-R1 (arXiv 2503.07536) appendix E.
"""

from __future__ import annotations

import difflib
import hashlib
from dataclasses import dataclass


@dataclass(frozen=True)
class Template:
    """``system`` (empty: none) and a ``user`` text with one ``{question}`` placeholder."""

    name: str
    user: str
    system: str = ""
    source: str = ""

    def render(self, question: str) -> str:
        return self.user.replace("{question}", question, 1)

    @property
    def hash(self) -> str:
        """Part of a result's identity: 12 hex digits over the exact wording."""
        return hashlib.sha256(f"{self.system}\0{self.user}".encode()).hexdigest()[:12]


_ALL = (
    Template("plain", "{question}", source="the question as it is"),
    Template(
        "boxed",
        "{question} Please reason step by step, and put your final answer within \\boxed{}.",
        source="MM-UPT, evaluation wording",
    ),
    Template(
        "direct",
        "{question} Please directly output the answer.",
        source="No-Thinking, arXiv 2503.16188 section 3",
    ),
    Template(
        "think",
        "{question} Please output the thinking process in <think> </think> and final answer in "
        "<answer> </answer> tags.",
        source="Thinking, arXiv 2503.16188 section 3",
    ),
    Template(
        "answer_first",
        "{question} Please first output the answer in <answer> </answer> tags and then output a "
        "brief reasoning process in <reason> </reason> tags.",
        source="Think-After-Answer, arXiv 2503.16188 appendix E.2",
    ),
    Template(
        "adaptive",
        "{question}. Please first identify whether this problem requires intermediate thinking or "
        "calculation. If the problem requires thinking or calculation, output the thinking and "
        "calculation process inside <think> </think> tags and the final answer inside <answer> "
        "</answer> tags. If no thinking or calculation is required, directly output the final "
        "answer inside <answer> </answer> tags. Your output should follow one of two cases: (1) "
        "'<answer> ... </answer>', (2) '<think> ... </think> <answer> ... </answer>'.",
        source="Adaptive-Thinking, arXiv 2503.16188 appendix E.3",
    ),
    Template(
        "lmm_r1",
        "{question}",
        system="You are a helpful assistant good at solving math problems with step-by-step "
        "reasoning. You should first thinks about the reasoning process in the mind and then "
        "provides the user with the answer. Your answer must be in latex format and wrapped in "
        "$...$. The reasoning process and answer are enclosed within <think> </think> and "
        "<answer> </answer> tags, respectively, i.e., <think> Since $1+1=2$, so the answer is "
        "$2$. </think><answer> $2$ </answer>, which means your output should start with <think> "
        "and end with </answer>.",
        source="LMM-R1, arXiv 2503.07536 appendix E, verbatim",
    ),
)

TEMPLATES: dict[str, Template] = {t.name: t for t in _ALL}


def template(name: str) -> Template:
    """The template of this name. Raises KeyError naming the nearest known one."""
    if name not in TEMPLATES:
        near = difflib.get_close_matches(name, TEMPLATES, 1)
        hint = f", did you mean {near[0]!r}?" if near else ""
        raise KeyError(f"unknown template {name!r}{hint} Known: {', '.join(TEMPLATES)}.")
    return TEMPLATES[name]


#: How a model is asked to write new questions (MM-UPT section 3.3; its own wording is unpublished,
#: so these are ours). ``{question}`` is the seed question of in-context synthesis.
SYNTHESIS: dict[str, Template] = {
    "direct": Template("direct", "Please write a new question about this picture."),
    "in_context": Template(
        "in_context",
        "{question} Please write a new question about this picture that is different from this "
        "one.",
    ),
}
