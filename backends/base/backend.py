"""The contract between an experiment and a trainer: a stage, its inputs, a folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from backends.base.resources import Resources
from backends.base.stage import Stage


@dataclass(frozen=True)
class Inputs:
    """What a stage starts from: a checkpoint folder in Hugging Face layout, and a question file.

    ``questions`` is a JSONL file as :func:`benchmarks.data.questions.load_questions` reads it; for
    objective dpo each question's ``meta`` holds a ``chosen`` and a ``rejected`` response. The seed
    decides the order of the questions and every sample.

    ``external`` is there where the stage has external models: a JSONL file with one object for each
    question and model, ``{"id": <question>, "model": <name>, "texts": [...], "dropped": <number>}``
    of the responses that ended by themselves, so their number may be below
    ``stage.external.samples``, and 0; and how many did not or were not asked for, the prompt being
    too long (absent: 0).
    """

    model: Path
    questions: Path
    seed: int
    external: Path | None = None


class TrainingError(RuntimeError):
    """A training that cannot go on, with the reason for its reader."""


class Backend(Protocol):
    """Trains a stage.

    ``train`` leaves a checkpoint (safetensors, config, processor) in ``workdir/checkpoint``,
    appends one JSON object a step to ``workdir/metrics.jsonl`` (by the names of
    :mod:`backends.base.metrics`), keeps what it needs to resume in ``workdir/resume``, and goes on
    from there when called again with the same arguments after being killed. ``version`` is part of
    a training's key: it is raised with every change of what is computed. Rewards are checked by who
    makes the stage, not by ``problems``.
    """

    name: str
    version: int

    def problems(self, stage: Stage, resources: Resources) -> list[str]:
        """Why this backend cannot train the stage: refused at plan time. Empty: it can."""
        ...

    def train(self, stage: Stage, inputs: Inputs, resources: Resources, workdir: Path) -> Path:
        """Train and return the checkpoint folder. Raises :class:`TrainingError`."""
        ...
