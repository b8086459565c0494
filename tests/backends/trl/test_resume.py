"""A training that is killed goes on to the weights of an undisturbed one."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from benchmarks.base import Item
from benchmarks.data.questions import save_questions

from .conftest import SMALL, Train, read, same

STAGES: dict[str, dict[str, Any]] = {
    "grpo": {"kl": {"beta": 0.1}},
    "sft": {"objective": "sft", "rewards": [], "max_response_tokens": 24},
}

START = """
import json, sys
from pathlib import Path
from backends.registry import backend
from backends.base.backend import Inputs
from backends.base.resources import Resources
from backends.base.stage import Stage
stage, resources, model, questions, workdir = json.loads(sys.argv[1])
backend("trl").train(
    Stage.model_validate(stage), Inputs(Path(model), Path(questions), 0),
    Resources.model_validate(resources), Path(workdir),
)
"""


class Killed(BaseException):
    """Stands for the end of the process where a real one would take ten seconds to start."""


@pytest.mark.parametrize("name", STAGES)
def test_a_stopped_training_goes_on_bit_for_bit(
    train: Train, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    from backends.trl.progress import Progress

    stage = STAGES[name] | {"steps": 5, "warmup_steps": 4}
    resources = {"save_every": 2, "tokens_per_micro_batch": 500}
    whole = train("whole", resources=resources, **stage)
    log = Progress.on_log

    def stop(self: Any, args: Any, state: Any, *rest: Any, **kwargs: Any) -> None:
        log(self, args, state, *rest, **kwargs)
        if state.global_step == 3:
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(Progress, "on_log", stop)
        with pytest.raises(Killed):
            train("stopped", resources=resources, **stage)
    saved = sorted(p.name for p in (whole.workdir.parent / "stopped" / "resume").iterdir())
    assert saved == ["checkpoint-2", "state.json"]
    stopped = train("stopped", resources=resources, **stage)
    assert same(stopped.weights, whole.weights)
    assert stopped.figures() == whole.figures()
    assert not (stopped.workdir / "resume").exists()


def test_the_state_of_another_training_is_not_continued(
    train: Train, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def stop(*_: object) -> None:
        raise Killed

    other = {"lr": 2e-4, "steps": 3}
    whole = train("whole", resources={"save_every": 2}, **other)
    with monkeypatch.context() as patch:
        patch.setattr("backends.trl.training.save_checkpoint", stop)
        with pytest.raises(Killed):
            train("run", resources={"save_every": 2}, steps=3)
    assert (tmp_path / "run" / "resume" / "state.json").exists()
    run = train("run", resources={"save_every": 2}, **other)
    assert same(run.weights, whole.weights)
    assert run.figures() == whole.figures()


@pytest.mark.slow
def test_kill_9_and_again(
    train: Train, tmp_path: Path, model_folder: Path, items: list[Item]
) -> None:
    """The real thing: two processes, one killed; the trainer dies with it."""
    stage, resources = SMALL | {"steps": 30}, {"save_every": 4, "device": "cpu"}
    whole = train("whole", resources=resources, **stage)
    workdir, pool = tmp_path / "killed", save_questions(items, tmp_path / "pool")
    given = [stage, resources, str(model_folder), str(pool), str(workdir)]
    command = [sys.executable, "-c", START, json.dumps(given)]
    process = subprocess.Popen(command)
    metrics = workdir / "metrics.jsonl"
    while not metrics.exists() or len(metrics.read_text().splitlines()) < 6:
        assert process.poll() is None
        time.sleep(0.01)
    children = psutil.Process(process.pid).children(recursive=True)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert children
    assert not psutil.wait_procs(children, timeout=120)[1]
    assert not (workdir / "checkpoint").exists()
    subprocess.run(command, check=True)
    killed = read(workdir)
    assert same(killed.weights, whole.weights)
    assert killed.figures() == whole.figures()
    assert sorted(p.name for p in workdir.iterdir()) == ["checkpoint", "metrics.jsonl"]
