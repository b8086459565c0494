"""What the JSON files of a run folder must look like to be believed.

They are read back by other processes, other versions and after accidents. What does not fit is no
file of ours: a plan is refused by name, a result or a status counts as absent.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError

from harness.store.files import read_json


def _part(name: str) -> str:
    if name in ("", ".", "..") or "/" in name or "\0" in name:
        raise ValueError("expected a name, as it becomes a part of a path")
    return name


def _below(path: str) -> str:
    """A path that stays below the folder that it is relative to."""
    if Path(path).is_absolute() or ".." in Path(path).parts or "\0" in path:
        raise ValueError("expected a path below the root")
    return path


Part = Annotated[str, AfterValidator(_part)]
Below = Annotated[str, AfterValidator(_below)]


class _Part(BaseModel):
    """What is read of an object; it may hold more."""

    model_config = ConfigDict(extra="allow", allow_inf_nan=False, strict=True)


class PlannedStep(_Part):
    kind: Part
    key: Part
    name: str | None = None


class PlannedTrial(_Part):
    id: Part
    arm: str
    seed: int
    point: dict[str, Any] | None = None
    method: str = ""
    label: str | None = None
    settings: dict[str, Any] | None = None
    steps: list[PlannedStep] = []
    differences: list[str] = []


class PlanFile(_Part):
    """``plan.json`` of a run."""

    trials: list[PlannedTrial]
    name: str | None = None
    baseline: str | None = None
    paper: str | None = None
    benchmarks: list[dict[str, Any]] = []
    sweep: dict[str, Any] | None = None


class _Score(_Part):
    path: Below


class ResultFile(_Part):
    """``result.json`` of a trial."""

    status: str
    steps: list[PlannedStep]
    metrics: dict[str, float]
    scores: dict[Part, _Score]
    training: list[Below] = []
    seconds: float | None = None


class _Progress(_Part):
    done: int
    total: int
    unit: str


class StatusFile(_Part):
    """``status.json`` of a trial."""

    state: str
    reason: str | None = None
    note: str | None = None
    step: str | None = None
    progress: _Progress | None = None
    started: float | None = None
    updated: float | None = None
    ended: float | None = None
    pid: int | None = None
    host: str | None = None


File = TypeVar("File", bound=_Part)


def read(path: Path, kind: type[File]) -> dict[str, Any]:
    """The object in a file of this kind; empty where there is none, or something else."""
    value = read_json(path)
    try:
        kind.model_validate(value)
    except ValidationError:
        return {}
    assert isinstance(value, dict)
    return value


def mistake(path: Path, kind: type[File]) -> str:
    """What is wrong with a file, in a sentence."""
    value = read_json(path)
    if value is None:
        return f"{path} is not there, or no JSON"
    try:
        kind.model_validate(value)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "the whole"
        return f"{path}: {place}: {first['msg'][:1].lower()}{first['msg'][1:]}"
    return ""
