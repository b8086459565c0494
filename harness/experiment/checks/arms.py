"""Whether the arms, and what they are made from, are there and make sense."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Any

from backends.base.config import Config, SettingError
from backends.methods import method, names
from benchmarks.plugins import unknown
from harness import papers
from harness.errors import HarnessError
from harness.experiment import conditions
from harness.experiment.checks import prompts, training
from harness.experiment.conditions import Condition
from harness.experiment.spec import Arm, Experiment
from harness.experiment.yaml_file import Mistake, Place
from harness.store.sources import models, questions
from harness.store.sources.hashes import Hashes
from harness.store.sources.models import TrainedModel


def references(experiment: Experiment) -> Iterator[Mistake]:
    arms = list(experiment.arms)
    if experiment.baseline is not None and experiment.baseline not in arms:
        yield ("baseline",), unknown("arm", experiment.baseline, arms)
    if experiment.sweep is not None and experiment.sweep.of not in arms:
        yield ("sweep", "of"), unknown("arm", experiment.sweep.of, arms)
    for i, seed in enumerate(experiment.seeds):
        if seed in experiment.seeds[:i]:
            yield ("seeds", i), f"the seed {seed} is there twice; a repeated seed is the same trial"
    if experiment.paper is not None and experiment.paper not in (known := papers.names()):
        yield ("paper",), unknown("paper", experiment.paper, known)


def check(experiment: Experiment, hashes: Hashes) -> Iterator[Mistake]:
    """Whether the models are there and each arm can be trained; a source that several arms name is
    looked at once."""
    yield from _models(experiment, hashes)
    checked: set[str] = set()
    for name, arm in experiment.arms.items():
        if arm.method in names():
            yield from _arm(experiment, name, arm, hashes, checked)
        else:
            yield ("arms", name, "method"), unknown("method", arm.method, names())


def _models(experiment: Experiment, hashes: Hashes) -> Iterator[Mistake]:
    try:
        models.locate(experiment.model, hashes)
    except HarnessError as error:
        yield ("model",), str(error)
    if (source := experiment.synthesis.model) is not None:
        yield from training.writer(experiment, source, ("synthesis", "model"), hashes)
    for i, server in enumerate(experiment.servers):
        variable = server.api_key_env
        if variable and not os.environ.get(variable, "").strip():
            said = f"the environment variable {variable!r} holds no key"
            yield ("servers", i, "api_key_env"), said


def _arm(
    experiment: Experiment, name: str, arm: Arm, hashes: Hashes, checked: set[str]
) -> Iterator[Mistake]:
    place = ("arms", name)
    own = arm.settings()
    trains = bool(method(arm.method).stages)
    if not trains:
        extra = [k for k in own if k != "template"]
        also = ("backend", "questions", "synthetic_ratio")
        extra += [k for k in also if k in arm.model_fields_set]
        for key in extra:
            yield (*place, key), f"method {arm.method!r} trains nothing, so {key} has no use"
    try:
        condition = conditions.condition(experiment, name)
    except SettingError as error:
        yield _place(error, name, experiment), str(error)
        return
    yield from prompts.check(condition.template, (*place, "template"), experiment, trains)
    if trains:
        for key in own:
            yield from training.unused((*place, key), key, condition.stages)
        yield from training.check(experiment, condition, place)
        yield from _sources(experiment, condition, arm, hashes, checked)


def _sources(
    experiment: Experiment, condition: Condition, arm: Arm, hashes: Hashes, checked: set[str]
) -> Iterator[Mistake]:
    """Whether the questions and the external models of an arm are there."""
    place = ("arms", condition.arm)
    if not condition.questions:
        yield (), f"'questions' is required: arm {condition.arm!r} trains on them"
    for source in condition.teachers:
        if TrainedModel.of(source) is None and source not in checked:
            checked.add(source)
            yield from training.writer(experiment, source, (*place, "external", "models"), hashes)
    for pool in condition.questions:
        if pool not in checked:
            checked.add(pool)
            try:
                questions.locate(pool, hashes, experiment.on_broken_picture)
            except HarnessError as error:
                yield (*place, "questions") if arm.questions else ("questions",), str(error)


def _place(error: SettingError, arm: str, experiment: Experiment) -> Place:
    """Where the settings that an error is about are set: on the arm, else among the shared ones."""
    layers = {("arms", arm): experiment.arms[arm], ("training",): experiment.training}
    for place, layer in layers.items():
        for setting in error.settings:
            path = setting.split(".")
            if _is_set(layer, path):
                return (*place, *path)
    return ("arms", arm)


def _is_set(config: Any, path: Sequence[str]) -> bool:
    for name in path:
        if not isinstance(config, Config) or name not in config.model_fields_set:
            return False
        config = getattr(config, name)
    return True
