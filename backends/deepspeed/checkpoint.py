"""What a killed training resumes from: the newest whole state in ``workdir/resume``."""

from __future__ import annotations

import hashlib
import json
import logging
import pickle
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from backends.base.backend import Inputs
from backends.base.resources import Resources
from backends.base.stage import Stage
from backends.deepspeed.learner import Learner, tensors_only
from backends.training.ranks import Ranks
from benchmarks.atomic import to_disk, whole_file

log = logging.getLogger(__name__)

_RECORD = "state.json"


@dataclass(frozen=True)
class State:
    """A saved point: ``step`` steps are done, ``offset`` bytes of the metrics file describe them.

    ``skipped_in_a_row`` and ``apart_in_a_row`` count refused steps and steps of an engine that
    disagrees, up to here, ``restarted`` says that the engine was started again, and ``idle`` that
    some update found nothing to learn: a training that was to end ends, however often it is
    stopped. ``training`` identifies the training, so that the
    state of another is not continued. Random numbers derive from seed and step and need no state.
    """

    step: int
    offset: int
    skipped_in_a_row: int
    apart_in_a_row: int
    restarted: bool
    idle: bool
    training: str


@dataclass(frozen=True)
class _Saved:
    """A state on the disk: its folder, and the sha256 of each file in it and of the part of the
    metrics file that it goes with."""

    folder: Path
    state: State
    files: dict[str, str]
    metrics: str


class Resume:
    """Saves and finds states. Every rank calls :meth:`save` and :meth:`load`.

    A state is a folder of what DeepSpeed writes, whose record, with the sum of every file, is
    written last, when all is on the disk. The state before the last stays: a training whose last
    state is damaged goes on from that one, or from its start.
    """

    def __init__(self, workdir: Path, training: str, ranks: Ranks) -> None:
        self.folder, self.training, self.ranks = workdir / "resume", training, ranks
        self.metrics = workdir / "metrics.jsonl"

    def load(self, learners: Sequence[Learner]) -> State | None:
        """Go back to the newest whole state of this very training; None where there is none."""
        found = self.ranks.gather(list(self._saved()) if self.ranks.first else [])[0]
        for saved in found:
            damaged = self._damaged(saved)
            if not damaged:
                for number, learner in enumerate(learners):
                    learner.load(saved.folder, str(number))
                return saved.state
            if self.ranks.first:
                log.warning(
                    "the state saved after step %d is damaged (%s) and removed: the training goes "
                    "on from the one before, or from its start",
                    saved.state.step,
                    ", ".join(damaged),
                )
                shutil.rmtree(saved.folder)
        return None

    def save(self, learners: Sequence[Learner], state: State) -> None:
        """Write a state beside the last one; those before that go."""
        folder = self.folder / f"step{state.step}"
        if self.ranks.first:
            last = next(self._saved(), None)
            for other in self.folder.glob("*"):
                if last is None or other != last.folder:
                    shutil.rmtree(other)
            folder.mkdir(parents=True)
        self.ranks.wait()
        for number, learner in enumerate(learners):
            learner.save(folder, str(number))
        self.ranks.wait()
        own = {path: _sealed(folder / path) for path in self._share(_files(folder))}
        sums = {path: s for part in self.ranks.gather(own) for path, s in part.items()}
        if self.ranks.first:
            to_disk(self.metrics)
            metrics = _sum(self.metrics, state.offset)
            record = {"state": asdict(state), "files": sums, "metrics": metrics}
            with whole_file(folder / _RECORD, sync=True) as fresh:
                fresh.write_text(json.dumps(record))
            for place in (folder, self.folder):
                to_disk(place)
        self.ranks.wait()

    def clear(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)

    def _saved(self) -> Iterator[_Saved]:
        """The states of this very training that were finished, the newest first."""
        found = []
        for record in self.folder.glob(f"*/{_RECORD}"):
            try:
                read = json.loads(record.read_text(encoding="utf-8"))
                saved = _Saved(
                    record.parent, State(**read["state"]), dict(read["files"]), read["metrics"]
                )
            except (OSError, ValueError, TypeError, KeyError):
                log.warning("%s cannot be read: that state is removed", record)
                shutil.rmtree(record.parent)
                continue
            if saved.state.training == self.training:
                found.append(saved)
        return iter(sorted(found, key=lambda saved: -saved.state.step))

    def _damaged(self, saved: _Saved) -> list[str]:
        """The files that are not those that were written, or would run code."""
        own = [n for n in self._share(sorted(saved.files)) if not _is(saved, n)]
        if self.ranks.first and _sum(self.metrics, saved.state.offset) != saved.metrics:
            own.append(self.metrics.name)
        return [name for part in self.ranks.gather(own) for name in part]

    def _share(self, names: list[str]) -> list[str]:
        """The files that this rank sums: reading them is most of the work."""
        return names[self.ranks.rank :: self.ranks.world]


def _files(folder: Path) -> list[str]:
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


def _sealed(path: Path) -> str:
    """Force a file to the disk, and its sum."""
    to_disk(path)
    return _sum(path)


def _is(saved: _Saved, name: str) -> bool:
    """Whether a file is what was written, and holds nothing that would run when it is loaded."""
    path = saved.folder / name
    if _sum(path) != saved.files[name]:
        return False
    if path.suffix != ".pt":
        return True
    try:
        with tensors_only():
            torch.load(path, map_location="cpu", mmap=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError):
        return False
    return True


def _sum(path: Path, size: int | None = None) -> str:
    """The sha256 of a file, or of so many first bytes of it; empty where it is not there or
    shorter."""
    try:
        with path.open("rb") as file:
            if size is None:
                return hashlib.file_digest(file, "sha256").hexdigest()
            content = file.read(size)
            return hashlib.sha256(content).hexdigest() if len(content) == size else ""
    except OSError:
        return ""


def training_id(stage: Stage, inputs: Inputs, resources: Resources) -> str:
    """Identifies what a saved state belongs to: the stage, the questions and external responses by
    content, and the model by its configuration and the names and sizes of its files (reading
    gigabytes of weights at each start would cost more than it protects from). The layout of the
    ranks is part of it: ZeRO's partitions fit no other."""
    files = sorted(path for path in inputs.model.glob("*") if path.is_file())
    parts = [
        stage.model_dump(mode="json"),
        [[path.name, path.stat().st_size] for path in files],
        [_sum(inputs.model / "config.json"), _sum(inputs.questions)],
        [inputs.seed, inputs.external and _sum(inputs.external)],
        [resources.processes, resources.zero_stage, resources.dtype, resources.offload],
    ]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]
