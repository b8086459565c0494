"""A training that is killed goes on to the same weights, bit for bit."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from backends.base.backend import Inputs, TrainingError
from backends.base.resources import Resources
from backends.base.stage import Stage
from backends.deepspeed.learner import Learner
from backends.registry import backend

from .conftest import SMALL, Train, read, same

STAGE: dict[str, Any] = SMALL | {"steps": 7, "kl": {"beta": 0.1}, "warmup_steps": 6}
#: Two engines, each with its optimizer: twice the steps.
GAE: dict[str, Any] = {"advantage": "gae", "critic": {"lr": 1e-2}, "lr_schedule": "cosine"}

#: Does not come to its end: whoever is to kill it may be late.
START = """
import json, sys, time
from pathlib import Path
from backends.registry import backend
from backends.base.backend import Inputs
from backends.base.resources import Resources
from backends.base.stage import Stage
from backends.deepspeed.learner import Learner
step, calls = Learner.step, []
def waits(self, lr):
    calls.append(lr)
    while len(calls) > 20:
        time.sleep(1)
    return step(self, lr)
Learner.step = waits
stage, resources, model, questions, workdir = json.loads(sys.argv[1])
backend("deepspeed").train(
    Stage.model_validate(stage), Inputs(Path(model), Path(questions), 0),
    Resources.model_validate(resources), Path(workdir),
)
"""


class Killed(BaseException):
    """Stands for the end of the process where a real one would take ten seconds to start."""


@contextmanager
def killed_at_update(number: int) -> Iterator[None]:
    """Kills the training inside when it comes to its optimizer step of this number."""
    step, calls = Learner.step, []

    def stop(self: Learner, lr: float) -> tuple[bool, float]:
        calls.append(lr)
        if len(calls) == number:
            raise Killed
        return step(self, lr)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Learner, "step", stop)
        with pytest.raises(Killed):
            yield


@pytest.mark.parametrize(
    ("zero_stage", "at", "fields"),
    [
        *((zero_stage, at, {}) for zero_stage in (0, 1, 2, 3) for at in (3, 5)),
        *((zero_stage, 11, GAE) for zero_stage in (1, 3)),
    ],
    ids=str,
)
def test_a_stopped_training_goes_on_bit_for_bit(
    train: Train,
    zero_stage: int,
    at: int,
    fields: dict[str, Any],
) -> None:
    resources, stage = {"zero_stage": zero_stage, "save_every": 2}, STAGE | fields
    whole = train("whole", resources=resources, **stage)
    with killed_at_update(at):
        train("stopped", resources=resources, **stage)
    stopped = train("stopped", resources=resources, **stage)
    assert same(stopped.weights, whole.weights)
    assert stopped.figures() == whole.figures()
    assert not (stopped.workdir / "resume").exists()


def test_the_state_of_another_training_is_not_continued(
    train: Train, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    other = STAGE | {"lr": 2e-4}
    whole = train("whole", resources={"save_every": 2}, **other)
    monkeypatch.setattr("backends.deepspeed.loop.save_checkpoint", _stop)
    with pytest.raises(Killed):
        train("run", resources={"save_every": 2}, **STAGE)
    monkeypatch.undo()
    assert (tmp_path / "run" / "resume").exists()
    run = train("run", resources={"save_every": 2}, **other)
    assert same(run.weights, whole.weights)
    assert run.figures() == whole.figures()


def _stop(*_: object) -> None:
    raise Killed


def test_a_finished_training_is_not_trained_again(train: Train) -> None:
    first = train("run")
    written = (first.workdir / "metrics.jsonl").stat().st_mtime_ns
    train("run")
    assert (first.workdir / "metrics.jsonl").stat().st_mtime_ns == written


def start(
    workdir: Path, stage: Any, resources: Any, model: Path, questions: Path
) -> subprocess.Popen[bytes]:
    given = [stage, resources, str(model), str(questions), str(workdir)]
    with workdir.with_suffix(".log").open("wb") as log:
        return subprocess.Popen([sys.executable, "-c", START, json.dumps(given)], stderr=log)


def kill_at(step: int, workdir: Path, process: subprocess.Popen[bytes]) -> list[psutil.Process]:
    """Kill -9 once so many steps are done; returns the children that it had."""
    metrics = workdir / "metrics.jsonl"
    while not metrics.exists() or len(metrics.read_text().splitlines()) < step:
        assert process.poll() is None, workdir.with_suffix(".log").read_text()[-2000:]
        time.sleep(0.01)
    children = psutil.Process(process.pid).children(recursive=True)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    return children


def test_kill_9_and_again(
    train: Train, tmp_path: Path, model_folder: Path, questions: Path
) -> None:
    stage, resources = STAGE | {"steps": 40}, {"save_every": 4}
    whole = train("whole", resources=resources, **stage)
    process = start(tmp_path / "killed", stage, resources, model_folder, questions)
    kill_at(6, tmp_path / "killed", process)
    assert not (tmp_path / "killed" / "checkpoint").exists()
    killed = train("killed", resources=resources, **stage)
    assert same(killed.weights, whole.weights)
    assert killed.figures() == whole.figures()


@pytest.mark.slow
def test_kill_9_takes_the_ranks_along_and_two_ranks_resume(
    tmp_path: Path, model_folder: Path, questions: Path
) -> None:
    stage = STAGE | {"steps": 200}
    resources = {"processes": 2, "zero_stage": 3, "save_every": 10}
    process = start(tmp_path / "killed", stage, resources, model_folder, questions)
    children = kill_at(25, tmp_path / "killed", process)
    assert len(children) == 2
    _, alive = psutil.wait_procs(children, timeout=120)
    assert not alive
    for name in ("killed", "whole"):
        backend("deepspeed").train(
            Stage.model_validate(stage),
            Inputs(model_folder, questions, 0),
            Resources.model_validate(resources),
            tmp_path / name,
        )
    assert same(read(tmp_path / "killed").weights, read(tmp_path / "whole").weights)
    assert read(tmp_path / "killed").figures() == read(tmp_path / "whole").figures()


def test_the_reason_of_a_failed_rank_is_reported(tmp_path: Path, questions: Path) -> None:
    with pytest.raises(TrainingError, match="not a folder"):
        backend("deepspeed").train(
            Stage.model_validate(SMALL),
            Inputs(tmp_path / "nowhere", questions, 0),
            Resources(processes=2),
            tmp_path / "run",
        )
