"""Whether a template is known, and fits what it asks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

from benchmarks.plugins import unknown
from harness.experiment.spec import Experiment
from harness.experiment.yaml_file import Mistake, Place
from harness.store.sources import benchmark_data


def check(name: str, place: Place, experiment: Experiment, trained: bool) -> Iterator[Mistake]:
    """Whether a template is known, and whether what it asks with is there to ask with."""
    from benchmarks.prompts import OFFICIAL, TEMPLATES
    from benchmarks.registry import benchmark

    if name not in TEMPLATES and name != OFFICIAL:
        yield place, unknown("template", name, [*TEMPLATES, OFFICIAL])
        return
    if name != OFFICIAL and not TEMPLATES[name].fields:
        return
    if trained:
        yield place, f"template {name!r} asks the items of a benchmark; training questions need one"
        return
    for choice in experiment.benchmarks:
        if name == OFFICIAL or benchmark_data.is_lm_eval(choice.name):
            continue
        with suppress(KeyError):  # an unknown benchmark is reported where it is named
            if name not in (known := benchmark(choice.name).templates):
                owners = " or ".join(map(repr, known)) or "any that fits every question"
                yield place, f"template {name!r} does not fit {choice.name}: expected {owners}"
