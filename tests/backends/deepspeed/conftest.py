"""One call that trains the tiny random model and hands back weights and metrics."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from backends.base.backend import Inputs
from backends.base.resources import Resources
from backends.base.stage import Stage
from backends.registry import backend
from benchmarks.base import Item
from benchmarks.data.questions import save_questions

from ..trained import SMALL, Train, Trained, allow_deprecated_collectives, apart, read, same

__all__ = ["SMALL", "Train", "Trained", "apart", "read", "same"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    allow_deprecated_collectives(items, Path(__file__).parent)


@pytest.fixture(scope="session")
def questions(items: list[Item], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_questions(items, tmp_path_factory.mktemp("questions"))


@pytest.fixture
def train(model_folder: Path, questions: Path, tmp_path: Path) -> Train:
    """``train(name, items=, seed=, resources=, **stage)`` trains in ``tmp_path/name``."""

    def run(
        name: str,
        *,
        items: list[Item] | None = None,
        seed: int = 0,
        resources: dict[str, Any] | None = None,
        **stage: Any,
    ) -> Trained:
        pool = questions
        if items is not None:
            pool = save_questions(items, tmp_path / f"{name}_questions")
        workdir = tmp_path / name
        backend("deepspeed").train(
            Stage.model_validate(SMALL | stage),
            Inputs(model_folder, pool, seed),
            Resources.model_validate(resources or {}),
            workdir,
        )
        return read(workdir)

    return run
