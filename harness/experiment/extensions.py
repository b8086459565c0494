"""Extensions that an experiment file names and that change no result: executors and trackers."""

from __future__ import annotations

import inspect
from collections.abc import Iterator

from benchmarks.plugins import BrokenExtension, Registry, UnknownExtension, unknown
from harness.experiment.spec import Extension

EXECUTORS = Registry("executor", {"local": "harness.run.executors.local:LocalExecutor"})
TRACKERS = Registry("tracker", {"mlflow": "harness.results.trackers.mlflow:MlflowTracker"})

#: What the harness itself gives them.
_GIVEN = {"executor": ("resources", "workers"), "tracker": ("run_folder", "root")}


def mistakes(registry: Registry, choice: Extension) -> Iterator[str]:
    """What is wrong with the choice of an executor or a tracker: its name, or its parameters'."""
    try:
        loaded = registry.load(choice.name)
    except (UnknownExtension, BrokenExtension) as error:
        yield str(error)
        return
    given = _GIVEN[registry.kind]
    own = [name for name in inspect.signature(loaded).parameters if name not in given]
    for name in choice.parameters:
        if name not in own:
            yield unknown(f"parameter of {registry.kind} {choice.name!r}", name, own)
