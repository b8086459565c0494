"""Who judges: the judge that an experiment names, and the identity of every scorer.

Asking it is :mod:`harness.steps.judging`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError

from backends.engines.registry import missing
from benchmarks import judge, registry
from benchmarks.base import Benchmark
from benchmarks.judge import NAME
from benchmarks.plugins import unknown
from harness.errors import HarnessError
from harness.experiment.spec import Judge
from harness.store.sources import models
from harness.store.sources.hashes import Hashes


def scorers(one: Benchmark) -> tuple[str, ...]:
    """Every scorer of a benchmark by name: its own, and the judge, who takes any benchmark."""
    return (*registry.scorers(one), NAME)


def scorer_id(one: Benchmark, name: str, settings: Judge | None, hashes: Hashes, dtype: str) -> str:
    """The identity of a benchmark's scorer. Raises :class:`HarnessError` for a judge that is not
    said, or not there."""
    if name != NAME:
        return registry.scorer(one, name).id
    if settings is None:
        raise HarnessError(UNSAID)
    return judge.scorer_id(one.name, identity(settings, hashes, dtype))


UNSAID = (
    "scorer 'judge' asks a language model; say which one under `judge:` (on the command line with "
    "--judge): its model, and a server's base_url or engine=hf"
)


def from_options(options: Sequence[str]) -> Judge | None:
    """The settings that ``--judge model=... --judge base_url=...`` give; None without any.

    Raises :class:`HarnessError` naming what is wrong.
    """
    if not options:
        return None
    pairs = dict(option.partition("=")[::2] for option in options)
    if bad := [name for name in pairs if name not in Judge.model_fields]:
        raise HarnessError(f"--judge {unknown('setting', bad[0], Judge.model_fields)}")
    try:
        settings = Judge.model_validate(pairs)
    except ValidationError as error:
        said = [
            f"--judge {'.'.join(map(str, e['loc']))}".strip()
            + f": {e['msg'].removeprefix('Value error, ')}"
            for e in error.errors()
        ]
        raise HarnessError("\n".join(said)) from None
    if reason := missing(settings.engine):
        raise HarnessError(f"--judge engine: {reason}")
    return settings


def located(settings: Judge, hashes: Hashes) -> Judge:
    """The settings with a local model by its place on this machine; a server's as they are.

    Raises :class:`HarnessError` where there is no such model.
    """
    if not settings.local:
        return settings
    model = local_model(settings, hashes)
    return settings.model_copy(update={"model": model.source, "revision": None})


def identity(settings: Judge, hashes: Hashes, dtype: str) -> str:
    """What decides a verdict besides the prompt: the model and its revision, by name for a server,
    by content (and the precision that it computes in) for a local one."""
    if not settings.local:
        return f"{settings.model}@{settings.revision}" if settings.revision else settings.model
    model = local_model(settings, hashes)
    content = model.id.partition(":")[2]
    hub = isinstance(model, models.HubModel)
    name = content if hub else f"{Path(model.source).name}@{content[:16]}"
    return f"{name}+{dtype}"


def local_model(settings: Judge, hashes: Hashes) -> models.Model:
    source = f"{settings.model}@{settings.revision}" if settings.revision else settings.model
    try:
        return models.locate(source, hashes)
    except HarnessError as error:
        raise HarnessError(
            f"the judge's model: {error}. A model that reads text only judges through a server: "
            "engine: openai"
        ) from None
