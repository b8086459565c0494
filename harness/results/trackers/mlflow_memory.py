"""What is mirrored of a run in MLflow: ``mlflow.json`` in its folder."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from harness.results.reading import read_object
from harness.store.files import write_json

FILE = "mlflow.json"


@dataclass
class TrialRun:
    """A trial's run in MLflow. ``identity`` is of the settings and steps that it is a run of,
    ``step`` the last training step that was logged, ``result`` of the metrics that were, ``state``
    the trial's, ``model`` the logged checkpoint, ``stamp`` of all files when it was mirrored."""

    run: str
    identity: str | None
    step: int = 0
    model: str | None = None
    result: str | None = None
    state: str | None = None
    stamp: str | None = None


@dataclass
class Memory:
    """What is mirrored of an experiment (``spec``: which) at an address: the ids of MLflow's
    experiment, of the parent run and, by trial, of its runs; ``report`` is of the one logged."""

    uri: str
    spec: str
    experiment: str | None = None
    parent: str | None = None
    report: str | None = None
    trials: dict[str, TrialRun] = field(default_factory=dict)

    @classmethod
    def read(cls, run_folder: Path, uri: str) -> Memory:
        """What is known of this experiment at this address; an empty memory where it is another."""
        spec = digest(read_object(run_folder / "spec.json"))
        plain = read_object(run_folder / FILE)
        if (plain.get("uri"), plain.get("spec")) != (uri, spec):
            return cls(uri, spec)
        trials = {name: TrialRun(**run) for name, run in plain.pop("trials").items()}
        return cls(**plain, trials=trials)

    def write(self, run_folder: Path) -> None:
        write_json(run_folder / FILE, asdict(self))

    def finished(self) -> list[str]:
        """The runs of trials that ended well."""
        return [trial.run for trial in self.trials.values() if trial.state == "ok"]


def digest(value: Any) -> str:
    text = json.dumps(value, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
