"""Backends that train nothing, for trials that end in every way a trial can."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from backends.base.backend import Inputs, TrainingError
from backends.base.resources import Resources
from backends.base.stage import Stage

#: Where a process that :class:`Sleeping` started shows that it lives: a line each 50 ms.
PULSE = "pulse.txt"

_BEAT = """
import pathlib, sys, time
while True:
    with pathlib.Path(sys.argv[1]).open("a") as file:
        file.write("alive\\n")
    time.sleep(0.05)
"""


class Quick:
    """Is done at once; its checkpoint is a file of the seed."""

    def problems(self, stage: Stage, resources: Resources) -> list[str]:
        return []

    def train(self, stage: Stage, inputs: Inputs, resources: Resources, workdir: Path) -> Path:
        print("trained")
        (workdir / "metrics.jsonl").write_text('{"step": 1, "reward": 0.5}\n')
        (workdir / "checkpoint").mkdir(exist_ok=True)
        (workdir / "checkpoint" / "weights.txt").write_text(str(inputs.seed))
        return workdir / "checkpoint"


class Failing(Quick):
    """Fails with a reason."""

    def train(self, stage: Stage, inputs: Inputs, resources: Resources, workdir: Path) -> Path:
        raise TrainingError("the loss is not finite")


class Killed(Quick):
    """Is killed, as by a system without memory."""

    def train(self, stage: Stage, inputs: Inputs, resources: Resources, workdir: Path) -> Path:
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError("nobody survives it")


class Sleeping(Quick):
    """Never ends, and has started a process that does not either."""

    def train(self, stage: Stage, inputs: Inputs, resources: Resources, workdir: Path) -> Path:
        subprocess.Popen([sys.executable, "-c", _BEAT, str(workdir / PULSE)])
        while True:
            time.sleep(1)
