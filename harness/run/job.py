"""Where a trial runs: the record of its job, beside its status."""

from __future__ import annotations

from pathlib import Path

from backends.base.config import Config
from benchmarks.plugins import BrokenExtension, UnknownExtension
from harness.experiment.extensions import EXECUTORS
from harness.store.files import read_json, write_json

FILE = "job.json"


class Job(Config):
    """A trial that an executor has taken. ``id`` is the executor's own: all that it needs to find
    the job again, from another process and another node; ``host`` is None where that is decided
    later."""

    executor: str
    id: str
    host: str | None = None

    def alive(self) -> bool | None:
        """Whether it waits or runs; None where that cannot be told from here."""
        try:
            answer: bool | None = EXECUTORS.load(self.executor).alive(self)
        except (UnknownExtension, BrokenExtension):
            return None
        return answer


def record(folder: Path, job: Job) -> None:
    """Write ``job.json`` into a trial's folder."""
    write_json(folder / FILE, job.model_dump(mode="json"))


def recorded(folder: Path) -> Job | None:
    """The job of a trial's folder; None where it was never given to an executor."""
    plain = read_json(folder / FILE)
    return Job.model_validate(plain) if isinstance(plain, dict) else None
