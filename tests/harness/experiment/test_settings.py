"""The settings of an experiment file are those of a stage, whatever is added to it."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel, TypeAdapter

from backends.base.stage import Stage
from harness.experiment.settings import Axes, SharedSettings, StageSettings
from harness.experiment.spec import METHOD_FIELDS


def _schema(model: type[BaseModel], name: str) -> Any:
    """What a field takes, with its limits and without null."""
    return _without_null(TypeAdapter(model.model_fields[name].rebuild_annotation()).json_schema())


def _without_null(schema: Any) -> Any:
    """Of a model its title is enough."""
    kinds = [kind for kind in schema.get("anyOf", ()) if kind != {"type": "null"}]
    if len(kinds) == 1:
        return _without_null(kinds[0])
    if "$ref" in schema:
        return {"title": schema["$ref"].rpartition("/")[2]}
    if schema.get("type") == "object":
        return {"title": schema["title"]}
    return {name: value for name, value in schema.items() if name != "$defs"}


def test_no_setting_is_missing_and_none_is_in_excess() -> None:
    assert set(StageSettings.model_fields) == set(Stage.model_fields)
    assert list(Axes.model_fields) == list(Stage.model_fields)
    assert set(SharedSettings.model_fields) == set(Stage.model_fields) - METHOD_FIELDS
    assert {"objective", "template", "rewards", "external", "curation"} == METHOD_FIELDS


@pytest.mark.parametrize("name", Stage.model_fields)
def test_a_setting_takes_what_the_stage_takes(name: str) -> None:
    wanted = _schema(Stage, name)
    assert _schema(StageSettings, name) == wanted
    axis = _schema(Axes, name)
    assert axis["minItems"] == 1
    assert _without_null(axis["items"]) == wanted


def test_what_is_not_set_stays_unset() -> None:
    assert StageSettings(lr=1e-6).model_dump(exclude_unset=True) == {"lr": 1e-6}
