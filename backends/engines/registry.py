"""Engines by name: ours, and those that installed packages offer. Naming one imports no torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from backends.base.engine import Engine, EngineError, EngineFactory, EngineSettings
from benchmarks.plugins import BrokenExtension, Registry, UnknownExtension

ENGINES = Registry(
    "engine",
    {
        "hf": "backends.engines.factories:HF",
        "vllm": "backends.engines.factories:VLLM",
        "openai": "backends.engines.factories:OpenAI",
    },
)


def factory(name: str) -> EngineFactory:
    """What opens the engine of this name: ours, or one that a package offers as ``engine.<name>``
    (see :mod:`benchmarks.plugins`).

    Raises UnknownExtension naming the nearest known one, BrokenExtension for one that cannot be
    loaded.
    """
    made: EngineFactory = ENGINES.load(name)()
    return made


def missing(name: str) -> str | None:
    """Why an engine cannot be used here, in a sentence: there is none of this name, or it says what
    it lacks. None: it can."""
    try:
        return factory(name).missing()
    except (UnknownExtension, BrokenExtension) as error:
        return str(error)


def samples_locally(name: str) -> bool:
    """Whether an engine loads the model itself, rather than asking a server that has it; so does
    one that nobody knows, of which :func:`missing` tells."""
    try:
        return factory(name).samples_locally
    except (UnknownExtension, BrokenExtension):
        return True


def open_engine(name: str, model: Path | None, **settings: Any) -> Engine:
    """The engine of this name over a model folder, or on a server (``model`` None), with the
    settings of :class:`backends.base.engine.EngineSettings`.

    Raises :class:`EngineError`, or :class:`backends.models.families.ModelError` for the folder.
    """
    if reason := missing(name):
        raise EngineError(reason)
    return factory(name).open(model, EngineSettings(**settings))
