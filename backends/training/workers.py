"""A training in processes of its own: described in a file, started, and ended with their parent."""

from __future__ import annotations

import ctypes
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import backends
from backends.base.backend import Inputs, TrainingError
from backends.base.resources import Resources
from backends.base.stage import Stage

_ROOT = Path(backends.__file__).parents[1]
_LOG_LINES = 20
_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True)
class Job:
    """The arguments of ``Backend.train``."""

    stage: Stage
    inputs: Inputs
    resources: Resources
    workdir: Path


def launch(
    module: str, job: Job, logs: Mapping[int, Path], environment: Mapping[str, str] = os.environ
) -> None:
    """Run ``python -m module SPEC RANK`` for each rank of ``logs`` at once, till all have ended.

    ``SPEC`` is what :func:`work` reads, in a folder that they share; a rank's output goes to its
    log. If one fails the others are ended, and when this process dies, however it dies, they do
    too. Raises TrainingError with the reason of the first that failed.
    """
    with tempfile.TemporaryDirectory() as scratch:
        spec = Path(scratch) / "spec.json"
        spec.write_text(json.dumps(_written(job)))
        path = os.pathsep.join(filter(None, [str(_ROOT), environment.get("PYTHONPATH")]))
        workers: dict[int, subprocess.Popen[bytes]] = {}
        try:
            for rank, log in logs.items():
                with log.open("wb") as out:
                    workers[rank] = subprocess.Popen(
                        [sys.executable, "-m", module, str(spec), str(rank)],
                        stdout=out,
                        stderr=subprocess.STDOUT,
                        env={**environment, "PYTHONPATH": path},
                    )
            failed = _wait(workers)
        finally:
            for worker in workers.values():
                worker.kill()
                worker.wait()
        if failed is not None:
            code = workers[failed].returncode
            raise TrainingError(_reason(spec.parent, module, failed, code, logs[failed]))


def work(spec: Path, rank: int, train: Callable[[Job], None]) -> int:
    """Train what ``spec`` describes in this process, which is one of :func:`launch`'s; returns its
    exit code and leaves the reason of a TrainingError where ``launch`` finds it."""
    given = json.loads(spec.read_text())
    die_with(given["parent"])
    try:
        with user_errors():
            train(_read(given))
    except TrainingError as error:
        (spec.parent / f"error{rank}.txt").write_text(str(error))
        return 1
    return 0


@contextmanager
def user_errors() -> Iterator[None]:
    """Mistakes in models, pictures and question files are reasons for the reader, not
    tracebacks.
    """
    from backends.models.encoding import EncodingError
    from backends.models.families import ModelError
    from benchmarks.base import DataError

    try:
        yield
    except (ModelError, EncodingError, DataError) as error:
        raise TrainingError(str(error)) from error


def die_with(parent: int) -> None:
    """Let this process end when its parent does, however that ends; leave if it has already."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    else:
        threading.Thread(target=_watch, args=(parent,), daemon=True).start()
    if os.getppid() != parent:
        sys.exit("the process that started this one is gone")


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(1.0)
    os._exit(1)


def _written(job: Job) -> dict[str, Any]:
    inputs = job.inputs
    return {
        "stage": job.stage.model_dump(mode="json"),
        "resources": job.resources.model_dump(mode="json"),
        "model": str(inputs.model.resolve()),
        "questions": str(inputs.questions.resolve()),
        "seed": inputs.seed,
        "external": inputs.external and str(inputs.external.resolve()),
        "workdir": str(job.workdir.resolve()),
        "parent": os.getpid(),
    }


def _read(given: Mapping[str, Any]) -> Job:
    external = given["external"] and Path(given["external"])
    return Job(
        Stage.model_validate(given["stage"]),
        Inputs(Path(given["model"]), Path(given["questions"]), given["seed"], external),
        Resources.model_validate(given["resources"]),
        Path(given["workdir"]),
    )


def _wait(workers: Mapping[int, subprocess.Popen[bytes]]) -> int | None:
    """Wait for all to end well, or for the first that does not; returns its rank."""
    while True:
        codes = {rank: worker.poll() for rank, worker in workers.items()}
        for rank, code in codes.items():
            if code not in (None, 0):
                # One failure brings others down: let the one with a reason write it.
                if len(workers) > 1:
                    time.sleep(0.5)
                return rank
        if all(code == 0 for code in codes.values()):
            return None
        time.sleep(0.05)


def _reason(folder: Path, module: str, rank: int, code: int, log: Path) -> str:
    reasons = sorted(folder.glob("error*.txt"), key=lambda path: path.stat().st_mtime_ns)
    if reasons:
        return reasons[0].read_text()
    tail = "\n".join(log.read_text(errors="replace").splitlines()[-_LOG_LINES:])
    return f"process {rank} of {module} ended with code {code}. The end of {log}:\n{tail}"
