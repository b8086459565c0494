"""What a killed training resumes from: the newest whole state in ``workdir/resume``."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from backends.base.backend import Inputs
from backends.base.resources import Resources
from backends.base.stage import Stage
from backends.deepspeed.learner import Learner
from backends.training.ranks import Ranks
from benchmarks.atomic import write_text


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


class Resume:
    """Saves and finds states. Every rank calls ``save`` and ``load``; the first one writes the
    record.
    """

    def __init__(self, workdir: Path, training: str, ranks: Ranks) -> None:
        self.folder, self.training, self.ranks = workdir / "resume", training, ranks
        self.record = self.folder / "state.json"

    def find(self) -> State | None:
        """The saved state of this very training, or None."""
        try:
            state = State(**json.loads(self.record.read_text()))
        except (FileNotFoundError, json.JSONDecodeError, TypeError):
            return None
        return state if state.training == self.training else None

    def load(self, learners: Sequence[Learner], state: State) -> None:
        for number, learner in enumerate(learners):
            learner.load(self.folder / _tag(state.step), str(number))

    def save(self, learners: Sequence[Learner], state: State) -> None:
        """Write a state beside the old one, then switch to it, then remove the old one."""
        if self.ranks.first:
            (self.folder / _tag(state.step)).mkdir(parents=True, exist_ok=True)
        self.ranks.wait()
        for number, learner in enumerate(learners):
            learner.save(self.folder / _tag(state.step), str(number))
        self.ranks.wait()
        if self.ranks.first:
            write_text(self.record, json.dumps(asdict(state)))
            for other in self.folder.iterdir():
                if other.is_dir() and other.name != _tag(state.step):
                    shutil.rmtree(other)

    def clear(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)


def training_id(stage: Stage, inputs: Inputs, resources: Resources) -> str:
    """Identifies what a saved state belongs to: the stage, the questions and external responses by
    content, and the model by its configuration and the names and sizes of its files (reading
    gigabytes of weights at each start would cost more than it protects from). The layout of the
    ranks is part of it: ZeRO's partitions fit no other."""
    files = sorted(path for path in inputs.model.glob("*") if path.is_file())
    parts = [
        stage.model_dump(mode="json"),
        [[path.name, path.stat().st_size] for path in files],
        [_content(inputs.model / "config.json"), _content(inputs.questions)],
        [inputs.seed, inputs.external and _content(inputs.external)],
        [resources.processes, resources.zero_stage, resources.dtype, resources.offload],
    ]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def _content(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""


def _tag(step: int) -> str:
    return f"step{step}"
