"""Trials as processes of this machine, a number at a time; GPUs are handed out, never shared."""

from __future__ import annotations

import importlib.util
import os
import signal
import socket
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from backends.base.resources import Resources
from harness import environment
from harness.errors import HarnessError
from harness.run.executors.base import command, surroundings
from harness.run.job import Job
from harness.run.trial import PARENT, root_of

#: How long a trial may take to end after it was asked to.
_GRACE_SECONDS = 5.0


@dataclass(frozen=True)
class _Running:
    """A trial's process and the GPUs it holds ("" for none)."""

    process: subprocess.Popen[bytes]
    gpus: str


class LocalExecutor:
    """Processes of this machine, which end with the runner. With GPUs, each trial gets
    ``resources.processes`` of its own; without, as many trials run as the cores allow.

    Raises :class:`HarnessError` where the machine has fewer GPUs than one trial needs.
    """

    def __init__(self, resources: Resources, workers: int | None = None) -> None:
        self._resources = resources
        gpus = [] if resources.device == "cpu" else [g["index"] for g in environment.gpus()]
        if (gpus or resources.device == "cuda") and len(gpus) < resources.processes:
            raise HarnessError(
                f"resources ask for {resources.processes} GPU(s) a trial and this machine offers "
                f"{len(gpus)}; ask for fewer processes, or for device: cpu"
            )
        each = resources.processes
        if len(gpus) >= each:
            shares = [",".join(gpus[i : i + each]) for i in range(0, len(gpus) - each + 1, each)]
            self._free = shares[: workers or len(shares)]
        else:
            fits = max(1, environment.cores() // (each * resources.threads))
            self._free = [""] * (workers or fits)
        self.workers = len(self._free)
        self._running: dict[str, _Running] = {}

    @property
    def has_room(self) -> bool:
        return bool(self._free)

    def submit(self, folder: Path) -> Job:
        gpus = self._free[0]
        variables = {
            **surroundings(self._resources),
            "CUDA_VISIBLE_DEVICES": gpus,
            PARENT: str(os.getpid()),
        }
        if "PYTHONDONTWRITEBYTECODE" in variables and not _is_compiled("torch"):
            # Every trial would compile torch and transformers again, which takes longer than a
            # small training. The bytecode goes beside the results, not beside the sources.
            del variables["PYTHONDONTWRITEBYTECODE"]
            variables["PYTHONPYCACHEPREFIX"] = str(root_of(folder) / "work" / "bytecode")
        with (folder / "log.txt").open("ab") as log:
            process = subprocess.Popen(
                command(folder),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=variables,
                # Its own group: Ctrl-C reaches the runner only, a stop all that the trial started.
                start_new_session=True,
            )
        self._free.remove(gpus)
        job = Job(executor="local", id=_identity(process.pid), host=socket.gethostname())
        self._running[job.id] = _Running(process, gpus)
        return job

    def poll(self, job: Job) -> int | None:
        running = self._running[job.id]
        code = running.process.poll()
        if code is not None:
            _signal(job, signal.SIGKILL)  # whatever it left behind in its group
            self._end(job)
        return code

    def cancel(self, jobs: Sequence[Job]) -> None:
        here = [j for j in jobs if j.id in self._running or LocalExecutor.alive(j)]
        for job in here:
            _signal(job, signal.SIGTERM)
        until = time.monotonic() + _GRACE_SECONDS
        for job in here:
            while self._is_alive(job) and time.monotonic() < until:
                time.sleep(0.02)
            _signal(job, signal.SIGKILL)
            while self._is_alive(job):
                time.sleep(0.02)
            self._end(job)

    @staticmethod
    def alive(job: Job) -> bool | None:
        if job.host != socket.gethostname():
            return None
        return _identity(_pid(job)) == job.id and alive(_pid(job))

    def _is_alive(self, job: Job) -> bool:
        running = self._running.get(job.id)
        return running.process.poll() is None if running else bool(LocalExecutor.alive(job))

    def _end(self, job: Job) -> None:
        running = self._running.pop(job.id, None)
        if running:
            self._free.append(running.gpus)


def alive(pid: int) -> bool:
    """Whether a process of this machine runs; one that is dead and not yet waited for does not."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    fields = _stat(pid)
    return not fields or fields[0] != "Z"


def _identity(pid: int) -> str:
    """A process by its number and the time of its start: numbers are given again."""
    fields = _stat(pid)
    return f"{pid}@{fields[19]}" if fields else str(pid)


def _stat(pid: int) -> list[str]:
    """What Linux tells of a process after its name (proc(5)); nothing where there is no /proc."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def _pid(job: Job) -> int:
    return int(job.id.partition("@")[0])


def _is_compiled(package: str) -> bool:
    """Whether an installed package has its bytecode beside it. Does not import it."""
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        return False
    return Path(importlib.util.cache_from_source(spec.origin)).exists()


def _signal(job: Job, number: signal.Signals) -> None:
    """To the job's process group, which its process leads."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(_pid(job), number)
