"""Supervised fine-tuning: the same update on worked solutions in place of sampled responses."""

from __future__ import annotations

from collections.abc import Sequence

from backends.base.stage import Stage
from backends.models.encoding import Encoder
from backends.rewards.correctness import label
from backends.training.groups import Group
from backends.training.samples import Drawn, Sample, request
from benchmarks.base import Item
from benchmarks.prompts import Template, template


def target(item: Item, choice: str | Template) -> str:
    """What the model is to say: the worked solution, else the answer as the template wants it
    written.

    Empty where a question has neither, or an answer that cannot be read.
    """
    if item.solution.strip():
        return item.solution
    return template(choice).answered(item.answer) if label(item.answer) else ""


def demonstrations(
    drawn: Sequence[Drawn], encoder: Encoder, stage: Stage
) -> tuple[list[Sample], int]:
    """A group of one, the target, for each question, and how many were dropped.

    Dropped are prompts and targets that are too long (a cut solution would teach to stop anywhere
    or never) and questions without a target.
    """
    samples = []
    for question in drawn:
        text = target(question.item, stage.template)
        ids = encoder.response(text) if text else []
        prompt = encoder.encode(request(question, stage.template))
        if prompt is None or not ids or len(ids) > stage.max_response_tokens:
            continue
        sample = Sample(question.place, Group(prompt, [ids]), rewards=(1.0,))
        sample.row = {"response_length": float(len(ids))}
        samples.append(sample)
    return samples, len(drawn) - len(samples)
