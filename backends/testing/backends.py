"""What every backend must do. A backend's own tests subclass :class:`BackendContract`."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file
from torch import Tensor, equal

from backends.base.backend import Backend, Inputs
from backends.base.metrics import METRICS
from backends.base.resources import Resources
from backends.base.stage import Stage
from backends.models.folders import load_model, load_processor
from benchmarks import tiny
from benchmarks.base import Item
from benchmarks.data.questions import save_questions

#: Trains in a process that can be killed: told everything in JSON, as a trial's process is.
_START = """
import importlib, json, sys
from pathlib import Path
from backends.base.backend import Inputs
from backends.base.resources import Resources
from backends.base.stage import Stage
module, name, stage, resources, model, questions, workdir = json.loads(sys.argv[1])
getattr(importlib.import_module(module), name)().train(
    Stage.model_validate(stage), Inputs(Path(model), Path(questions), 0),
    Resources.model_validate(resources), Path(workdir),
)
"""


class BackendContract:
    """Subclass it, give :meth:`make`, and pytest runs the rest: a handful of short trainings of
    the embedded model, on a processor.

    The class that :meth:`make` makes is made again without arguments, by its module and name, in a
    process that is killed.
    """

    #: A stage that the backend can train and that reads no label.
    stage: dict[str, Any] = {  # noqa: RUF012 - a default that a subclass replaces
        "rewards": [{"name": "majority"}],
        "steps": 4,
        "questions_per_step": 4,
        "group_size": 4,
        "max_response_tokens": 24,
        "lr": 1e-4,
    }
    #: Whether the stage learns from labels or worked solutions.
    reads_labels = False
    #: Whether a training that was killed ends with the bits of one that was not.
    resumes_exactly = True
    #: Seconds that a process may take to come to its second step.
    seconds = 300.0

    def make(self) -> Backend:
        raise NotImplementedError

    @pytest.fixture
    def items(self) -> list[Item]:
        return list(tiny.questions("train")[:8])

    def train(self, folder: Path, items: list[Item], seed: int = 0) -> Path:
        """The checkpoint of the stage on these questions, trained in ``folder``."""
        folder.mkdir(parents=True, exist_ok=True)
        pool = save_questions(items, folder.with_name(f"{folder.name}-questions"))
        stage, resources = self._settings()
        inputs = Inputs(tiny.checkpoint(), pool, seed)
        return self.make().train(stage, inputs, resources, folder)

    def _settings(self) -> tuple[Stage, Resources]:
        return Stage.model_validate(self.stage), Resources(device="cpu", save_every=1)

    def test_it_has_a_name_and_a_version(self) -> None:
        backend = self.make()
        assert backend.name
        assert str(backend.version)

    def test_what_it_trains_it_does_not_refuse(self) -> None:
        assert self.make().problems(*self._settings()) == []

    def test_a_stage_that_it_cannot_train_is_refused_in_sentences(self) -> None:
        """At plan time, before anything is created: never by failing at night."""
        stage, resources = self._settings()
        wrong = stage.model_copy(update={"template": "no such template"})
        problems = self.make().problems(wrong, resources)
        assert problems
        assert all(isinstance(problem, str) and problem for problem in problems)

    def test_it_leaves_a_checkpoint_that_loads_and_a_row_a_step(
        self, tmp_path: Path, items: list[Item]
    ) -> None:
        folder = tmp_path / "run"
        checkpoint = self.train(folder, items)
        assert checkpoint == folder / "checkpoint"
        load_model(checkpoint)
        load_processor(checkpoint)
        rows = metrics(folder)
        assert [row["step"] for row in rows] == list(range(1, self.stage["steps"] + 1))
        unknown = {name for row in rows for name in row if name not in METRICS}
        assert not unknown, f"{unknown} are none of backends.base.metrics.METRICS"
        assert all(isinstance(value, int | float) for row in rows for value in row.values())
        before = (checkpoint / "model.safetensors").stat().st_mtime_ns
        self.train(folder, items)
        after = (checkpoint / "model.safetensors").stat().st_mtime_ns
        assert after == before, "a finished training was trained again"

    def test_the_same_arguments_give_the_same_weights_and_another_seed_does_not(
        self, tmp_path: Path, items: list[Item]
    ) -> None:
        first, again = (weights(self.train(tmp_path / name, items)) for name in ("a", "b"))
        assert same(first, again)
        assert not same(first, weights(self.train(tmp_path / "c", items, seed=1)))

    def test_without_a_reward_that_needs_labels_none_is_read(
        self, tmp_path: Path, items: list[Item]
    ) -> None:
        if self.reads_labels:
            pytest.skip("this stage learns from them")
        poisoned = [replace(item, answer="poison", solution="", meta={}) for item in items]
        bare = [replace(item, solution="", meta={}) for item in items]
        trained = [self.train(tmp_path / str(n), pool) for n, pool in enumerate((bare, poisoned))]
        assert same(*map(weights, trained))

    def test_a_training_that_is_killed_goes_on(self, tmp_path: Path, items: list[Item]) -> None:
        whole = self.train(tmp_path / "whole", items)
        folder = tmp_path / "killed"
        folder.mkdir()
        pool = save_questions(items, tmp_path / "killed-questions")
        kind, (stage, resources) = type(self.make()), self._settings()
        settings = [part.model_dump(mode="json") for part in (stage, resources)]
        told = [kind.__module__, kind.__qualname__, *settings, str(tiny.checkpoint())]
        arguments = json.dumps([*told, str(pool), str(folder)])
        process = subprocess.Popen([sys.executable, "-c", _START, arguments])
        until = time.monotonic() + self.seconds
        while process.poll() is None and len(metrics(folder)) < 2:
            assert time.monotonic() < until, f"no second step in {self.seconds} s"
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.wait()
        resumed = self.train(folder, items)
        steps = [row["step"] for row in metrics(folder)]
        assert steps == list(range(1, self.stage["steps"] + 1)), "a step is missing, or there twice"
        if self.resumes_exactly:
            assert same(weights(whole), weights(resumed))


def metrics(folder: Path) -> list[dict[str, Any]]:
    """The whole rows of a training's log so far."""
    file = folder / "metrics.jsonl"
    lines = file.read_text().splitlines(keepends=True) if file.exists() else []
    return [json.loads(line) for line in lines if line.endswith("\n")]


def weights(checkpoint: Path) -> dict[str, Tensor]:
    """Every tensor of a checkpoint by name."""
    files = sorted(checkpoint.glob("*.safetensors"))
    return {name: t for file in files for name, t in load_file(file).items()}


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    """Whether two sets of weights have the same bits."""
    return a.keys() == b.keys() and all(equal(a[name], b[name]) for name in a)
