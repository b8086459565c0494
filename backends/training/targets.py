"""Responses that are learnt as they are, worked solutions or preferences: samples of an update."""

from __future__ import annotations

from collections.abc import Sequence

from backends.models.encoding import Encoder
from backends.training.groups import Group
from backends.training.objectives import Objective
from backends.training.samples import Drawn, Sample, request


def target_samples(
    drawn: Sequence[Drawn], encoder: Encoder, objective: Objective
) -> tuple[list[Sample], int]:
    """A group of its targets for each question, the first of them the one to learn, and how many
    questions were dropped.

    Dropped are prompts and targets that are too long (a cut solution would teach to stop anywhere
    or never) and questions without a target.
    """
    samples = []
    stage = objective.stage
    for question in drawn:
        targets = [encoder.response(text) for text in objective.targets(question.item)]
        prompt = encoder.encode(request(question, stage.template))
        if prompt is None or not targets or max(map(len, targets)) > stage.max_response_tokens:
            continue
        samples.append(
            Sample(
                question.place,
                Group(prompt, targets),
                rewards=[1.0, *[0.0] * (len(targets) - 1)],
                figures={"response_length": sum(map(len, targets)) / len(targets)},
            )
        )
    return samples, len(drawn) - len(samples)
