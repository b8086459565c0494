"""Preferences: of two responses to one prompt, the chosen and the rejected one."""

from __future__ import annotations

from collections.abc import Sequence

from backends.base.stage import Stage
from backends.models.encoding import Encoder
from backends.training.groups import Group
from backends.training.samples import Drawn, Sample, request
from benchmarks.base import Item


def pair(item: Item) -> tuple[str, str] | None:
    """The chosen and the rejected response of a question; None where it has no such two."""
    texts = [item.meta.get(name) for name in ("chosen", "rejected")]
    chosen, rejected = (text if isinstance(text, str) else "" for text in texts)
    return (chosen, rejected) if chosen.strip() and rejected.strip() else None


def preferences(drawn: Sequence[Drawn], encoder: Encoder, stage: Stage) -> tuple[list[Sample], int]:
    """A group of two for each question, and how many were dropped: prompts and responses that are
    too long, and questions without a pair."""
    samples = []
    for question in drawn:
        two = pair(question.item)
        responses = [encoder.response(text) for text in two or ()]
        prompt = encoder.encode(request(question, stage.template))
        if prompt is None or not responses or max(map(len, responses)) > stage.max_response_tokens:
            continue
        samples.append(Sample(question.place, Group(prompt, responses), rewards=(1.0, 0.0)))
    return samples, len(drawn) - len(samples)
