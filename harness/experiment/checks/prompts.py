"""Whether a template is known, and fits what it asks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

from benchmarks.plugins import BrokenExtension, UnknownExtension, unknown
from benchmarks.prompts import OFFICIAL, Template, names, template
from harness.experiment.spec import Experiment
from harness.experiment.yaml_file import Mistake, Place
from harness.store.sources import benchmark_data


def check(
    choice: str | Template, place: Place, experiment: Experiment, trained: bool
) -> Iterator[Mistake]:
    """Whether a template is known, and whether what it asks with is there to ask with."""
    from benchmarks.registry import benchmark

    if choice == OFFICIAL:
        fields: tuple[str, ...] = (OFFICIAL,)
    else:
        try:
            fields = template(choice).fields
        except UnknownExtension:
            yield place, unknown("template", choice, [*names(), OFFICIAL])
            return
        except BrokenExtension as error:
            yield place, str(error)
            return
    if isinstance(choice, Template) or not fields:
        return
    name = choice
    if trained:
        yield place, f"template {name!r} asks the items of a benchmark; training questions need one"
        return
    for one in experiment.benchmarks:
        if name == OFFICIAL or benchmark_data.is_lm_eval(one.name):
            continue
        with suppress(KeyError):  # an unknown benchmark is reported where it is named
            if name not in (known := benchmark(one.name).templates):
                owners = " or ".join(map(repr, known)) or "any that fits every question"
                yield place, f"template {name!r} does not fit {one.name}: expected {owners}"
