"""One call that trains the tiny random model with TRL in this process, or with ours."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest
from torch import Tensor

from backends.base.backend import Inputs
from backends.base.resources import Resources
from backends.base.stage import Stage
from backends.engines.hf import HFEngine
from backends.registry import backend
from benchmarks.base import Item
from benchmarks.data.questions import save_questions

from ..trained import SMALL as OURS
from ..trained import Train, Trained, allow_deprecated_collectives, apart, read, same

pytest.importorskip("trl", reason="TRL is an optional dependency")

__all__ = ["SMALL", "Train", "Trained", "apart", "gap", "read", "same"]

SMALL: dict[str, Any] = OURS | {"advantage_eps": 1e-4}


def gap(a: Trained, b: Trained, start: dict[str, Tensor]) -> float:
    """How far two trainings ended apart, relative to how far the second went.

    Biases of keys change no attention: their gradient is rounding, which Adam makes a full step.
    """

    def real(weights: dict[str, Tensor]) -> dict[str, Tensor]:
        return {k: v for k, v in weights.items() if "k_proj.bias" not in k and "qkv.bias" not in k}

    return apart(real(a.weights), real(b.weights)) / apart(real(b.weights), real(start))


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


@pytest.fixture
def whole_vocabulary(monkeypatch: pytest.MonkeyPatch) -> None:
    """Our trainer's log-probabilities cover the tokens that are never sampled, as TRL's do."""
    monkeypatch.setattr("backends.deepspeed.loop.suppressed_token_ids", lambda *_: ())


@pytest.fixture
def replayed(monkeypatch: pytest.MonkeyPatch, whole_vocabulary: None) -> dict[str, list[list[int]]]:
    """TRL is given the responses that our trainer sampled, by the id of the drawn question."""
    from backends.trl.grpo import GroupTrainer

    kept: dict[str, list[list[int]]] = {}
    generate = HFEngine.generate_encoded

    def record(self: HFEngine, prompts: Any, ids: Any, *args: Any, **kwargs: Any) -> Any:
        for i, responses in generate(self, prompts, ids, *args, **kwargs):
            kept[ids[i]] = [list(r.tokens) for r in responses]
            yield i, responses

    def replay(self: Any, prompt_ids: Any, *_: Any, **__: Any) -> tuple[list[list[int]], None]:
        stage, step = self.stage, self.state.global_step
        completions = []
        for row in range(step * stage.questions_per_step, (step + 1) * stage.questions_per_step):
            nothing = [[self.eos_token_ids[0]]] * stage.group_size
            completions += kept.get(self.questions.drawn(row).id, nothing)
        assert len(completions) == len(prompt_ids)
        return completions, None

    monkeypatch.setattr(HFEngine, "generate_encoded", record)
    monkeypatch.setattr(GroupTrainer, "_generate_single_turn", replay)
    return kept
