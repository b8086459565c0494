"""Whether a sweep compares anything, and each of its points can be trained."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from harness.experiment import conditions
from harness.experiment.checks import training
from harness.experiment.spec import Experiment
from harness.experiment.yaml_file import Mistake, Place
from harness.store.keys import show


def check(experiment: Experiment) -> Iterator[Mistake]:
    sweep = experiment.sweep
    if sweep is None or sweep.of not in experiment.arms:
        return
    axes = sweep.axes()
    if not axes:
        yield ("sweep",), "no axis: name a setting and its values, such as `group_size: [4, 8]`"
    if not experiment.benchmarks:
        yield ("sweep",), "a sweep needs a benchmark: its headline figure is what it compares"
    for axis, values in axes.items():
        for i, value in enumerate(values):
            if value in values[:i]:
                yield ("sweep", axis, i), f"{value!r} is there twice"
    try:
        own = conditions.condition(experiment, sweep.of)
    except (KeyError, ValueError):
        return  # reported with the arm
    if not own.stages:
        yield ("sweep", "of"), f"arm {sweep.of!r} trains nothing, so there is nothing to sweep"
        return
    if any(training.check(experiment, own, ())):
        return  # reported with the arm; its points would only repeat it
    sound = True
    for axis, values in axes.items():
        yield from training.unused(("sweep", axis), axis, own.stages)
        for i, value in enumerate(values):
            for place, said in _point(experiment, sweep.of, {axis: value}, ("sweep", axis, i)):
                sound = False
                yield place, said
    for row in conditions.rows(sweep) if sound else ():  # a wrong value is wrong in all its rows
        for place, said in _point(experiment, sweep.of, row, ("sweep",)):
            shown = ", ".join(f"{axis} {show(value)}" for axis, value in row.items())
            yield place, f"{shown}: {said}"


def _point(
    experiment: Experiment, of: str, settings: Mapping[str, Any], place: Place
) -> Iterator[Mistake]:
    """Whether the arm can be trained with these settings over its own."""
    try:
        point = conditions.condition(experiment, of, settings)
    except ValueError as error:
        yield place, str(error)
    else:
        yield from training.check(experiment, point, place)
