"""What an experiment leaves unset and this machine, its arms or its model decide.

Everything else that is unset has a default that holds anywhere. What is derived here is resolved
before anything is planned, so that a step's key carries the value, wherever it came from.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from backends.base.backend import Backend
from backends.base.config import Config
from backends.base.resources import Resources
from backends.base.stage import Stage
from backends.engines.registry import missing
from backends.registry import backend
from harness import environment
from harness.experiment import conditions
from harness.experiment.spec import Evaluation, Experiment

#: Tokens of a response where no arm trains: what MM-UPT trains with (arXiv 2505.22453, its script).
_USUAL_TOKENS = 2048


class Derived(Config):
    """A setting that was left unset, by its place in the file, its value, and the reason."""

    setting: str
    value: bool | int | str
    reason: str


def settle(experiment: Experiment) -> tuple[Experiment, tuple[Derived, ...]]:
    """The experiment with every setting resolved for this machine, and what was derived. A settled
    experiment comes back as it is."""
    gpus = 0 if experiment.resources.device == "cpu" else len(environment.gpus())
    found = list(_resources(experiment.resources, gpus))
    resources = experiment.resources.model_copy(update={d.setting: d.value for d in found})
    made = [d.model_copy(update={"setting": f"resources.{d.setting}"}) for d in found]
    experiment = experiment.model_copy(update={"resources": resources})
    arms = dict(experiment.arms)
    for name, one in _rollout_engines(experiment):
        made.append(one.model_copy(update={"setting": f"arms.{name}.{one.setting}"}))
        arms[name] = arms[name].model_copy(update={one.setting: one.value})
    experiment = experiment.model_copy(update={"arms": arms})
    found = list(_evaluation(experiment.evaluation, experiment))
    evaluation = experiment.evaluation.model_copy(update={d.setting: d.value for d in found})
    made += [d.model_copy(update={"setting": f"evaluation.{d.setting}"}) for d in found]
    return experiment.model_copy(update={"evaluation": evaluation}), tuple(made)


def lines(derived: Sequence[Derived]) -> list[str]:
    """The block of ``harness plan`` on what was derived: a line each, like arms in one."""
    alike: dict[tuple[str, str, str], list[str]] = {}
    for one in derived:
        place, _, name = one.setting.rpartition(".")
        alike.setdefault((name, _text(one.value), one.reason), []).append(place)
    shown = []
    for (name, value, reason), places in alike.items():
        arms = [place.removeprefix("arms.") for place in places]
        what = f"{places[0]}.{name}" if places == arms else f"{name} of {', '.join(arms)}"
        shown.append(f"  {what}: {value} ({reason})")
    return ["Derived here", *shown] if shown else []


def _text(value: bool | int | str) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _resources(given: Resources, gpus: int) -> Iterator[Derived]:
    device = given.device
    if device == "auto":
        device = "cuda" if gpus else "cpu"
        reason = f"{gpus} GPUs here" if gpus > 1 else "a GPU here" if gpus else "no GPU here"
        yield Derived(setting="device", value=device, reason=reason)
    for name, value, reason in _usual(device, given.processes, gpus):
        if name not in given.model_fields_set:
            yield Derived(setting=name, value=value, reason=reason)


def _usual(device: str, processes: int, gpus: int) -> Iterator[tuple[str, bool | int | str, str]]:
    """What suits models of billions of parameters on GPUs, and small ones on a CPU."""
    if device == "cpu":
        yield "dtype", "float32", "device cpu"
        return
    yield "dtype", "bfloat16", "device cuda"
    if processes > 1:
        yield "zero_stage", 3, f"{processes} GPUs a trial"
    yield "tokens_per_micro_batch", 16384, "device cuda"
    yield "activation_checkpointing", True, "device cuda"
    cores = environment.cores()
    threads = max(1, cores // max(1, gpus))
    yield "threads", threads, f"{cores} cores, {gpus} GPUs"


def _local_engine(device: str) -> tuple[str, str]:
    """The engine that asks a local model, and why."""
    if device == "cpu":
        return "hf", "device cpu"
    if missing("vllm"):
        return "hf", "vllm is not installed"
    return "vllm", "device cuda, vllm is installed"


def _rollout_engines(experiment: Experiment) -> Iterator[tuple[str, Derived]]:
    """Of each arm that has responses written, and neither it nor its method says by what. An arm
    that cannot be resolved is reported by the checks."""
    engine, reason = _local_engine(experiment.resources.device)
    if engine == "hf":
        return  # what a stage has anyway
    for name, condition in _conditions(experiment).items():
        stages = condition.stages
        if "rollout_engine" in conditions.idle(stages) or any(
            "rollout_engine" in stage.model_fields_set for stage in stages
        ):
            continue
        try:
            trainer = backend(condition.backend)
        except KeyError:
            continue
        if all(_takes(trainer, stage, engine, experiment.resources) for stage in stages):
            yield name, Derived(setting="rollout_engine", value=engine, reason=reason)


def _takes(trainer: Backend, stage: Stage, engine: str, resources: Resources) -> bool:
    """Whether a backend has nothing against this engine in a stage's rollouts."""
    changed = stage.model_copy(update={"rollout_engine": engine})
    return trainer.problems(changed, resources) == trainer.problems(stage, resources)


def _evaluation(given: Evaluation, experiment: Experiment) -> Iterator[Derived]:
    if given.engine is None and given.server is not None:
        yield Derived(setting="engine", value="openai", reason="evaluation.server is named")
    elif given.engine is None:
        engine, reason = _local_engine(experiment.resources.device)
        yield Derived(setting="engine", value=engine, reason=reason)
    if given.max_tokens is None:
        lengths = _lengths(experiment)
        longest = max(lengths.values(), default=_USUAL_TOKENS)
        reason = "no arm trains"
        if lengths:
            arm = next(name for name, length in lengths.items() if length == longest)
            reason = f"max_response_tokens of arm {arm}{', the most' if len(lengths) > 1 else ''}"
        yield Derived(setting="max_tokens", value=longest, reason=reason)


def _lengths(experiment: Experiment) -> Mapping[str, int]:
    """The longest response that each arm trains with: all are asked for as many, as results with
    different budgets are not comparable."""
    return {
        name: max(stage.max_response_tokens for stage in condition.stages)
        for name, condition in _conditions(experiment).items()
        if condition.stages
    }


def _conditions(experiment: Experiment) -> dict[str, conditions.Condition]:
    """Each arm that can be resolved; the others are reported by the checks."""
    made: dict[str, conditions.Condition] = {}
    for name in experiment.arms:
        try:
            made[name] = conditions.condition(experiment, name)
        except (KeyError, ValueError):
            continue
    return made
