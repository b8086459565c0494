"""What pydantic says of a file, in our words: types, limits, unknown and missing keys."""

from __future__ import annotations

import typing
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ValidationError

from benchmarks.plugins import unknown
from harness.experiment.spec import METHOD_FIELDS, Experiment
from harness.experiment.yaml_file import Mistake, Place


def shape(data: dict[str, Any]) -> tuple[Experiment | None, list[Mistake]]:
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
    if kind == "string_pattern_mismatch":
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
