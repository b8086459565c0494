"""Trials as processes of this machine, a number at a time; GPUs are handed out, never shared."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from backends.base.resources import Resources
from harness import environment
from harness.errors import HarnessError
from harness.run.trial import PARENT, root_of

#: How long a trial may take to end after it was asked to.
_GRACE_SECONDS = 5.0


@dataclass
class Running:
    """A trial's process and the GPUs it holds ("" for none)."""

    process: subprocess.Popen[bytes]
    gpus: str


class LocalPool:
    """At most ``workers`` trials at a time. With GPUs, each gets ``resources.processes`` of its
    own.

    Raises :class:`HarnessError` where the machine has fewer GPUs than one trial needs.
    """

    def __init__(self, resources: Resources, workers: int | None = None) -> None:
        self._threads = resources.threads
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

    @property
    def has_room(self) -> bool:
        return bool(self._free)

    def start(self, folder: Path) -> Running:
        """Start the trial whose ``spec.json`` is in this folder; its output is added to
        ``log.txt``.
        """
        gpus = self._free[0]
        surroundings = os.environ | {
            "CUDA_VISIBLE_DEVICES": gpus,
            "OMP_NUM_THREADS": str(self._threads),
            "PYTHONUNBUFFERED": "1",
            "TOKENIZERS_PARALLELISM": "false",
            PARENT: str(os.getpid()),
        }
        if "PYTHONDONTWRITEBYTECODE" in surroundings and not _is_compiled("torch"):
            # Every trial would compile torch and transformers again, which takes longer than a
            # small training. The bytecode goes beside the results, not beside the sources.
            del surroundings["PYTHONDONTWRITEBYTECODE"]
            surroundings["PYTHONPYCACHEPREFIX"] = str(root_of(folder) / "work" / "bytecode")
        with (folder / "log.txt").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "harness.run.trial", str(folder / "spec.json")],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=surroundings,
                # Its own group: Ctrl-C reaches the runner only, a stop all that the trial started.
                start_new_session=True,
            )
        self._free.remove(gpus)
        return Running(process, gpus)

    def ended(self, running: Running) -> int | None:
        """The exit code (negative: the signal that killed it), or None while it runs."""
        code = running.process.poll()
        if code is not None:
            _signal(running, signal.SIGKILL)  # whatever it left behind in its group
            self._free.append(running.gpus)
        return code

    def stop(self, trials: list[Running]) -> None:
        """End these trials and everything they started."""
        for running in trials:
            _signal(running, signal.SIGTERM)
        until = time.monotonic() + _GRACE_SECONDS
        for running in trials:
            with suppress(subprocess.TimeoutExpired):
                running.process.wait(max(0.0, until - time.monotonic()))
            _signal(running, signal.SIGKILL)
            running.process.wait()


def _is_compiled(package: str) -> bool:
    """Whether an installed package has its bytecode beside it. Does not import it."""
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        return False
    return Path(importlib.util.cache_from_source(spec.origin)).exists()


def _signal(running: Running, number: signal.Signals) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(running.process.pid, number)
