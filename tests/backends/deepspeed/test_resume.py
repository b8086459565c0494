"""A training that is killed goes on to the same weights, bit for bit."""

from __future__ import annotations

import hashlib
import json
import subprocess
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch

from backends.base.backend import Inputs, TrainingError
from backends.base.resources import Resources
from backends.base.stage import Stage
from backends.registry import backend

from .. import stopping
from ..stopping import kill_at
from .conftest import SMALL, Train, read, same
from .stopping import goes_on_bit_for_bit, killed_at_update

STAGE: dict[str, Any] = SMALL | {"steps": 7, "kl": {"beta": 0.1}, "warmup_steps": 6}
#: Two engines, each with its optimizer: twice the steps.
GAE: dict[str, Any] = {"advantage": "gae", "critic": {"lr": 1e-2}, "lr_schedule": "cosine"}

#: Does not come to its end: whoever is to kill it may be late.
WAITS = """
import time
from backends.deepspeed.learner import Learner
step, calls = Learner.step, []
def waits(self, lr):
    calls.append(lr)
    while len(calls) > 20:
        time.sleep(1)
    return step(self, lr)
Learner.step = waits
"""


def start(
    workdir: Path, stage: Any, resources: Any, model: Path, questions: Path
) -> subprocess.Popen[bytes]:
    return stopping.start("deepspeed", workdir, stage, resources, model, questions, WAITS)


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
    resources = {"zero_stage": zero_stage, "save_every": 2}
    stopped = goes_on_bit_for_bit(train, at, resources=resources, **STAGE | fields)
    assert not (stopped.workdir / "resume").exists()


class Runs:
    """A pickle that makes a file when it is loaded."""

    def __init__(self, made: Path) -> None:
        self.made = made

    def __reduce__(self) -> Any:
        return Path.touch, (self.made,)


def test_a_state_that_names_code_is_not_loaded(train: Train, tmp_path: Path) -> None:
    """Whoever can write the file can write its sum too."""
    given: dict[str, Any] = {"resources": {"save_every": 2}, **STAGE}
    whole = train("whole", **given)
    with killed_at_update(4):
        train("stopped", **given)
    (folder,) = (whole.workdir.parent / "stopped" / "resume").iterdir()
    state = next(folder.rglob("*.pt"))
    torch.save({"module": Runs(tmp_path / "made")}, state)
    record = json.loads((folder / "state.json").read_text())
    record["files"][state.relative_to(folder).as_posix()] = hashlib.sha256(
        state.read_bytes()
    ).hexdigest()
    (folder / "state.json").write_text(json.dumps(record))
    assert same(train("stopped", **given).weights, whole.weights)
    assert not (tmp_path / "made").exists()


def damage(folder: Path, how: str) -> None:
    """What a failing disk, a power cut or a careless hand does to a saved state."""
    state = next(p for p in sorted(folder.rglob("*.pt")) if p.stat().st_size)
    if how == "truncated":
        state.write_bytes(state.read_bytes()[:-100])
    elif how == "empty":
        state.write_bytes(b"")
    elif how == "gone":
        state.unlink()
    elif how == "a bit":
        content = bytearray(state.read_bytes())
        content[len(content) // 2] ^= 1
        state.write_bytes(content)
    elif how == "record":
        (folder / "state.json").write_bytes(b"\xff\x00")
    elif how == "metrics":
        (folder.parents[1] / "metrics.jsonl").write_text("")


@pytest.mark.parametrize(
    ("how", "states"),
    [*((how, 1) for how in ("truncated", "empty", "gone", "record", "metrics")), ("a bit", 2)],
)
def test_a_damaged_state_falls_back_to_the_one_before_or_to_the_start(
    train: Train, caplog: pytest.LogCaptureFixture, how: str, states: int
) -> None:
    """To the same weights, and it is said once."""
    given: dict[str, Any] = {"resources": {"save_every": 2}, **STAGE}
    whole = train("whole", **given)
    with killed_at_update(6):
        train("stopped", **given)
    saved = sorted((whole.workdir.parent / "stopped" / "resume").iterdir())
    assert [folder.name for folder in saved] == ["step2", "step4"]
    for folder in saved[-states:]:
        damage(folder, how)
    stopped = train("stopped", **given)
    assert same(stopped.weights, whole.weights)
    assert stopped.figures() == whole.figures()
    told = [r.getMessage() for r in caplog.records if "checkpoint" in r.name]
    assert len(told) == (2 if how == "metrics" else states)
    assert all("step" in line for line in told)


def test_a_finished_training_is_not_trained_again(train: Train) -> None:
    first = train("run")
    written = (first.workdir / "metrics.jsonl").stat().st_mtime_ns
    train("run")
    assert (first.workdir / "metrics.jsonl").stat().st_mtime_ns == written


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
