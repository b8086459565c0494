"""Model families by ``config.model_type``: ours, and those that installed packages offer."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

from backends.base.family import ModelFamily
from benchmarks.plugins import BrokenExtension, Registry, UnknownExtension

FAMILIES = Registry("family", {"qwen2_5_vl": "backends.models.qwen2_5_vl:Qwen2_5VL"})


class ModelError(ValueError):
    """A model folder that cannot be used. The message names the folder and what it lacks."""


@cache
def family(model_type: str) -> ModelFamily:
    """The family of the models with this ``config.model_type``. Raises :class:`ModelError`."""
    try:
        made: ModelFamily = FAMILIES.load(model_type)()
    except UnknownExtension as error:
        raise ModelError(
            f"{error}. A family says how its models read pictures and text: write one as a "
            "backends.base.family.ModelFamily, and offer it in the entry-point group "
            f"harness.plugins as family.{model_type}"
        ) from None
    except BrokenExtension as error:
        raise ModelError(str(error)) from error
    return made


def family_of(model: Any) -> ModelFamily:
    """The family of a model in memory."""
    return family(model.config.model_type)


def family_at(path: Path) -> ModelFamily:
    """The family of a model folder. Raises :class:`ModelError` naming the folder."""
    file = path / "config.json"
    if not file.exists():
        raise ModelError(f"{path} has no config.json: the model's configuration is missing.")
    try:
        model_type = json.loads(file.read_text(encoding="utf-8"))["model_type"]
    except (ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{file} names no model_type ({error!r}).") from None
    try:
        return family(str(model_type))
    except ModelError as error:
        raise ModelError(f"{path} is a {model_type!r} model: {error}.") from error
