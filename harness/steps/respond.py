"""Respond: a model's responses about every question of a pool."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from backends import curation
from backends.base.engine import Request
from benchmarks.base import Item
from benchmarks.data.questions import json_line
from benchmarks.prompts import template
from harness.errors import StepError
from harness.plan.specs import Respond
from harness.steps.asking import ask, sampling
from harness.steps.context import Context

FILE = "responses.jsonl"


@dataclass(frozen=True)
class Responses:
    """What was said about one question: ``question`` is the text that was put into the template.

    ``said`` are the samples; for a judgement or rating one for each response judged, in order.
    ``dropped`` counts those that were not given, the prompt being too long.
    """

    id: str
    question: str
    said: tuple[curation.Said, ...]
    dropped: int = 0

    @property
    def over_long(self) -> bool:
        """Whether nothing could be asked about the question."""
        return 0 < self.dropped == len(self.said)


def run(spec: Respond, context: Context) -> None:
    """Write ``responses.jsonl``: one row a question with its id, the text that was asked, and the
    texts, finish reasons, numbers of tokens and first tokens' log-probabilities of what was said.

    A killed step goes on where it was. A description is asked for only where there is a picture.
    """
    pool = context.questions(spec.questions)
    asked = _questions(spec, context, pool)
    form = template(spec.template)
    requests = [
        Request(name, form.render(text), images, form.system)
        for texts in asked.values()
        for name, text, images in texts
    ]
    writer = context.writer(spec.model, spec.engine)
    answers = ask(
        lambda: context.engines.open(
            resources=context.resources,
            max_prompt_tokens=spec.max_prompt_tokens,
            max_tokens=spec.max_tokens,
            **writer,
        ),
        requests,
        sampling(spec, spec.samples),
        context.scratch / "answers.jsonl",
        partial(_tell, context, len(requests)),
        first_logp=spec.asks == "judgement",
    )
    if spec.asks == "judgement" and any(
        answer["tokens"] and "first_logp" not in answer for a in answers.values() for answer in a
    ):
        raise StepError("this engine gives no log-probabilities, and P(Yes) is read from them")
    with (context.out / FILE).open("w", encoding="utf-8") as file:
        for item in pool:
            said = [answer for name, _, _ in asked[item.id] for answer in answers[name]]
            texts = [text for _, text, _ in asked[item.id]]
            row = {
                "id": item.id,
                "question": texts[0] if texts else "",
                "texts": [answer["text"] for answer in said],
                "finish": [answer["finish"] for answer in said],
                "tokens": [answer["tokens"] for answer in said],
                "first_logp": [answer.get("first_logp") for answer in said],
            }
            file.write(json_line(row))


def read(folder: Path) -> dict[str, Responses]:
    """The responses of a step's folder by question."""
    found = {}
    with (folder / FILE).open(encoding="utf-8") as file:
        for line in file:
            row = json.loads(line)
            parts = zip(row["texts"], row["finish"], row["first_logp"], strict=True)
            said = tuple(
                curation.Said(text, finish == "stop", float("nan") if logp is None else logp)
                for text, finish, logp in parts
            )
            dropped = row["finish"].count("dropped")
            found[row["id"]] = Responses(row["id"], row["question"], said, dropped)
    return found


def _tell(context: Context, total: int, done: int) -> None:
    context.progress(done, total, "prompts")


Asked = list[tuple[str, str, tuple[Any, ...]]]  # (request id, text for the template, pictures)


def _questions(spec: Respond, context: Context, pool: Sequence[Item]) -> Mapping[str, Asked]:
    """What is asked about each question of the pool; nothing where there is nothing to ask."""
    if spec.asks in ("judgement", "rating"):
        form = curation.JUDGEMENT if spec.asks == "judgement" else curation.RATING
        responses = read(context.parents["responses"])
        return {item.id: _judged(form, item, responses[item.id].said) for item in pool}
    if spec.asks == "described":
        told = read(context.parents["descriptions"])
        return {item.id: _described(item, told[item.id].said) for item in pool}
    if spec.asks == "question":
        return {item.id: [(item.id, item.question, item.images)] for item in pool}
    if not any(item.images for item in pool):
        raise StepError(f"none of the {len(pool)} questions has a picture that could be described")
    return {item.id: _pictured(spec, item) if item.images else [] for item in pool}


def _pictured(spec: Respond, item: Item) -> Asked:
    if spec.asks == "description":
        return [(item.id, curation.DESCRIPTION, item.images)]
    if curation.misled(item, spec.seed):
        return [(item.id, curation.MISLEADING, item.images)]
    images = [
        curation.distorted(picture, f"{spec.seed}/{item.id}/{i}")
        for i, picture in enumerate(item.images)
    ]
    return [(item.id, curation.DESCRIPTION, tuple(images))]


def _described(item: Item, told: Sequence[curation.Said]) -> Asked:
    """The question with the picture described before it; as it is where that was not done."""
    if not told or not told[0].text.strip():
        return [(item.id, item.question, item.images)]
    filled = curation.fill(curation.DESCRIBED, description=told[0].text, question=item.question)
    return [(item.id, filled, item.images)]


def _judged(form: str, item: Item, said: Sequence[curation.Said]) -> Asked:
    return [
        (
            f"{item.id}#{i}",
            curation.fill(form, question=item.question, response=each.text),
            item.images,
        )
        for i, each in enumerate(said)
    ]
