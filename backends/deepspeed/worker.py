"""One rank of a training in a process of its own: ``python -m backends.deepspeed.worker SPEC
RANK``.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
from pathlib import Path

from backends.base import Inputs, Resources, Stage, TrainingError

_PR_SET_PDEATHSIG = 1


def main(spec: Path, rank: int) -> int:
    given = json.loads(spec.read_text())
    _die_with(given["parent"])
    from backends.deepspeed.backend import user_errors
    from backends.deepspeed.loop import train
    from backends.deepspeed.process import joined

    stage = Stage.model_validate(given["stage"])
    resources = Resources.model_validate(given["resources"])
    external = given["external"] and Path(given["external"])
    inputs = Inputs(Path(given["model"]), Path(given["questions"]), given["seed"], external)
    try:
        with (
            user_errors(),
            joined(rank, resources.processes, resources.device, spec.with_name("ranks")) as ranks,
        ):
            train(stage, inputs, resources, Path(given["workdir"]), ranks)
    except TrainingError as error:
        spec.with_name(f"error{rank}.txt").write_text(str(error))
        return 1
    return 0


def _die_with(parent: int) -> None:
    """Ask the kernel to kill this process when its parent dies; leave if that has happened
    already.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit("the process that started this worker is gone")


if __name__ == "__main__":
    code = main(Path(sys.argv[1]), int(sys.argv[2]))
    # A rank that failed may hold collectives that the others never join: leave without waiting for
    # them.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
