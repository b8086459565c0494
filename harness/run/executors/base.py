"""The contract of an executor: it takes trials and has each run somewhere.

A trial is one command, ``python -m harness.run.trial <folder>/spec.json``. It needs its folder, the
store around it and the files that the plan names, all under the same paths as here (a shared file
system, on a cluster), and answers through files in its folder alone: ``status.json`` from its first
moment, ``result.json`` at its end. Nobody connects to it. Exit code 0 means that ``result.json`` is
there; what it prints is added to ``log.txt``.

To offer one, register the class under ``executor.<name>`` in the entry-point group
``harness.plugins``, and let its tests subclass
:class:`harness.testing.executors.ExecutorContract`. An experiment chooses it by
``executor: <name>``, or ``{name: <name>, parameters: {...}}``.

How the jobs of a batch system fit in, with Slurm's commands as the example:

- ``submit`` writes a script with :func:`command` and :func:`surroundings`, asks for
  ``resources.processes`` GPUs on one node and ``processes * threads`` cores, sends output to the
  folder's ``log.txt`` (``sbatch --open-mode=append --parsable``), and returns the number that it is
  told as the job's id. The job may wait for hours, and its host is not known before it starts: the
  trial itself writes that into ``status.json``.
- ``poll`` reads the exit code from the accounts (``sacct``), one question for all jobs and not more
  often than the system bears: the runner polls each job four times a second. None while it waits or
  runs; negative for a signal. A job that was cancelled, timed out or lost its node gets -15.
- ``cancel`` is ``scancel`` by id, so that it also ends jobs of a runner that was killed.
- ``alive`` asks the same of one id (``squeue``), for ``harness status`` on any node.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from backends.base.resources import Resources
from harness.run.job import Job


class Executor(Protocol):
    """Has trials run, ``workers`` at a time.

    A class is called with ``resources`` (what each trial of this run needs), ``workers`` (how many
    the user allows at a time; None leaves it to the executor) and, as keyword arguments, the
    parameters that the experiment gives it. It raises :class:`HarnessError` for what it cannot
    offer, before anything is submitted. Nothing that an executor does may change a trial's result.
    """

    workers: int

    @property
    def has_room(self) -> bool:
        """Whether :meth:`submit` may be called now. Jobs that wait in a queue take room too."""

    def submit(self, folder: Path) -> Job:
        """Have the trial of this folder run, now or later; returns at once.

        An OSError fails this trial alone, with its text as the reason, and leaves the room free.
        """

    def poll(self, job: Job) -> int | None:
        """The exit code of a job that :meth:`submit` gave, negative for the signal that ended it;
        None while it waits or runs. When a code is given first, whatever the trial started is gone
        and its room is free; it is not asked again.
        """

    def cancel(self, jobs: Sequence[Job]) -> None:
        """End these jobs and all that they started, waiting or running; returns when they are over.

        A job that is over already is passed over; one of a runner that is gone is ended like any.
        """

    @staticmethod
    def alive(job: Job) -> bool | None:
        """Whether a job waits or runs, by its record alone: asked on any node, by any process,
        without an executor being made. None where that cannot be told from here; the trial then
        counts as alive while its ``status.json`` is fresh."""


def command(folder: Path) -> list[str]:
    """What runs the trial whose ``spec.json`` is in this folder."""
    return [sys.executable, "-m", "harness.run.trial", str(folder / "spec.json")]


def surroundings(resources: Resources) -> Mapping[str, str]:
    """The environment of a trial: this one, and what makes its speed as planned. ``submit`` adds
    ``CUDA_VISIBLE_DEVICES`` where it hands out GPUs."""
    return os.environ | {
        "OMP_NUM_THREADS": str(resources.threads),
        "PYTHONUNBUFFERED": "1",
        "TOKENIZERS_PARALLELISM": "false",
    }
