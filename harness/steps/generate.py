"""Generate: a model's raw responses to every item of a benchmark, greedy and sampled."""

from __future__ import annotations

from functools import partial
from typing import Any

from backends.base.engine import Request, Sampling
from backends.engines.registry import samples_locally
from benchmarks.data.pictures import refuse_broken
from benchmarks.prompts import template
from harness.plan.specs import Generate
from harness.steps.asking import ask
from harness.steps.context import Context


def run(spec: Generate, context: Context) -> None:
    """Write ``generations.parquet``: item, decoding, sample, text, finish, tokens, seconds.

    ``seconds`` are shares of the time that the asking took: see :func:`harness.steps.asking.ask`.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    items = context.items(spec.benchmark, spec.data, spec.limit)
    refuse_broken(items)
    prompt = template(spec.template)
    requests = [
        Request(item.id, prompt.render_item(item), item.images, prompt.system) for item in items
    ]
    model = context.model(spec.model) if samples_locally(spec.engine) else None
    rows: list[dict[str, Any]] = []
    decodings = _decodings(spec)
    total = len(items) * len(decodings)
    for number, (decoding, sampling) in enumerate(decodings.items()):
        answers = ask(
            lambda: context.engines.open(
                spec.engine,
                model,
                context.resources,
                spec.max_prompt_tokens,
                max_tokens=spec.max_tokens,
                min_pixels=spec.min_pixels,
                max_pixels=spec.max_pixels,
                server=context.services.evaluated,
            ),
            requests,
            sampling,
            context.scratch / f"{decoding}.jsonl",
            partial(_tell, context, number * len(items), total),
        )
        rows += [
            {"item": item.id, "decoding": decoding, "sample": i, **answer}
            for item in items
            for i, answer in enumerate(answers[item.id])
        ]
    pq.write_table(pa.Table.from_pylist(rows), context.out / "generations.parquet")


def _tell(context: Context, before: int, total: int, done: int) -> None:
    context.progress(before + done, total, "answers")


def _decodings(spec: Generate) -> dict[str, Sampling]:
    decodings: dict[str, Sampling] = {}
    if spec.greedy:
        decodings["greedy"] = Sampling(max_tokens=spec.max_tokens)
    if spec.sampled is not None:
        decodings["sampled"] = Sampling(
            **spec.sampled.model_dump(),
            max_tokens=spec.max_tokens,
        )
    return decodings
