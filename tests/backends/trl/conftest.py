"""One call that trains the tiny random model with TRL in this process, or with ours."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest

from backends import backend
from backends.base import Inputs, Resources, Stage
from benchmarks.base import Item
from benchmarks.questions import save_questions

from ..trained import SMALL as OURS
from ..trained import Train, Trained, allow_deprecated_collectives, apart, read, same

pytest.importorskip("trl", reason="TRL is an optional dependency")

__all__ = ["SMALL", "Train", "Trained", "apart", "read", "same"]

SMALL: dict[str, Any] = OURS | {"advantage_eps": 1e-4}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    allow_deprecated_collectives(items, Path(__file__).parent)


@pytest.fixture(scope="session", autouse=True)
def library() -> None:
    """TRL as the backend imports it: without what it warns of when it finds vLLM."""
    importlib.import_module("backends.trl.library")


@pytest.fixture
def train(model_folder: Path, items: list[Item], tmp_path: Path) -> Train:
    """``train(name, by="trl", model=, items=, seed=, resources=, **stage)`` trains in
    ``tmp_path/name``; TRL without a process of its own, which takes ten seconds to start."""
    default = items

    def run(
        name: str,
        *,
        by: str = "trl",
        model: Path = model_folder,
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
            Inputs(model, pool, seed),
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
