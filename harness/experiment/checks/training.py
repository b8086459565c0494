"""Whether a condition can be trained: its backend, rewards, questions and teachers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from backends.base.stage import Stage
from backends.engines.registry import missing
from backends.training.objectives import objective
from benchmarks.plugins import unknown
from benchmarks.prompts import names as templates
from harness.errors import HarnessError
from harness.experiment import conditions
from harness.experiment.spec import Experiment
from harness.experiment.yaml_file import Mistake, Place
from harness.store.sources import models
from harness.store.sources.hashes import Hashes
from harness.store.sources.models import ServedModel, TrainedModel


def unused(place: Place, key: str, stages: Sequence[Stage]) -> Iterator[Mistake]:
    """A setting that no stage reads would be a comparison of equal things."""
    if key not in conditions.idle(stages):
        return
    what = objective(stages[-1]).title
    if key in Stage.only_for("pairs"):
        yield place, f"no stage has objective dpo, so {key} has no use"
    elif key in Stage.only_for("responses"):
        yield place, f"{what} on given demonstrations writes no responses, so {key} has no use"
    else:
        yield place, f"{what} has no rollouts, so {key} has no use"


def check(
    experiment: Experiment, condition: conditions.Condition, place: Place
) -> Iterator[Mistake]:
    """Whether the backend, the rewards and the questions fit this condition."""
    from backends.registry import backend
    from backends.rewards import mistakes, reward

    try:
        trainer = backend(condition.backend)
    except KeyError as error:
        own = experiment.arms[condition.arm].backend is not None
        yield ("arms", condition.arm, "backend") if own else ("backend",), str(error.args[0])
        return
    labelled = []
    for stage in condition.stages:
        # An unknown template is told where it is named, and once.
        unknown_one = isinstance(stage.template, str) and stage.template not in templates()
        for problem in () if unknown_one else trainer.problems(stage, experiment.resources):
            yield place, f"backend {condition.backend!r} cannot train this: {problem}"
        if stage.curation is None and (learnt := objective(stage)).needs_labels:
            labelled.append(learnt.title)
        wrong = list(mistakes(stage.rewards))
        for at, said in wrong:
            yield (*place, "rewards", *at), said
        if not wrong:
            supervised = [term.name for term in stage.rewards if reward(term).needs_answer]
            labelled += [f"reward {name!r}" for name in supervised]
    at = place if place[:1] == ("sweep",) else (*place, "synthetic_ratio")
    if labelled and condition.synthetic_ratio > 0:
        said = f"{labelled[0]} needs labels, and synthetic questions have none"
        yield at, said
    if any(stage.curation for stage in condition.stages) and condition.synthetic_ratio > 0:
        yield at, "curation has the model answer the pool's own questions; mix in no synthetic ones"
    yield from _teachers(experiment, condition, place)


def _teachers(
    experiment: Experiment, condition: conditions.Condition, place: Place
) -> Iterator[Mistake]:
    """Whether external models are named, and none learns from its own pupil."""
    at = place if place[:1] == ("sweep",) else (*place, "external")
    for stage in condition.stages:
        if stage.external is not None and not stage.external.models:
            yield at, "'models' is required: the models whose responses join each group"
    for source in condition.teachers:
        if (trained := TrainedModel.of(source)) is None:
            continue
        other = trained.arm
        if other not in experiment.arms:
            yield at, unknown("arm", other, experiment.arms)
        elif condition.arm in _needed(experiment, other):
            yield at, f"arm {other!r} would have to be trained before itself"
        elif experiment.arms[other].method == "none":
            yield at, f"arm {other!r} trains nothing; name its model itself: {experiment.model}"


def writer(experiment: Experiment, source: str, place: Place, hashes: Hashes) -> Iterator[Mistake]:
    """Whether a model that writes training data is there."""
    served = [ServedModel.named(server.identity).source for server in experiment.servers]
    if ServedModel.of(source) is not None:
        if source not in served:
            known = f"known: {', '.join(served)}" if served else "there are none"
            yield place, f"{source!r} is none of `servers`; {known}"
        elif reason := missing("openai"):
            yield place, reason
        return
    try:
        models.locate(source, hashes)
    except HarnessError as error:
        yield place, str(error)


def _needed(experiment: Experiment, name: str) -> set[str]:
    """The arms that must be trained for this one, itself included."""
    needed: set[str] = set()
    todo = [name]
    while todo:
        one = todo.pop()
        if one in experiment.arms and one not in needed:
            needed.add(one)
            named = (experiment.arms[one].settings().get("external") or {}).get("models", ())
            todo += [trained.arm for trained in map(TrainedModel.of, named) if trained is not None]
    return needed
