"""Train: one stage by a backend, on real and synthetic questions mixed by count."""

from __future__ import annotations

import random
import shutil
from collections.abc import Sequence

from backends import backend
from backends.base import Inputs
from benchmarks.base import Item
from benchmarks.questions import load_questions, save_questions
from harness.errors import StepError
from harness.steps.asking import release
from harness.steps.context import Context
from harness.steps.specs import Train


def run(spec: Train, context: Context) -> None:
    """Leave ``checkpoint/`` and ``metrics.jsonl`` in the result. A killed training goes on."""
    real = context.questions(spec.questions)
    synthetic: list[Item] = []
    if "synthetic" in context.parents:
        synthetic = load_questions(context.parents["synthetic"] / "questions.jsonl")
    pool = mix(real, synthetic, spec.synthetic_ratio, spec.seed)
    questions = context.scratch / "questions"
    shutil.rmtree(questions, ignore_errors=True)
    inputs = Inputs(context.model(spec.model), save_questions(pool, questions), spec.seed)
    release()
    context.watch(context.out / "metrics.jsonl", spec.stage.steps, "steps")
    checkpoint = backend(spec.backend).train(spec.stage, inputs, context.resources, context.out)
    if checkpoint != context.out / "checkpoint" or not checkpoint.is_dir():
        raise StepError(f"backend {spec.backend!r} left no checkpoint in its folder")
    shutil.rmtree(context.out / "resume", ignore_errors=True)


def mix(real: Sequence[Item], synthetic: Sequence[Item], ratio: float, seed: int) -> list[Item]:
    """A pool of which ``ratio`` is synthetic, by count; which questions, the seed decides.

    The pool is as large as the real one, so that a ratio changes what is trained on and not how
    much; smaller only where there are too few synthetic questions for that.
    """
    if ratio == 0:
        return list(real)
    total = min(len(real), int(len(synthetic) / ratio + 1e-9))
    made = min(round(total * ratio), len(synthetic))
    if made == 0:
        raise StepError(
            f"{len(synthetic)} synthetic questions are too few for a ratio of {ratio}: raise "
            "synthesis.count"
        )
    draw = random.Random(f"mix {seed}")
    chosen = draw.sample(list(real), total - made) + draw.sample(list(synthetic), made)
    draw.shuffle(chosen)
    return chosen
