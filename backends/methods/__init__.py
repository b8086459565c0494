"""Methods by name: a preset is a YAML file in the folder of its paper, a list of stages with what
the paper says.

A preset holds the published settings; an experiment overrides what it wants different.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from ruamel.yaml import YAML

from backends.base.config import SettingError
from backends.base.stage import Stage
from benchmarks.plugins import Registry, unknown

_OURS = {path.stem: path for path in sorted(Path(__file__).parent.rglob("*.yaml"))}

METHODS = Registry("method", {name: str(_OURS[name]) for name in sorted(_OURS)})


@dataclass(frozen=True)
class Method:
    """A preset: ``stages`` are the :class:`Stage` fields that it sets, one mapping a stage.

    A method without stages is the base model as it is.
    """

    name: str
    title: str
    paper: str
    notes: str
    stages: tuple[Mapping[str, Any], ...]

    def resolve(self, overrides: Mapping[str, Any] | None = None) -> tuple[Stage, ...]:
        """The stages with ``overrides`` (flat Stage fields) put over each of them.

        Nested settings (``kl``, ``external``, ...) are merged key by key; lists are replaced.
        Raises :class:`SettingError` naming the nearest field for an unknown one, and what is wrong
        with a value.
        """
        overrides = overrides or {}
        for key in overrides:
            if key not in Stage.model_fields:
                said = unknown(f"setting of method {self.name!r}", key, Stage.model_fields)
                raise SettingError(key, said)
        return tuple(self._stage(i, preset, overrides) for i, preset in enumerate(self.stages, 1))

    def _stage(self, number: int, preset: Mapping[str, Any], overrides: Mapping[str, Any]) -> Stage:
        fields = {**preset, **overrides}
        for name, value in overrides.items():
            below = preset.get(name)
            if isinstance(value, Mapping) and isinstance(below, Mapping):
                fields[name] = {**below, **value}
        try:
            return Stage.model_validate(fields)
        except ValidationError as error:
            where = f"method {self.name!r}" + (f", stage {number}" if len(self.stages) > 1 else "")
            raise _blamed(where, error) from None


def _blamed(where: str, error: ValidationError) -> SettingError:
    """What pydantic found, in one sentence, with the settings that it is about."""
    messages, settings = [], []
    for e in error.errors():
        place = ".".join(map(str, e["loc"]))
        messages.append(f"{place or 'stage'}: {e['msg'].removeprefix('Value error, ')}")
        raised = e.get("ctx", {}).get("error")
        inner = raised.settings if isinstance(raised, SettingError) else ("",)
        settings += [".".join(filter(None, (place, setting))) for setting in inner]
    return SettingError(settings[0], f"{where}: {'; '.join(messages)}", *settings[1:])


def names() -> list[str]:
    """Names of all known methods, ours first."""
    return METHODS.names()


def method(name: str) -> Method:
    """The method of this name: ours, or one that an installed package offers.

    A package offers one through the entry-point group ``harness.plugins``, under the name
    ``method.<name>``, as a :class:`Method`. Raises KeyError naming the nearest known one.
    """
    found = METHODS.find(name)
    if found.ours:
        return _read(name)
    made: Method = found.load()
    return made


@cache
def _read(name: str) -> Method:
    data = YAML(typ="safe", pure=True).load(_OURS[name])
    made = Method(name, data["title"], data["paper"], data["notes"].strip(), tuple(data["stages"]))
    made.resolve()
    return made
