"""A training in a process of its own: ``python -m backends.trl.worker SPEC``.

TRL sets seeds, an accelerator state and patches that belong to a whole process; and a GPU's memory
is free again when it ends.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import backends
from backends.base import Inputs, Resources, Stage, TrainingError

_ROOT = Path(backends.__file__).parents[1]
_LOG_LINES = 20
_PR_SET_PDEATHSIG = 1


def launch(stage: Stage, inputs: Inputs, resources: Resources, workdir: Path) -> None:
    """Run the training in a process that dies with this one, however it dies.

    Its output goes to ``workdir/trl.log``, which is removed when all went well. Raises
    TrainingError with the training's reason.
    """
    log = workdir / "trl.log"
    with tempfile.TemporaryDirectory() as scratch:
        spec = Path(scratch) / "spec.json"
        spec.write_text(
            json.dumps(
                {
                    "stage": stage.model_dump(mode="json"),
                    "resources": resources.model_dump(mode="json"),
                    "model": str(inputs.model.resolve()),
                    "questions": str(inputs.questions.resolve()),
                    "seed": inputs.seed,
                    "workdir": str(workdir.resolve()),
                    "parent": os.getpid(),
                }
            )
        )
        with log.open("wb") as out:
            command = [sys.executable, "-m", "backends.trl.worker", str(spec)]
            process = subprocess.Popen(
                command, stdout=out, stderr=subprocess.STDOUT, env=_environment(resources)
            )
        try:
            code = process.wait()
        finally:
            process.kill()
            process.wait()
        if (reason := spec.with_name("error.txt")).exists():
            raise TrainingError(reason.read_text())
    if code:
        tail = "\n".join(log.read_text(errors="replace").splitlines()[-_LOG_LINES:])
        raise TrainingError(f"TRL's process ended with code {code}. The end of {log}:\n{tail}")
    log.unlink()


def _environment(resources: Resources) -> dict[str, str]:
    """This process's, less what would make TRL one rank of many or spread it over all GPUs."""
    ranks = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
    kept = {k: v for k, v in os.environ.items() if k not in ranks}
    kept["PYTHONPATH"] = os.pathsep.join(filter(None, [str(_ROOT), kept.get("PYTHONPATH")]))
    if resources.device != "cpu":
        kept["CUDA_VISIBLE_DEVICES"] = kept.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0]
    return kept


def main(spec: Path) -> int:
    given = json.loads(spec.read_text())
    _die_with(given["parent"])
    from backends.deepspeed.backend import user_errors
    from backends.trl.training import train

    stage = Stage.model_validate(given["stage"])
    resources = Resources.model_validate(given["resources"])
    inputs = Inputs(Path(given["model"]), Path(given["questions"]), given["seed"])
    try:
        with user_errors():
            train(stage, inputs, resources, Path(given["workdir"]))
    except TrainingError as error:
        spec.with_name("error.txt").write_text(str(error))
        return 1
    return 0


def _die_with(parent: int) -> None:
    """Ask the kernel to kill this process when its parent dies; leave if it is gone already."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit("the process that started this training is gone")


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
