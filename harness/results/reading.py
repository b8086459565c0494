"""What a run left on disk, read back: the plan, the trials and the value of every unit.

Local files are the truth. Reading is tolerant of a run that is going on, was killed or lost trials:
a trial without a usable ``result.json`` is a hole with a reason, never an error.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np

from harness.errors import HarnessError
from harness.results import files
from harness.store.files import read_object

#: ``missing`` covers what is not there yet and what will never be: the reason says which.
State = Literal["ok", "failed", "missing"]


class ResultsError(HarnessError):
    """The folder holds no run. The message says which file was looked for."""


@dataclass(frozen=True)
class Units:
    """One metric, unit by unit: ``values [n]`` in [0, 1], names ``units [n]``, ``clusters [n]``."""

    units: np.ndarray
    clusters: np.ndarray
    values: np.ndarray


@dataclass(frozen=True)
class Score:
    """One benchmark's scores of one trial; ``info`` is what the trial recorded about them."""

    benchmark: str
    path: Path
    info: dict[str, Any]

    @cached_property
    def metrics(self) -> dict[str, Units]:
        """Every metric by its name, units in one fixed order so that two arms line up."""
        import pyarrow.parquet as pq

        table = pq.read_table(self.path / "values.parquet").to_pydict()
        name = np.asarray(table["metric"], dtype=object)
        unit = np.asarray(table["unit"], dtype=object).astype(str)
        cluster = np.asarray(table["cluster"], dtype=object).astype(str)
        value = np.asarray(table["value"], dtype=float)
        found = {}
        for metric in dict.fromkeys(table["metric"]):
            rows = np.flatnonzero(name == metric)
            rows = rows[np.argsort(unit[rows], kind="stable")]
            found[str(metric)] = Units(unit[rows], cluster[rows], value[rows])
        return found


@dataclass(frozen=True)
class TrialResult:
    """One arm (or one point of its sweep) with one seed, and what came of it.

    ``keys`` are those of the planned steps: they cover model, data and evaluation as well as the
    settings.
    """

    id: str
    arm: str
    point: dict[str, Any]
    seed: int
    method: str
    label: str
    state: State
    reason: str = ""
    settings: dict[str, Any] = field(default_factory=dict)
    keys: tuple[str, ...] = ()
    differences: tuple[str, ...] = ()
    metrics: dict[str, float] = field(default_factory=dict)
    scores: dict[str, Score] = field(default_factory=dict)
    training: tuple[Path, ...] = ()
    steps: tuple[dict[str, Any], ...] = ()
    seconds: float | None = None
    status: dict[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return f"{self.label} · seed {self.seed}"

    @property
    def checkpoint(self) -> Path | None:
        """What the last train step left, where the trial trained."""
        return self.training[-1].parent / "checkpoint" if self.training else None

    def curve(self) -> list[dict[str, Any]]:
        """The training metrics of all its stages as one curve, whose ``step`` goes on counting.

        A training that was killed and resumed wrote some steps twice: the last row counts.
        """
        rows: dict[int, dict[str, Any]] = {}
        start = 0
        for path in self.training:
            for number, row in enumerate(read_jsonl(path)):
                step = start + int(row.get("step", number))
                rows[step] = {**row, "step": step}
            start = max(rows, default=0)
        return [rows[step] for step in sorted(rows)]


@dataclass(frozen=True)
class ConditionResult:
    """One row of the table: an arm, or a point of its sweep, over all its seeds."""

    arm: str
    point: dict[str, Any]
    label: str
    method: str
    trials: tuple[TrialResult, ...]

    @property
    def ok(self) -> tuple[TrialResult, ...]:
        return tuple(t for t in self.trials if t.state == "ok")

    @property
    def holes(self) -> tuple[TrialResult, ...]:
        return tuple(t for t in self.trials if t.state != "ok")


@dataclass(frozen=True)
class Results:
    """A whole run. ``trials`` are in the order of the plan."""

    folder: Path
    root: Path
    name: str
    baseline: str | None
    paper: str | None
    benchmarks: tuple[dict[str, Any], ...]
    sweep: dict[str, Any] | None
    trials: tuple[TrialResult, ...]
    environment: dict[str, Any]
    spec: dict[str, Any]

    @cached_property
    def conditions(self) -> tuple[ConditionResult, ...]:
        """The rows of the comparison, arms first, in the order of the plan."""
        groups: dict[tuple[str, str], list[TrialResult]] = {}
        for trial in self.trials:
            groups.setdefault((trial.arm, json.dumps(trial.point, sort_keys=True)), []).append(
                trial
            )
        rows = [
            ConditionResult(g[0].arm, g[0].point, g[0].label, g[0].method, tuple(g))
            for g in groups.values()
        ]
        return tuple(sorted(rows, key=lambda c: bool(c.point)))

    @property
    def arms(self) -> tuple[ConditionResult, ...]:
        return tuple(c for c in self.conditions if not c.point)


def read_jsonl(path: Path) -> list[dict[str, Any]]:
    """The objects of a JSON-lines file; a torn last line is left out, an absent file is empty."""
    return list(_rows(path))


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return
    for line in lines:
        try:
            row = json.loads(line)
        except ValueError:
            continue
        if isinstance(row, dict):
            yield row


def load(run_folder: Path) -> Results:
    """Read a run folder. Raises :class:`ResultsError` where there is no plan in it."""
    folder = Path(run_folder).resolve()
    plan = read_plan(folder)
    root = folder.parent
    return Results(
        folder=folder,
        root=root,
        name=str(plan.get("name", folder.name)),
        baseline=plan.get("baseline"),
        paper=plan.get("paper"),
        benchmarks=tuple(plan.get("benchmarks", ())),
        sweep=plan.get("sweep"),
        trials=tuple(load_trial(folder, root, planned) for planned in plan["trials"]),
        environment=read_object(folder / "environment.json"),
        spec=read_object(folder / "spec.json"),
    )


def read_plan(folder: Path) -> dict[str, Any]:
    """The plan of a run folder. Raises :class:`ResultsError` where there is none to read."""
    plan = files.read(folder / "plan.json", files.PlanFile)
    if not plan.get("trials"):
        why = files.mistake(folder / "plan.json", files.PlanFile) or "it lists no trials"
        raise ResultsError(
            f"{folder}: no run here; expected a plan.json that lists trials, as in runs/<name> "
            f"({why})"
        )
    return plan


def load_trial(folder: Path, root: Path, planned: dict[str, Any]) -> TrialResult:
    """One trial of the plan with what its folder says of it."""
    place = folder / "trials" / planned["id"]
    status = files.read(place / "status.json", files.StatusFile)
    result = files.read(place / "result.json", files.ResultFile)
    keys = tuple(step["key"] for step in planned.get("steps", ()))
    if result and not is_of(result, keys):
        result = {}
        if status.get("state") == "ok":
            status = {"reason": "what is there is of other settings; `harness run` makes it anew"}
    state, reason = _state(status, result)
    scores = {}
    for benchmark, info in result.get("scores", {}).items():
        score = Score(benchmark, root / info.get("path", ""), info)
        scores[benchmark] = score
        if state == "ok" and not (score.path / "values.parquet").is_file():
            state, reason = "missing", f"the scores of {benchmark} are not in {info.get('path')}"
    return TrialResult(
        id=planned["id"],
        arm=planned["arm"],
        point=planned.get("point") or {},
        seed=planned["seed"],
        method=planned.get("method", ""),
        label=planned.get("label") or planned["arm"],
        state=state,
        reason=reason,
        settings=planned.get("settings") or {},
        keys=keys,
        differences=tuple(planned.get("differences", ())),
        metrics=result.get("metrics", {}),
        scores=scores,
        training=_training(root, planned, result),
        steps=tuple(result.get("steps") or planned.get("steps", ())),
        seconds=result.get("seconds"),
        status=status,
    )


def is_of(result: Any, keys: Sequence[str]) -> bool:
    """Whether a trial's ``result.json`` is of exactly the steps with these keys: of any others it
    is another trial's, whatever folder it lies in."""
    steps = result.get("steps") if isinstance(result, dict) else None
    return isinstance(steps, list) and [s.get("key") for s in steps] == list(keys)


def _training(root: Path, planned: dict[str, Any], result: dict[str, Any]) -> tuple[Path, ...]:
    """The training curves: of a finished trial, or of one under way or failed as far as it came."""
    if "training" in result:
        return tuple(root / path for path in result["training"])
    found: list[Path] = []
    for step in planned.get("steps", ()):
        if step["kind"] != "train" or step.get("of"):
            continue
        key = step["key"][:16]
        done = (root / "store" / "train").glob(f"*-{key}/metrics.jsonl")
        found += [*done, *(root / "work" / key).glob("**/metrics.jsonl")][:1]
    return tuple(found)


def _state(status: dict[str, Any], result: dict[str, Any]) -> tuple[State, str]:
    if result.get("status") == "ok":  # written last, and removed when a trial starts again
        return "ok", ""
    if status.get("state") == "failed":
        return "failed", str(status.get("reason") or "no reason was recorded")
    if status.get("state") == "running":
        at = str(status.get("step") or "")
        progress = status.get("progress")
        if isinstance(progress, dict):
            at += " {done}/{total} {unit}".format_map(progress)
        return "missing", f"not finished: {at}" if at else "not finished"
    if status.get("state") == "ok":
        return "missing", "its result.json is absent or unreadable"
    return "missing", str(status.get("reason") or "not started")
