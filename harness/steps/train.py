"""Train: one stage by a backend, on a pool, on questions mixed into it, or on curated data."""

from __future__ import annotations

import random
import shutil
from collections.abc import Sequence
from pathlib import Path

from backends.base.backend import Inputs
from backends.registry import backend
from benchmarks.base import Item
from benchmarks.data.questions import json_line, load_questions, save_questions
from harness.errors import StepError
from harness.plan.specs import Train
from harness.steps import respond
from harness.steps.context import Context


def run(spec: Train, context: Context) -> None:
    """Leave ``checkpoint/`` and ``metrics.jsonl`` in the result. A killed training goes on."""
    folder = context.scratch / "questions"
    shutil.rmtree(folder, ignore_errors=True)
    inputs = Inputs(
        context.model(spec.model),
        save_questions(_pool(spec, context), folder),
        spec.seed,
        _external(spec, context, folder / "external.jsonl"),
    )
    context.engines.release()
    context.watch(context.out / "metrics.jsonl", spec.stage.steps, "steps")
    stage = context.stage(spec.stage)
    checkpoint = backend(spec.backend).train(stage, inputs, context.resources, context.out)
    if checkpoint != context.out / "checkpoint" or not checkpoint.is_dir():
        raise StepError(f"backend {spec.backend!r} left no checkpoint in its folder")
    shutil.rmtree(context.out / "resume", ignore_errors=True)


def _pool(spec: Train, context: Context) -> list[Item]:
    if "curated" in context.parents:
        return load_questions(context.parents["curated"])
    real = context.questions(spec.questions)
    synthetic: list[Item] = []
    if "synthetic" in context.parents:
        synthetic = load_questions(context.parents["synthetic"])
    return mix(real, synthetic, spec.synthetic_ratio, spec.seed)


def _external(spec: Train, context: Context, path: Path) -> Path | None:
    """The external models' responses in one file; those that the length limit cut and those that
    an over-long prompt has kept from being asked for are left out and counted."""
    if spec.stage.external is None:
        return None
    with path.open("w", encoding="utf-8") as file:
        for place, model in enumerate(spec.stage.external.models):
            for found in respond.read(context.parents[f"external {place}"]).values():
                texts = [said.text for said in found.said if said.finished and said.text.strip()]
                row = {
                    "id": found.id,
                    "model": model,
                    "texts": texts,
                    "dropped": len(found.said) - len(texts),
                }
                file.write(json_line(row))
    return path


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
