"""Synthesize: a model writes new questions about the pictures of a pool (MM-UPT section 3.3)."""

from __future__ import annotations

import hashlib
import random
from collections import Counter

from backends.base.engine import Request
from benchmarks.base import Item, unmarked
from benchmarks.data.questions import save_questions
from benchmarks.prompts import SYNTHESIS
from harness.errors import StepError
from harness.plan.specs import Synthesize
from harness.steps.asking import ask, sampling
from harness.steps.context import Context
from harness.store.files import write_json


def run(spec: Synthesize, context: Context) -> None:
    """Write ``questions.jsonl`` with its pictures, without answers: no label exists.

    Texts that are empty or were cut by the length limit are no questions and are left out, and so
    is a question that was asked of the same pictures before, be it in the pool: its words count,
    not their case, spaces and punctuation. ``summary.json`` counts them, and the prompts that were
    too long to be asked. Each question's ``meta`` says what it was made from: ``seed_question``,
    ``mode`` and the content id of the ``model``. Raises :class:`StepError` where none is left.
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
    # Questions of a training pool: its own limit on prompts applies when they are trained on.
    writer = context.writer(spec.model, "hf")
    answers = ask(
        lambda: context.engines.open(
            resources=context.resources,
            max_prompt_tokens=4096,
            max_tokens=spec.max_tokens,
            **writer,
        ),
        requests,
        sampling(spec),
        context.scratch / "questions-written.jsonl",
        lambda done: context.progress(done, count, "questions"),
    )
    counts: Counter[str] = Counter(asked=count, kept=0, over_long=0, cut=0, empty=0, duplicate=0)
    known = {(_pictures(item), plain(item.question)) for item in pool}
    kept = []
    for name, item in seeds:
        answer = answers[name][0]
        text = unmarked(answer["text"]).strip()
        what = (_pictures(item), plain(text))
        if answer["finish"] == "dropped":
            counts["over_long"] += 1
        elif answer["finish"] != "stop":
            counts["cut"] += 1
        elif not what[1]:
            counts["empty"] += 1
        elif what in known:
            counts["duplicate"] += 1
        else:
            counts["kept"] += 1
            known.add(what)
            origin = {"seed_question": item.id, "mode": spec.mode, "model": spec.model}
            kept.append(Item(name, text, images=item.images, cluster=item.cluster, meta=origin))
    if not kept:
        raise StepError(
            f"the model wrote no usable question in {count} tries; try another synthesis mode or "
            "more max_tokens"
        )
    save_questions(kept, context.out)
    write_json(context.out / "summary.json", dict(counts))


def plain(question: str) -> str:
    """The words of a question: what is left of it without case, spaces and punctuation but for
    signs that mathematics reads.

    >>> plain("What is A + B?") == plain("what is  a+b")
    True
    """
    kept = "".join(c for c in question.casefold() if c.isalnum() or c in "+-*/^=<>%.")
    return kept.rstrip(".")


def _pictures(item: Item) -> tuple[str, ...]:
    """The pictures by what they show, wherever they lie."""
    contents = (p if isinstance(p, bytes) else p.read_bytes() for p in item.images)
    return tuple(hashlib.sha256(content).hexdigest() for content in contents)
