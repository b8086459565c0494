"""Whether the arms, and what they are made from, are there and make sense."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterator

from backends.methods import method, names
from benchmarks.plugins import unknown
from harness import papers
from harness.errors import HarnessError
from harness.experiment import conditions
from harness.experiment.checks import prompts, training
from harness.experiment.conditions import Condition
from harness.experiment.spec import Arm, Experiment
from harness.experiment.yaml_file import Mistake, Place
from harness.store import sources
from harness.store.sources import Hashes


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
        sources.locate_model(experiment.model, hashes)
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
    except ValueError as error:
        at = _blame(str(error), place, arm.model_fields_set - {"method"}, experiment)
        yield at, str(error)
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
        if not source.startswith(conditions.ARM) and source not in checked:
            checked.add(source)
            yield from training.writer(experiment, source, (*place, "external", "models"), hashes)
    for pool in condition.questions:
        if pool not in checked:
            checked.add(pool)
            try:
                sources.locate_questions(pool, hashes)
            except HarnessError as error:
                yield (*place, "questions") if arm.questions else ("questions",), str(error)


def _blame(message: str, place: Place, own: Collection[str], experiment: Experiment) -> Place:
    """The place of the setting that a message speaks of: on the arm, else among the shared ones."""
    for word in re.findall(r"\w+", message):
        if word in own:
            return (*place, word)
        if word in experiment.training.model_fields_set:
            return ("training", word)
    return place
