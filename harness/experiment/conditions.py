"""What an arm, or one point of a sweep, comes to: the method's stages with every setting resolved.

Layers, later over earlier: the method's preset, ``training``, the arm, the point of the sweep.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, get_args

from backends.base.config import SettingError
from backends.base.stage import Activity, Stage
from backends.methods import method
from benchmarks.prompts import Template, read, written
from harness.experiment.spec import Arm, Experiment, Sweep
from harness.store.keys import digest, show


@dataclass(frozen=True)
class Condition:
    """An arm at a point of its sweep (``point`` is empty for the arm itself), without a seed.
    ``questions`` has one pool for each stage; it is empty where the file names none."""

    arm: str
    method: str
    template: str | Template
    stages: tuple[Stage, ...]
    backend: str
    questions: tuple[str, ...] = ()
    synthetic_ratio: float = 0.0
    point: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """``mm_upt``, or ``mm_upt--group_size=16`` for a point."""
        return "--".join([self.arm, *(_slug(k, v) for k, v in self.point.items())])

    def settings(self) -> dict[str, Any]:
        """Everything that distinguishes one condition from another, as plain data."""
        stages = [stage.model_dump(mode="json") for stage in self.stages]
        flat = stages[0] if len(stages) == 1 else {f"stage{i}": s for i, s in enumerate(stages, 1)}
        settings: dict[str, Any] = {"method": self.method, "template": written(self.template)}
        if self.stages:
            pools = list(dict.fromkeys(self.questions))
            questions = pools[0] if len(pools) == 1 else list(self.questions)
            settings |= {"backend": self.backend, "questions": questions}
            settings |= {"synthetic_ratio": self.synthetic_ratio}
        return settings | flat

    @property
    def teachers(self) -> list[str]:
        """The external models of all stages, each once."""
        named = [m for s in self.stages if s.external is not None for m in s.external.models]
        return list(dict.fromkeys(named))

    @property
    def trains(self) -> str:
        """Equal for conditions that train the same thing, whatever they are called."""
        settings = {k: v for k, v in self.settings().items() if k != "method"}
        return digest(settings)


def _slug(axis: str, value: Any) -> str:
    """``group_size=16``: letters that every file system and MLflow take."""
    if isinstance(value, Mapping):
        return "-".join(_slug(f"{axis}.{k}", v) for k, v in value.items())
    text = show(value).replace("/", "_")
    return f"{axis}=" + "".join(c if c.isalnum() or c in "._+-" else "_" for c in text)


def condition(
    experiment: Experiment, name: str, point: Mapping[str, Any] | None = None
) -> Condition:
    """The arm of this name with the point's settings over it.

    Raises :class:`SettingError` on settings that no stage can have, KeyError on an unknown method.
    """
    arm = experiment.arms[name]
    point = dict(point or {})
    preset = method(arm.method)
    plain = preset.resolve()
    shared = experiment.training.model_dump(mode="json", exclude_unset=True)
    shared = {k: v for k, v in shared.items() if k not in idle(plain)}
    own = arm.settings()
    changed = {k: v for k, v in point.items() if k != "synthetic_ratio"}
    stages: tuple[Stage, ...] = ()
    template = read(own.get("template", "boxed"))
    if plain:
        stages = preset.resolve(_over(_over(shared, own), changed))
        template = stages[-1].template
    return Condition(
        arm=name,
        method=arm.method,
        template=template,
        stages=stages,
        backend=arm.backend or experiment.backend,
        questions=_pools(arm, experiment, len(stages)),
        synthetic_ratio=point.get("synthetic_ratio", arm.synthetic_ratio),
        point=point,
    )


def idle(stages: Sequence[Stage]) -> frozenset[str]:
    """The settings that none of these stages reads."""
    done = {activity for stage in stages for activity in stage.activities}
    return Stage.only_for(*(activity for activity in get_args(Activity) if activity not in done))


def _pools(arm: Arm, experiment: Experiment, stages: int) -> tuple[str, ...]:
    """The question pool of each stage. Raises SettingError where a list has another
    length."""
    given = arm.questions or experiment.questions
    if given is None or not stages:
        return ()
    if isinstance(given, str):
        return (given,) * stages
    if len(given) != stages:
        raise SettingError(
            "questions",
            f"questions names {len(given)} pools and method {arm.method!r} has {stages} "
            f"stage{'s' if stages > 1 else ''}: one for each, or one for all",
        )
    return given


def _over(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """``above`` put over ``below``, nested settings key by key."""
    merged = {**below, **above}
    for name, value in above.items():
        if isinstance(value, Mapping) and isinstance(below.get(name), Mapping):
            merged[name] = {**below[name], **value}
    return merged


def points(experiment: Experiment) -> list[dict[str, Any]]:
    """The points of the sweep in order, the swept arm itself left out: it is there already.

    ``grid`` crosses the axes. ``one_factor`` changes one axis at a time from the arm's own
    settings.
    """
    sweep = experiment.sweep
    if sweep is None:
        return []
    base = condition(experiment, sweep.of).trains
    return [row for row in rows(sweep) if condition(experiment, sweep.of, row).trains != base]


def rows(sweep: Sweep) -> list[dict[str, Any]]:
    """What the sweep's design makes of its axes, whether or not its arm can be trained so."""
    axes = sweep.axes()
    if sweep.design == "grid":
        return [dict(zip(axes, row, strict=True)) for row in itertools.product(*axes.values())]
    return [{axis: value} for axis, values in axes.items() for value in values]


def defaults(experiment: Experiment) -> dict[str, Any]:
    """The swept arm's own value on each axis: where its result stands in the sweep."""
    assert experiment.sweep is not None
    settings = condition(experiment, experiment.sweep.of).settings()
    return {axis: settings.get(axis) for axis in experiment.sweep.axes()}
