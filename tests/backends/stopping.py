"""Trainings that are stopped: in this process, or as processes of their own by kill -9."""

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

TRAIN = """
import json, sys
from pathlib import Path
from backends.registry import backend
from backends.base.backend import Inputs
from backends.base.resources import Resources
from backends.base.stage import Stage
name, stage, resources, model, questions, workdir = json.loads(sys.argv[1])
backend(name).train(
    Stage.model_validate(stage), Inputs(Path(model), Path(questions), 0),
    Resources.model_validate(resources), Path(workdir),
)
"""


class Killed(BaseException):
    """Stands for the end of the process where a real one would take ten seconds to start."""


def start(
    backend: str,
    workdir: Path,
    stage: Any,
    resources: Any,
    model: Path,
    questions: Path,
    before: str = "",
) -> subprocess.Popen[bytes]:
    """A training as a process, which runs the code ``before`` first."""
    given = [backend, stage, resources, str(model), str(questions), str(workdir)]
    command = [sys.executable, "-c", before + TRAIN, json.dumps(given)]
    with workdir.with_suffix(".log").open("wb") as log:
        return subprocess.Popen(command, stderr=log)


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
