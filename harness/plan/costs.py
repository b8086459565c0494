"""What a step is likely to take, by what such steps took before."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING, Any

from harness.store.results import Store

if TYPE_CHECKING:
    from harness.plan.planner import Step


class Costs:
    """What a step is likely to take, from the manifests of such steps in the store.

    Seconds per unit of work: responses for training and generating, one for the rest. Where no such
    step was ever run, nothing is said.
    """

    def __init__(self, store: Store) -> None:
        self._rates: dict[tuple[Any, ...], list[float]] = {}
        for result in store.results():
            manifest = result.manifest
            if "seconds" in manifest and "spec" in manifest:
                kind, spec = manifest["kind"], manifest["spec"]
                rate = manifest["seconds"] / _work(kind, spec)
                self._rates.setdefault(_like(kind, spec), []).append(rate)

    def seconds(self, step: Step) -> float | None:
        rates = self._rates.get(_like(step.kind, step.spec))
        return statistics.median(rates) * _work(step.kind, step.spec) if rates else None


def _like(kind: str, spec: dict[str, Any]) -> tuple[Any, ...]:
    """What makes the cost of two steps comparable per unit of work."""
    stage = spec.get("stage") or {}
    same = ["benchmark", "data", "limit", "backend", "asks"]
    if kind in ("respond", "curate"):
        same.append("questions")
    return kind, stage.get("objective"), *map(spec.get, same)


def _work(kind: str, spec: dict[str, Any]) -> float:
    if kind == "train":
        stage = spec["stage"]
        return float(stage["steps"] * stage["questions_per_step"] * stage["group_size"])
    if kind == "respond":
        return float(spec["samples"])
    if kind == "generate":
        return float(spec["greedy"] + (spec["sampled"] or {"n": 0})["n"])
    return 1.0
