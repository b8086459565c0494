"""Reading an experiment file: every mistake with file, line, what was expected and the nearest
name.

Nothing is created here. Shape (types, unknown keys) is pydantic's; meaning (names, contradictions,
files that must exist) is checked below, on whatever part of the file has the right shape, so that
one reading shows all mistakes.
"""

from __future__ import annotations

import os
import re
import typing
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from backends.base.stage import Stage
from backends.engines import missing
from backends.training.objectives import OBJECTIVES, objective
from benchmarks.plugins import unknown
from harness.errors import HarnessError, Problem
from harness.experiment import conditions, judges
from harness.experiment.spec import METHOD_FIELDS, ROLLOUT_FIELDS, Experiment
from harness.experiment.yaml_file import YamlFile, dotted
from harness.store import sources
from harness.store.keys import show
from harness.store.sources import SERVED

Place = tuple[str | int, ...]
Mistake = tuple[Place, str]


def read(path: Path, root: Path) -> tuple[Experiment, str]:
    """The experiment in a file, and its text. Raises :class:`SpecError` with every mistake."""
    file = YamlFile(path)
    experiment, mistakes = _shape(file.data)
    if experiment is not None:
        mistakes += meaning(experiment, sources.Hashes(root))
    if mistakes:
        seen = dict.fromkeys(mistakes)
        raise file.error([Problem(dotted(p), said, file.line(p)) for p, said in seen])
    assert experiment is not None
    return experiment, file.text


def _shape(data: dict[str, Any]) -> tuple[Experiment | None, list[Mistake]]:
    """The experiment, or what is left of it without the parts that have the wrong shape."""
    try:
        return Experiment.model_validate(data), []
    except ValidationError as error:
        mistakes = [_mistake(e) for e in error.errors()]
    rest = data
    for place, _ in mistakes:
        rest = _without(rest, place)
    rest = {"name": "unnamed", **rest}
    try:
        return Experiment.model_validate(rest), mistakes
    except ValidationError:
        return None, mistakes


def _mistake(error: Any) -> Mistake:
    place: Place = tuple(error["loc"])
    kind, message = error["type"], error["msg"].removeprefix("Value error, ")
    if kind == "extra_forbidden":
        what = "setting" if len(place) > 1 else "key"
        if len(place) == 2 and place[0] == "training" and place[1] in METHOD_FIELDS:
            said = f"{place[1]!r} is what makes a method; set it on an arm, not for all of them"
        else:
            said = unknown(what, str(place[-1]), _fields(Experiment, place[:-1]))
        return place, said
    if kind == "missing":
        return place[:-1], f"{place[-1]!r} is required" + _description(place)
    if kind == "string_pattern_mismatch" and place[-1] == "base_url":
        message = "expected an address such as http://localhost:8000/v1"
    elif kind == "string_pattern_mismatch":
        message = "expected letters, digits, `_`, `-` and `.`, starting with a letter or digit"
    if kind in ("too_short",):
        message = "expected at least one"
    if place and place[-1] == "[key]":
        place = place[:-1]
    given = error.get("input")
    shown = f", not {given!r}" if isinstance(given, (str, int, float, bool)) else ""
    text = message.replace("Input should be", "expected")
    text = text.replace("a valid integer", "an integer").replace("a valid ", "a ")
    return place, text[:1].lower() + text[1:] + shown


def _description(place: Place) -> str:
    model = _model_at(Experiment, place[:-1])
    info = model.model_fields.get(str(place[-1])) if model else None
    return f": {info.description}" if info is not None and info.description else ""


def _fields(model: type[BaseModel], place: Place) -> list[str]:
    found = _model_at(model, place)
    return list(found.model_fields) if found else []


def _model_at(model: type[BaseModel], place: Place) -> type[BaseModel] | None:
    """The model of the mapping at a place: names step into fields, others into members."""
    here: type[BaseModel] | None = model
    for part in place:
        if here is not None and isinstance(part, str) and part in here.model_fields:
            model_, inside = _inside(here.model_fields[part].annotation)
            here, pending = (None, model_) if inside else (model_, None)
        elif here is None and pending is not None:
            here, pending = pending, None
        else:
            return None
    return here


def _inside(annotation: Any) -> tuple[type[BaseModel] | None, bool]:
    """The model in a type, and whether it is a member of a container there."""
    container = typing.get_origin(annotation) in (dict, tuple, list)
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation, False
    for argument in typing.get_args(annotation):
        found, inside = _inside(argument)
        if found:
            return found, inside or container
    return None, False


def _without(data: Any, place: Place) -> Any:
    """A copy of the data without what is at the place (a list loses nothing: its place holds)."""
    if not place:
        return data
    head, *rest = place
    if isinstance(data, Mapping) and head in data:
        if rest and isinstance(data[head], (Mapping, list)):
            return {**data, head: _without(data[head], tuple(rest))}
        return {k: v for k, v in data.items() if k != head}
    if isinstance(data, list) and isinstance(head, int) and head < len(data):
        inner = [_without(data[head], tuple(rest))] if rest else []
        return [*data[:head], *inner, *data[head + 1 :]]
    return data


def meaning(experiment: Experiment, hashes: sources.Hashes) -> list[Mistake]:
    """What is wrong with an experiment of the right shape."""
    parts: Sequence[Callable[[], Iterator[Mistake]]] = (
        lambda: _references(experiment),
        lambda: _sweep(experiment),
        lambda: _arms(experiment, hashes),
        lambda: _evaluation(experiment, hashes),
        lambda: _judge(experiment, hashes),
    )
    return [mistake for part in parts for mistake in part()]


def _references(experiment: Experiment) -> Iterator[Mistake]:
    arms = list(experiment.arms)
    if experiment.baseline is not None and experiment.baseline not in arms:
        yield ("baseline",), unknown("arm", experiment.baseline, arms)
    if experiment.sweep is not None and experiment.sweep.of not in arms:
        yield ("sweep", "of"), unknown("arm", experiment.sweep.of, arms)
    for i, seed in enumerate(experiment.seeds):
        if seed in experiment.seeds[:i]:
            yield ("seeds", i), f"the seed {seed} is there twice; a repeated seed is the same trial"
    if experiment.paper is not None:
        from harness import papers

        if experiment.paper not in (known := papers.names()):
            yield ("paper",), unknown("paper", experiment.paper, known)


def _sweep(experiment: Experiment) -> Iterator[Mistake]:
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
    if any(_training(experiment, own, ())):
        return  # reported with the arm; its points would only repeat it
    sound = True
    for axis, values in axes.items():
        yield from _unused(("sweep", axis), axis, own.stages)
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
        yield from _training(experiment, point, place)


def _arms(experiment: Experiment, hashes: sources.Hashes) -> Iterator[Mistake]:
    from backends.methods import method, names

    try:
        sources.locate_model(experiment.model, hashes)
    except HarnessError as error:
        yield ("model",), str(error)
    if (writer := experiment.synthesis.model) is not None:
        yield from _writer(experiment, writer, ("synthesis", "model"), hashes)
    for i, server in enumerate(experiment.servers):
        variable = server.api_key_env
        if variable and not os.environ.get(variable, "").strip():
            said = f"the environment variable {variable!r} holds no key"
            yield ("servers", i, "api_key_env"), said
    checked: set[str] = set()
    for name, arm in experiment.arms.items():
        place = ("arms", name)
        if arm.method not in names():
            yield (*place, "method"), unknown("method", arm.method, names())
            continue
        own = arm.settings()
        stages = method(arm.method).resolve()
        if not stages:
            extra = [k for k in own if k != "template"]
            also = ("backend", "questions", "synthetic_ratio")
            extra += [k for k in also if k in arm.model_fields_set]
            for key in extra:
                yield (*place, key), f"method {arm.method!r} trains nothing, so {key} has no use"
        try:
            condition = conditions.condition(experiment, name)
        except ValueError as error:
            yield (
                _blame(str(error), place, arm.model_fields_set - {"method"}, experiment),
                str(error),
            )
            continue
        yield from _template(
            condition.template, (*place, "template"), experiment, bool(condition.stages)
        )
        if not stages:
            continue
        for key in own:
            yield from _unused((*place, key), key, condition.stages)
        yield from _training(experiment, condition, place)
        if not condition.questions:
            yield (), f"'questions' is required: arm {name!r} trains on them"
        for source in condition.teachers:
            if source.startswith(conditions.ARM) or source in checked:
                continue
            checked.add(source)
            yield from _writer(experiment, source, (*place, "external", "models"), hashes)
        for pool in condition.questions:
            if pool in checked:
                continue
            at: Place = (*place, "questions") if arm.questions else ("questions",)
            checked.add(pool)
            try:
                sources.locate_questions(pool, hashes)
            except HarnessError as error:
                yield at, str(error)


def _blame(message: str, place: Place, own: Collection[str], experiment: Experiment) -> Place:
    """The place of the setting that a message speaks of: on the arm, else among the shared ones."""
    for word in re.findall(r"\w+", message):
        if word in own:
            return (*place, word)
        if word in experiment.training.model_fields_set:
            return ("training", word)
    return place


def _template(name: str, place: Place, experiment: Experiment, trained: bool) -> Iterator[Mistake]:
    """Whether a template is known, and whether what it asks with is there to ask with."""
    from benchmarks import benchmark
    from benchmarks.prompts import OFFICIAL, TEMPLATES

    if name not in TEMPLATES and name != OFFICIAL:
        yield place, unknown("template", name, [*TEMPLATES, OFFICIAL])
        return
    if name != OFFICIAL and not TEMPLATES[name].fields:
        return
    if trained:
        yield place, f"template {name!r} asks the items of a benchmark; training questions need one"
        return
    for choice in experiment.benchmarks:
        if name == OFFICIAL or choice.name.startswith(sources.LM_EVAL):
            continue
        with suppress(KeyError):  # an unknown benchmark is reported where it is named
            if name not in (known := benchmark(choice.name).templates):
                owners = " or ".join(map(repr, known)) or "any that fits every question"
                yield place, f"template {name!r} does not fit {choice.name}: expected {owners}"


def _unused(place: Place, key: str, stages: Sequence[Stage]) -> Iterator[Mistake]:
    """A setting that no stage reads would be a comparison of equal things."""
    learnt = [objective(stage) for stage in stages]
    if key in ROLLOUT_FIELDS and not any(o.has_rollouts for o in learnt):
        yield place, f"{learnt[-1].title} has no rollouts, so {key} has no use"
    for name, kind in OBJECTIVES.items():
        if key in kind.settings and not any(o.name == name for o in learnt):
            yield place, f"no stage has objective {name}, so {key} has no use"


def _training(
    experiment: Experiment, condition: conditions.Condition, place: Place
) -> Iterator[Mistake]:
    """Whether the backend, the rewards and the questions fit this condition."""
    from backends.registry import backend
    from backends.rewards import reward

    try:
        trainer = backend(condition.backend)
    except KeyError as error:
        own = experiment.arms[condition.arm].backend is not None
        yield ("arms", condition.arm, "backend") if own else ("backend",), str(error.args[0])
        return
    labelled = []
    for stage in condition.stages:
        for problem in trainer.problems(stage, experiment.resources):
            yield place, f"backend {condition.backend!r} cannot train this: {problem}"
        if stage.curation is None and (learnt := objective(stage)).needs_labels:
            labelled.append(learnt.title)
        for part in stage.rewards:
            try:
                if reward(part.name).needs_answer:
                    labelled.append(f"reward {part.name!r}")
            except KeyError as error:
                yield (*place, "rewards"), str(error.args[0])
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
        if not source.startswith(conditions.ARM):
            continue
        other = source.removeprefix(conditions.ARM)
        if other not in experiment.arms:
            yield at, unknown("arm", other, experiment.arms)
        elif condition.arm in _needed(experiment, other):
            yield at, f"arm {other!r} would have to be trained before itself"
        elif experiment.arms[other].method == "none":
            yield at, f"arm {other!r} trains nothing; name its model itself: {experiment.model}"


def _writer(
    experiment: Experiment, source: str, place: Place, hashes: sources.Hashes
) -> Iterator[Mistake]:
    """Whether a model that writes training data is there."""
    served = [f"{SERVED}{server.identity}" for server in experiment.servers]
    if source.startswith(SERVED):
        if source not in served:
            known = f"known: {', '.join(served)}" if served else "there are none"
            yield place, f"{source!r} is none of `servers`; {known}"
        elif reason := missing("openai"):
            yield place, reason
        return
    try:
        sources.locate_model(source, hashes)
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
            todo += [m.removeprefix(conditions.ARM) for m in named if m.startswith(conditions.ARM)]
    return needed


def _evaluation(experiment: Experiment, hashes: sources.Hashes) -> Iterator[Mistake]:
    from benchmarks import benchmark
    from benchmarks.base import DataError

    if not experiment.evaluation.greedy and not experiment.evaluation.samples:
        yield ("evaluation",), "neither greedy nor samples: nothing would be asked"
    yield from _engine(experiment)
    names = [choice.name for choice in experiment.benchmarks]
    for i, choice in enumerate(experiment.benchmarks):
        place = ("benchmarks", i)
        where = choice.name
        if where.startswith(sources.LM_EVAL):
            where = sources.lm_eval_address(choice.name, choice.data, choice.num_fewshot)
        elif choice.num_fewshot is not None:
            said = "only the tasks of lm-eval, lm_eval:<task>, have few-shot examples"
            yield (*place, "num_fewshot"), said
        try:
            known = judges.scorers(benchmark(where))
        except (KeyError, DataError) as error:
            yield place, str(error.args[0])
            continue
        if choice.name in names[:i]:
            yield place, f"{choice.name} is there twice; its figures would have the same names"
        if choice.scorer is not None and choice.scorer not in known:
            yield (*place, "scorer"), unknown("scorer", choice.scorer, known)
        try:
            sources.locate_benchmark(
                choice.name,
                choice.data,
                experiment.model,
                hashes,
                choice.num_fewshot,
                choice.split,
            )
        except HarnessError as error:
            yield (*place, "data") if choice.data else place, str(error)


def _engine(experiment: Experiment) -> Iterator[Mistake]:
    """Whether the engine that asks is there, and can ask what the experiment compares."""
    asked = experiment.evaluation
    if reason := missing(asked.engine):
        yield ("evaluation", "engine"), reason
    if asked.template is not None:
        yield from _template(asked.template, ("evaluation", "template"), experiment, False)
    if asked.min_pixels and asked.max_pixels and asked.min_pixels > asked.max_pixels:
        said = f"min_pixels {asked.min_pixels} is above max_pixels {asked.max_pixels}"
        yield ("evaluation", "min_pixels"), said
    if asked.engine != "openai":
        if asked.server is not None:
            said = f"engine {asked.engine!r} loads the model itself; a server needs engine: openai"
            yield ("evaluation", "server"), said
        if experiment.model.startswith(SERVED):
            yield ("model",), f"{experiment.model!r} is on a server: set evaluation.engine: openai"
        return
    if asked.server is None:
        said = "engine openai asks a server: say which, with server: {base_url: ..., model: ...}"
        yield ("evaluation",), said
    elif experiment.model != f"{SERVED}{asked.server.identity}":
        said = f"the server answers with {asked.server.identity!r}; leave `model` out"
        yield ("model",), said
    for key in ("min_pixels", "max_pixels"):
        if getattr(asked, key) is not None:
            yield ("evaluation", key), f"a server scales pictures its own way, so {key} has no use"
    for name, arm in experiment.arms.items():
        if arm.method != "none":
            said = (
                f"arm {name!r} trains a checkpoint, and the server of engine openai answers with "
                "its own model: use engine hf or vllm, or arms of method none only"
            )
            yield ("evaluation", "engine"), said
    variable = asked.server and asked.server.api_key_env
    if variable and not os.environ.get(variable, "").strip():
        said = f"the environment variable {variable!r} holds no key"
        yield ("evaluation", "server", "api_key_env"), said


def _judge(experiment: Experiment, hashes: sources.Hashes) -> Iterator[Mistake]:
    """Whether there is a judge where one is asked, and only there."""
    asked = [i for i, c in enumerate(experiment.benchmarks) if c.scorer == judges.NAME]
    settings = experiment.judge
    if settings is None:
        for i in asked:
            yield ("benchmarks", i, "scorer"), judges.UNSAID
        return
    if not asked:
        yield ("judge",), "no benchmark has `scorer: judge`, so nobody would ask it"
    if reason := missing(settings.engine):
        yield ("judge", "engine"), reason
    key = settings.api_key_env
    if key is not None and key not in os.environ:
        yield ("judge", "api_key_env"), f"the environment has no variable {key!r}"
    try:
        judges.located(settings, hashes)
    except HarnessError as error:
        yield ("judge", "model"), str(error)
