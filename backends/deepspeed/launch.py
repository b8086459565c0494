"""Start the processes of a training on this machine, and end them all if one of them fails."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import backends
from backends.base import Inputs, Resources, Stage, TrainingError

_ROOT = Path(backends.__file__).parents[1]
_LOG_LINES = 20


def launch(stage: Stage, inputs: Inputs, resources: Resources, workdir: Path) -> None:
    """Run the training in ``resources.processes`` workers, each its own process.

    Their output goes to ``workdir/rank<i>.log``. When this process dies, however it dies, they do
    too. Raises TrainingError with the reason of the first worker that failed.
    """
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
                    "external": inputs.external and str(inputs.external.resolve()),
                    "workdir": str(workdir.resolve()),
                    "parent": os.getpid(),
                }
            )
        )
        workers = [_start(spec, rank, workdir) for rank in range(resources.processes)]
        try:
            failed = _wait(workers)
        finally:
            for worker in workers:
                worker.kill()
                worker.wait()
        if failed is not None:
            raise TrainingError(_reason(spec, workdir, failed, workers[failed].returncode))


def _start(spec: Path, rank: int, workdir: Path) -> subprocess.Popen[bytes]:
    path = os.pathsep.join(filter(None, [str(_ROOT), os.environ.get("PYTHONPATH")]))
    with (workdir / f"rank{rank}.log").open("wb") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "backends.deepspeed.worker", str(spec), str(rank)],
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**os.environ, "PYTHONPATH": path},
        )


def _wait(workers: list[subprocess.Popen[bytes]]) -> int | None:
    """Wait for all to end well, or for the first that does not; returns its rank."""
    while True:
        codes = [worker.poll() for worker in workers]
        for rank, code in enumerate(codes):
            if code not in (None, 0):
                # One failure brings others down: let the one with a reason write it.
                time.sleep(0.5)
                return rank
        if all(code == 0 for code in codes):
            return None
        time.sleep(0.05)


def _reason(spec: Path, workdir: Path, rank: int, code: int) -> str:
    reasons = sorted(spec.parent.glob("error*.txt"), key=lambda path: path.stat().st_mtime_ns)
    if reasons:
        return reasons[0].read_text()
    log = workdir / f"rank{rank}.log"
    tail = "\n".join(log.read_text(errors="replace").splitlines()[-_LOG_LINES:])
    return f"worker {rank} ended with code {code}. The end of {log}:\n{tail}"
