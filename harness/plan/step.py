"""A planned step: one unit of work and of storage."""

from __future__ import annotations

from typing import Any

from backends.base.config import Config
from harness.plan.specs import StepSpec
from harness.store.keys import step_key


class Step(Config):
    """One unit of work and of storage. ``parents`` maps a role to the key of an earlier step.

    ``name`` is for people. ``benchmark`` is what a step asks or judges; ``of`` is the arm that a
    step trains a model for, where that is another than the trial's own: a teacher's.
    """

    kind: str
    name: str
    label: str
    version: int
    spec: dict[str, Any]
    parents: dict[str, str]
    key: str
    benchmark: str | None = None
    of: str | None = None


def step(spec: StepSpec, name: str, label: str, parents: dict[str, str]) -> Step:
    """The step of this spec, with its key. ``name`` is what a trial calls it, ``label`` what its
    folder in the store is called."""
    plain = spec.model_dump(mode="json")
    return Step(
        kind=spec.KIND,
        name=name,
        label=label,
        version=spec.VERSION,
        spec=plain,
        parents=parents,
        key=step_key(spec.KIND, spec.VERSION, plain, parents),
        benchmark=plain.get("benchmark"),
    )
