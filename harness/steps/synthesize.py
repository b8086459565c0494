"""Synthesize: a model writes new questions about the pictures of a pool (MM-UPT section 3.3)."""

from __future__ import annotations

import random

from backends.engines.base import Request, Sampling
from benchmarks.base import Item
from benchmarks.prompts import SYNTHESIS
from benchmarks.questions import save_questions
from harness.errors import StepError
from harness.steps.asking import ask, engine
from harness.steps.context import Context
from harness.steps.specs import Synthesize
from harness.store import write_json


def run(spec: Synthesize, context: Context) -> None:
    """Write ``questions.jsonl`` with its pictures, without answers: no label exists.

    Texts that are empty or were cut by the length limit are no questions and are left out;
    ``summary.json`` counts them. Raises :class:`StepError` where none is left.
    """
    pool = context.questions(spec.questions)
    prompt = SYNTHESIS[spec.mode]
    count = spec.count or len(pool)
    order = random.Random(f"synthesize {spec.seed}").sample(range(len(pool)), len(pool))
    seeds = [(f"synthetic-{i}", pool[order[i % len(pool)]]) for i in range(count)]
    requests = [
        Request(name, prompt.render(item.question), item.images, prompt.system)
        for name, item in seeds
    ]
    sampling = Sampling(
        temperature=spec.temperature,
        top_p=spec.top_p,
        max_tokens=spec.max_tokens,
        seed=spec.seed,
    )
    # Questions of a training pool: its own limit on prompts applies when they are trained on.
    model = context.model(spec.model)
    answers = ask(
        lambda: engine(model, context.resources, 4096),
        requests,
        sampling,
        context.scratch / "questions-written.jsonl",
        lambda done: context.progress(done, count, "questions"),
    )
    made = [(name, item, answers[name][0]) for name, item in seeds]
    kept = [
        Item(id=name, question=answer["text"].strip(), images=item.images, cluster=item.cluster)
        for name, item, answer in made
        if answer["finish"] == "stop" and answer["text"].strip()
    ]
    if not kept:
        raise StepError(
            f"the model wrote no usable question in {count} tries; try another synthesis mode or "
            "more max_tokens"
        )
    save_questions(kept, context.out)
    cut = sum(answer["finish"] != "stop" for _, _, answer in made)
    write_json(
        context.out / "summary.json",
        {"asked": count, "kept": len(kept), "cut": cut, "empty": count - len(kept) - cut},
    )
