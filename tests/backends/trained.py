"""What a training left behind, and how two of them compare: for the tests of both trainers."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

#: Two steps of a method that learns something from the tiny random model.
SMALL: dict[str, Any] = {
    "template": "plain",
    "rewards": [{"name": "majority"}],
    "steps": 2,
    "questions_per_step": 4,
    "group_size": 4,
    "max_response_tokens": 6,
    "lr": 1e-4,
}


@dataclass(frozen=True)
class Trained:
    """What a training left: final weights by name, one mapping of metrics a step, the folder."""

    weights: dict[str, Tensor]
    metrics: list[dict[str, float]]
    workdir: Path

    def figures(self) -> list[dict[str, float]]:
        """The metrics without the times, which differ from run to run."""
        return [{k: v for k, v in row.items() if "seconds" not in k} for row in self.metrics]


Train = Callable[..., Trained]


def read(workdir: Path) -> Trained:
    rows = (workdir / "metrics.jsonl").read_text().splitlines()
    weights = load_file(workdir / "checkpoint" / "model.safetensors")
    return Trained(weights, [json.loads(row) for row in rows], workdir)


def apart(a: dict[str, Tensor], b: dict[str, Tensor]) -> float:
    """Distance of two sets of weights, relative to their size."""
    assert a.keys() == b.keys()
    gap = sum(float((a[k] - b[k]).double().square().sum()) for k in a)
    size = sum(float(b[k].double().square().sum()) for k in b)
    return (gap / size) ** 0.5


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def close(one: Trained, two: Trained) -> None:
    """The same but for rounding."""
    assert apart(one.weights, two.weights) < 1e-5
    for a, b in zip(one.figures(), two.figures(), strict=True):
        assert a == pytest.approx(b, rel=1e-3, abs=1e-5)


def allow_deprecated_collectives(items: list[pytest.Item], folder: Path) -> None:
    """DeepSpeed 0.19.8 calls collectives by names that torch 2.13 has deprecated."""
    for item in items:
        if folder in item.path.parents:
            for name in ("all_gather_into_tensor", "reduce_scatter_tensor"):
                message = f"`torch.distributed.{name}` is deprecated"
                item.add_marker(pytest.mark.filterwarnings(f"ignore:{message}:FutureWarning"))
