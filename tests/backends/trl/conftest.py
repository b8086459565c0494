"""One call that trains the tiny random model with TRL in this process, or with ours."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from backends import backend
from backends.base import Inputs, Resources, Stage
from benchmarks.base import Item
from benchmarks.questions import save_questions

pytest.importorskip("trl", reason="TRL is an optional dependency")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """DeepSpeed 0.19.8 calls collectives by names that torch 2.13 has deprecated."""
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            for name in ("all_gather_into_tensor", "reduce_scatter_tensor"):
                message = f"`torch.distributed.{name}` is deprecated"
                item.add_marker(pytest.mark.filterwarnings(f"ignore:{message}:FutureWarning"))


SMALL: dict[str, Any] = {
    "template": "plain",
    "rewards": [{"name": "majority"}],
    "steps": 2,
    "questions_per_step": 4,
    "group_size": 4,
    "max_response_tokens": 6,
    "advantage_eps": 1e-4,
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
        return [
            {k: v for k, v in row.items() if not k.startswith("seconds_")} for row in self.metrics
        ]


Train = Callable[..., Trained]


def read(workdir: Path) -> Trained:
    rows = (workdir / "metrics.jsonl").read_text().splitlines()
    weights = load_file(workdir / "checkpoint" / "model.safetensors")
    return Trained(weights, [json.loads(row) for row in rows], workdir)


def apart(a: dict[str, Tensor], b: dict[str, Tensor]) -> float:
    """Distance of two sets of weights, relative to their size."""
    assert a.keys() == b.keys()
    gap = sum(float((a[k] - b[k]).double().square().sum()) for k in a)
    return (gap / sum(float(b[k].double().square().sum()) for k in b)) ** 0.5


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


@pytest.fixture(scope="session", autouse=True)
def library() -> None:
    """TRL as the backend imports it: without what it warns of when it finds vLLM."""
    importlib.import_module("backends.trl.library")


@pytest.fixture(scope="session")
def items(picture: Callable[..., bytes]) -> list[Item]:
    """Eight questions, every third without a picture, with labels and one worked solution."""
    return [
        Item(
            f"q{i}",
            f"What is {i} + {i}?",
            answer=str(2 * i),
            images=() if i % 3 == 2 else (picture(i),),
            solution=f"{i} and {i} are {2 * i}" if i == 0 else "",
        )
        for i in range(8)
    ]


@pytest.fixture
def train(model_folder: Path, items: list[Item], tmp_path: Path) -> Train:
    """``train(name, by="trl", items=, seed=, resources=, **stage)`` trains in ``tmp_path/name``;
    TRL without a process of its own, which takes ten seconds to start."""
    default = items

    def run(
        name: str,
        *,
        by: str = "trl",
        items: list[Item] | None = None,
        seed: int = 0,
        resources: dict[str, Any] | None = None,
        **stage: Any,
    ) -> Trained:
        from backends.trl.training import train

        pool = save_questions(items or default, tmp_path / "pools" / name)
        workdir = tmp_path / name
        workdir.mkdir(exist_ok=True)
        given = (
            Stage.model_validate(SMALL | stage),
            Inputs(model_folder, pool, seed),
            Resources.model_validate({"device": "cpu"} | (resources or {})),
            workdir,
        )
        assert not backend(by).problems(given[0], given[2])
        if by == "trl":
            train(*given)
        else:
            backend(by).train(*given)
        return read(workdir)

    return run


@pytest.fixture(scope="session")
def base(model_folder: Path) -> dict[str, Tensor]:
    """The weights that every training starts from."""
    return load_file(model_folder / "model.safetensors")
