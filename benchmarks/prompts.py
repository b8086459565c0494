"""Prompt templates by name: what is put around a question, in training and in evaluation alike.

The wordings are their authors', to the letter; each names where it stands. Those of a benchmark's
owners need more of an item than its question, such as a hint for its type of answer: they name the
field of ``item.meta`` that holds it, and fit only the items that have it.
"""

from __future__ import annotations

import difflib
import hashlib
import re
from dataclasses import dataclass

from benchmarks.base import Benchmark, DataError, Item

#: As the name of an evaluation's template: each benchmark's own official prompt.
OFFICIAL = "official"

_FIELD = re.compile(r"\{([a-z_]+)\}")


@dataclass(frozen=True)
class Template:
    """``system`` (empty: none) and a ``user`` text with placeholders: ``{question}`` once, or
    ``{<field>}`` for a text of ``item.meta``.

    ``answer_form`` is how a bare ``{answer}`` is written where that is all there is to learn of a
    question (supervised fine-tuning without worked solutions)."""

    name: str
    user: str
    system: str = ""
    source: str = ""
    answer_form: str = "{answer}"

    @property
    def fields(self) -> tuple[str, ...]:
        """The fields of ``item.meta`` that it needs; none: it fits any question."""
        return tuple(name for name in _FIELD.findall(self.user) if name != "question")

    def render(self, question: str) -> str:
        """The user text around a bare question. Raises ValueError where it needs more than that."""
        if self.fields:
            raise ValueError(
                f"template {self.name!r} asks the items of a benchmark by their "
                f"{', '.join(self.fields)}; a question alone has none"
            )
        return self.user.replace("{question}", question, 1)

    def render_item(self, item: Item) -> str:
        """The user text of an item. Raises :class:`DataError` where the item lacks a field."""

        def text(match: re.Match[str]) -> str:
            name = match[1]
            if name == "question":
                return item.question
            found = item.meta.get(name)
            if not isinstance(found, str) or not found:
                raise DataError(
                    f"item {item.id!r} has no {name!r}, which the template {self.name!r} asks "
                    f"with: it is for {self.source.partition(',')[0]}."
                )
            return found

        return _FIELD.sub(text, self.user)

    def answered(self, answer: str) -> str:
        """A bare answer in the form that the template asks for."""
        return self.answer_form.replace("{answer}", answer)

    @property
    def hash(self) -> str:
        """Part of a result's identity: 12 hex digits over the exact wording."""
        return hashlib.sha256(f"{self.system}\0{self.user}".encode()).hexdigest()[:12]


_BOXED, _TAGGED = "\\boxed{{answer}}", "<answer>{answer}</answer>"

_ALL = (
    Template("plain", "{question}", source="the question as it is"),
    Template(
        "boxed",
        "{question} Please reason step by step, and put your final answer within \\boxed{}.",
        source="MM-UPT (arXiv 2505.22453), README, without its system prompt",
        answer_form=_BOXED,
    ),
    Template(
        "mm_upt",
        "{question} Please reason step by step, and put your final answer within \\boxed{}.",
        system="You are a helpful assistant.",
        source="MM-UPT (arXiv 2505.22453), README: its evaluation",
        answer_form=_BOXED,
    ),
    Template(
        "mm_upt_train",
        "{question} \\nPlease reason step by step, and put your final answer within \\boxed{}.",
        source="MM-UPT, examples/qwen2_5_vl_7b_mmr1.sh as its shell passes it on: backslash and n, "
        "no line break",
        answer_form=_BOXED,
    ),
    Template(
        "direct",
        "{question} Please directly output the answer.",
        source="No-Thinking, arXiv 2503.16188 section 3",
    ),
    Template(
        "direct_code",
        "{question}\n Please directly output the answer.",
        source="No-Thinking, released training code (minglllli/CLS-RL, grpo_direct.py)",
    ),
    Template(
        "direct_eval",
        "{question} Please directly output the answer name.",
        source="No-Thinking, released evaluation of classification (test_qwen2vl_fewshot.py)",
    ),
    Template(
        "think",
        "{question} Please output the thinking process in <think> </think> and final answer in "
        "<answer> </answer> tags.",
        source="Thinking, arXiv 2503.16188 section 3",
        answer_form=_TAGGED,
    ),
    Template(
        "think_code",
        "{question}\n Please output the thinking process in <think> </think> and final answer in "
        "<answer> </answer> tags.",
        source="Thinking, released training code (minglllli/CLS-RL, grpo.py)",
        answer_form=_TAGGED,
    ),
    Template(
        "think_eval",
        "{question} First output the thinking process in <think> </think> and final answer in "
        "<answer> </answer> tags.",
        source="Thinking, released evaluation of classification (test_qwen2vl_fewshot.py)",
        answer_form=_TAGGED,
    ),
    Template(
        "answer_first",
        "{question} Please first output the answer in <answer> </answer> tags and then output a "
        "brief reasoning process in <reason> </reason> tags.",
        source="Think-After-Answer, arXiv 2503.16188 appendix E.2",
        answer_form=_TAGGED,
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
        answer_form=_TAGGED,
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
        source="LMM-R1, arXiv 2503.07536 appendix E, training and evaluation alike",
        answer_form="<answer> ${answer}$ </answer>",
    ),
    Template(
        "mathvista",
        "Hint: {hint}\nQuestion: {question}",
        source="MathVista, its released `query`, with the choices as `choices` has them, by which "
        "letters are judged (10 of 1000 queries differ)",
    ),
    Template(
        "wemath",
        "Now, we require you to solve a multiple-choice math question. Please briefly describe "
        "your thought process and provide the final answer(option).\nQuestion: {text}\n"
        "Option: {option}\nRegarding the format, please answer following the template below, and "
        "be sure to include two <> symbols:\n<Thought process>: <<your thought process>> <Answer>: "
        "<<your option>>",
        source="We-Math, as public copies of its inference have it; its repository holds none",
    ),
    Template(
        "mathverse",
        "{query_wo}",
        source="MathVerse, the released `query_wo`: answer directly (the leaderboard w/o CoT-E)",
    ),
    Template(
        "mathverse_cot",
        "{query_cot}",
        source="MathVerse, the released `query_cot`: reason first",
    ),
    Template(
        "mathvision",
        'Please solve the problem step by step and put your answer in one "\\boxed{}". If it is a '
        'multiple choice question, only one letter is allowed in the "\\boxed{}".\n{query}',
        source="MathVision, models/Qwen-VL.py of mathllm/MATH-V",
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


def asked(name: str, benchmark: Benchmark) -> Template:
    """The template that a benchmark is asked with: ``official`` is the one of its owners, or the
    question as it is where they have none. Raises KeyError on an unknown name."""
    if name == OFFICIAL:
        name = next(iter(benchmark.templates), "plain")
    return template(name)


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
