"""Whether the benchmarks are there, and who asks and judges can do so."""

from __future__ import annotations

import os
from collections.abc import Iterator

from backends.engines.registry import missing, samples_locally
from benchmarks.plugins import unknown
from harness.errors import HarnessError
from harness.experiment import judges
from harness.experiment.checks import prompts
from harness.experiment.spec import Experiment
from harness.experiment.yaml_file import Mistake
from harness.store.sources import benchmark_data
from harness.store.sources.hashes import Hashes
from harness.store.sources.models import ServedModel


def check(experiment: Experiment, hashes: Hashes) -> Iterator[Mistake]:
    from benchmarks.base import DataError
    from benchmarks.registry import benchmark

    if not experiment.evaluation.greedy and not experiment.evaluation.samples:
        yield ("evaluation",), "neither greedy nor samples: nothing would be asked"
    yield from _engine(experiment)
    names = [choice.name for choice in experiment.benchmarks]
    for i, choice in enumerate(experiment.benchmarks):
        place = ("benchmarks", i)
        if choice.num_fewshot is not None and not benchmark_data.is_lm_eval(choice.name):
            said = "only the tasks of lm-eval, lm_eval:<task>, have few-shot examples"
            yield (*place, "num_fewshot"), said
        try:
            address = benchmark_data.address(choice.name, choice.data, choice.num_fewshot)
            known = judges.scorers(benchmark(address))
        except (KeyError, DataError) as error:
            yield place, str(error.args[0])
            continue
        if choice.name in names[:i]:
            yield place, f"{choice.name} is there twice; its figures would have the same names"
        if choice.scorer is not None and choice.scorer not in known:
            yield (*place, "scorer"), unknown("scorer", choice.scorer, known)
        try:
            benchmark_data.locate(
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
    assert asked.engine is not None, "settled"
    if reason := missing(asked.engine):
        yield ("evaluation", "engine"), reason
    if asked.template is not None:
        yield from prompts.check(asked.template, ("evaluation", "template"), experiment, False)
    if asked.min_pixels and asked.max_pixels and asked.min_pixels > asked.max_pixels:
        said = f"min_pixels {asked.min_pixels} is above max_pixels {asked.max_pixels}"
        yield ("evaluation", "min_pixels"), said
    if samples_locally(asked.engine):
        if asked.server is not None:
            said = f"engine {asked.engine!r} loads the model itself; a server needs engine: openai"
            yield ("evaluation", "server"), said
        if ServedModel.of(experiment.model) is not None:
            yield ("model",), f"{experiment.model!r} is on a server: set evaluation.engine: openai"
        return
    if asked.server is None:
        said = "asks a server: say which, with server: {base_url: ..., model: ...}"
        yield ("evaluation",), f"engine {asked.engine} {said}"
    elif experiment.model != ServedModel.named(asked.server.identity).source:
        said = f"the server answers with {asked.server.identity!r}; leave `model` out"
        yield ("model",), said
    for key in ("min_pixels", "max_pixels"):
        if getattr(asked, key) is not None:
            yield ("evaluation", key), f"a server scales pictures its own way, so {key} has no use"
    for name, arm in experiment.arms.items():
        if arm.method != "none":
            said = (
                f"arm {name!r} trains a checkpoint, and the server of engine {asked.engine} "
                "answers with its own model: use engine hf or vllm, or arms of method none only"
            )
            yield ("evaluation", "engine"), said
    variable = asked.server and asked.server.api_key_env
    if variable and not os.environ.get(variable, "").strip():
        said = f"the environment variable {variable!r} holds no key"
        yield ("evaluation", "server", "api_key_env"), said


def judge(experiment: Experiment, hashes: Hashes) -> Iterator[Mistake]:
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
