"""What each kind of step is a function of. Every field is part of the step's key.

A field ``<thing>_id`` is the versioned identity (``harness.plan.identities``) of the code that
computes the result; None where there is none, as of the family of a model on a server.
``VERSION`` is the meaning of a kind: it is bumped by hand in the commit that changes what the step
computes, so that no old result is taken for a new one.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from backends.base.config import Config
from backends.base.stage import Stage
from backends.base.template import TemplateChoice


class StepSpec(Config):
    KIND: ClassVar[str]
    VERSION: ClassVar[int]


class Synthesize(StepSpec):
    """New questions about a pool's pictures, written by a model. Result: ``questions.jsonl``."""

    KIND: ClassVar[str] = "synthesize"
    VERSION: ClassVar[int] = 4

    model: str
    family_id: str | None
    questions: str
    engine_id: str
    mode: str
    prompt: str
    count: int | None
    temperature: float
    top_p: float
    max_tokens: int
    seed: int
    dtype: str


#: What a model is asked about a question of a pool: the question itself; to describe its picture,
#: or to describe it wrongly; the question given a description; to judge or to rate a response.
Asks = Literal["question", "description", "contrast", "described", "judgement", "rating"]


class Respond(StepSpec):
    """A model's responses about every question of a pool. ``model`` is None where the parent
    ``model`` was trained; ``described`` reads the parent ``descriptions``, a judgement or rating
    the parent ``responses``. Result: ``responses.jsonl``.
    """

    KIND: ClassVar[str] = "respond"
    VERSION: ClassVar[int] = 2

    model: str | None
    family_id: str | None
    questions: str
    engine: str
    engine_id: str
    asks: Asks
    template: TemplateChoice
    prompt: str
    samples: int
    temperature: float
    top_p: float
    max_tokens: int
    max_prompt_tokens: int
    seed: int
    dtype: str


class Curate(StepSpec):
    """What is kept of the parent ``responses``, by the parents ``judgements`` or against the parent
    ``rejected`` where the rule has them. Result: ``questions.jsonl``, ``summary.json``."""

    KIND: ClassVar[str] = "curate"
    VERSION: ClassVar[int] = 2

    questions: str
    keep: str
    per_question: int
    threshold: float | None


class Train(StepSpec):
    """One stage. ``model`` is None where the parent ``model`` is the stage before; the parent
    ``synthetic`` is there where the ratio is above 0, ``curated`` where the stage has a curation,
    and ``external 0``, ``external 1``, ... for its external models, which the stage holds as
    content ids, as it does the rewards of a user's own file. ``reward_ids`` has one identity for
    each of its rewards, parameters included, ``engine_id`` that of the engine that samples (None
    where nothing is sampled). Result: ``checkpoint/``, ``metrics.jsonl``.
    """

    KIND: ClassVar[str] = "train"
    VERSION: ClassVar[int] = 4

    model: str | None
    family_id: str | None
    questions: str
    synthetic_ratio: float
    stage: Stage
    reward_ids: tuple[str, ...]
    prompt: str
    backend: str
    backend_id: str
    engine_id: str | None
    seed: int
    dtype: str


class Sampled(Config):
    """``n`` samples an item, beside or instead of the greedy answer."""

    n: int
    temperature: float
    top_p: float
    seed: int


class Generate(StepSpec):
    """Raw responses to a benchmark's items. ``model`` is None where the parent ``model`` was
    trained. ``min_pixels`` and ``max_pixels`` are None where the processor's own limits hold.
    Result: ``generations.parquet``.
    """

    KIND: ClassVar[str] = "generate"
    VERSION: ClassVar[int] = 3

    model: str | None
    family_id: str | None
    benchmark: str
    data: str
    limit: int | None
    engine: str
    engine_id: str
    template: TemplateChoice
    prompt: str
    min_pixels: int | None
    max_pixels: int | None
    greedy: bool
    sampled: Sampled | None
    max_tokens: int
    max_prompt_tokens: int
    dtype: str


class Score(StepSpec):
    """Verdicts on the parent ``generations``, and the benchmark's figures. ``scorer`` is the name,
    ``scorer_id`` its versioned identity. Result: ``verdicts.parquet``, ``values.parquet``,
    ``summary.json``."""

    KIND: ClassVar[str] = "score"
    VERSION: ClassVar[int] = 3

    benchmark: str
    data: str
    limit: int | None
    scorer: str
    scorer_id: str


KINDS: dict[str, type[StepSpec]] = {
    kind.KIND: kind for kind in (Synthesize, Respond, Curate, Train, Generate, Score)
}
