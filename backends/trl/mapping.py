"""From a stage to TRL's settings: exact, or refused with the reason."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from backends.base.resources import Resources
from backends.base.stage import Stage
from backends.training.objectives import objective
from benchmarks.prompts import template

#: TRL's trainers are subclassed at private methods, and each release moves defaults: another one
#: has to be read before it may train.
TRL = "1.16."

#: What TRL divides a group's deviation by, beside the deviation; it cannot be told otherwise.
ADVANTAGE_EPS = 1e-4

AGGREGATIONS = {"token_mean": "dapo", "sequence_mean": "grpo", "fixed_length": "dr_grpo"}
ADVANTAGES = {"group_norm": "group", "group_mean": "none", "batch_norm": "batch"}

#: field -> the values that have a counterpart, and what TRL does instead of the others.
_GRPO: dict[str, tuple[tuple[object, ...], str]] = {
    "advantage": (
        tuple(ADVANTAGES),
        "TRL subtracts the group's mean, and divides by a deviation or by nothing",
    ),
    "aggregation": (tuple(AGGREGATIONS), "TRL has no such mean"),
    "updates_per_rollout": (
        (1,),
        "TRL deals a rollout out to its updates response by response and divides by the mean "
        "number of tokens of all of them; here an update takes whole questions and its own count",
    ),
    "critic": ((None,), "TRL's GRPOTrainer has no value head"),
    "rollout_engine": (("hf",), "only TRL's own sampling is mapped"),
    "vote_size": ((None,), "TRL trains on every response that it samples"),
    "dynamic_sampling": ((0,), "TRL does not replace questions"),
    "external": ((None,), "TRL's groups hold its own responses only"),
    "lora": ((None,), "this backend trains, saves and resumes whole weights"),
}
_SFT: dict[str, tuple[tuple[object, ...], str]] = {
    "aggregation": (("token_mean",), "TRL's supervised loss is a mean over tokens"),
    "updates_per_rollout": (
        (1,),
        "TRL makes one update a step; more steps of fewer questions are the same",
    ),
    "lora": ((None,), "this backend trains, saves and resumes whole weights"),
}


#: The objectives that are mapped.
_COUNTERPARTS = {"grpo": _GRPO, "sft": _SFT}


def problems(stage: Stage, resources: Resources) -> list[str]:
    """Why TRL cannot train the stage as it is written; empty where it can."""
    found = _installed()
    if stage.objective not in _COUNTERPARTS:
        able = " and ".join(_COUNTERPARTS)
        return [*found, f"objective {stage.objective} is not mapped: only {able} are"]
    if resources.processes > 1:
        found.append(f"processes: {resources.processes}: this backend trains in one process")
    if resources.offload != "none":
        found.append(f"offload: {resources.offload}: this backend trains without ZeRO")
    for field, (values, why) in _COUNTERPARTS[stage.objective].items():
        if (asked := getattr(stage, field)) not in values:
            able = " or ".join(map(str, values))
            found.append(f"{field}: {asked} has no counterpart, only {able}: {why}")
    try:
        template(stage.template)
    except KeyError as error:
        found.append(str(error.args[0]))
    learnt = objective(stage)
    return found + learnt.problems() + (_rollouts(stage) if learnt.has_rollouts else [])


def _rollouts(stage: Stage) -> list[str]:
    found = []
    if stage.advantage in ("group_norm", "batch_norm") and stage.advantage_eps != ADVANTAGE_EPS:
        found.append(
            f"advantage_eps: {stage.advantage_eps:g} has no counterpart: TRL adds 1e-4 to the "
            "deviation, always. Set advantage_eps: 1.0e-4, for all arms that are compared"
        )
    if stage.kl.beta > 0 and (stage.kl.form, stage.kl.place) != ("k3", "loss"):
        found.append(
            f"kl: form {stage.kl.form} in the {stage.kl.place} has no counterpart: TRL estimates "
            "KL by k3 and adds it to the loss"
        )
    if stage.kl.beta > 0 and stage.kl.clip is not None:
        found.append(f"kl.clip: {stage.kl.clip:g} has no counterpart: TRL bounds no token's k3")
    return found


def _installed() -> list[str]:
    try:
        there = version("trl")
    except PackageNotFoundError:
        return ["TRL is not installed: pip install 'rl-harness[trl]'"]
    if there.startswith(TRL):
        return []
    return [
        f"TRL {there} is installed, and this backend knows {TRL}x: pip install 'rl-harness[trl]'"
    ]


def rows_per_micro_batch(rows: int, longest: int, tokens: int) -> int:
    """The largest part of ``rows`` that divides them evenly and fits ``tokens`` with rows of
    ``longest``; 1 where none does."""
    return max(n for n in range(1, rows + 1) if rows % n == 0 and (n == 1 or n * longest <= tokens))


def arguments(
    stage: Stage, resources: Resources, seed: int, folder: Path, rows: int, cuda: bool
) -> dict[str, Any]:
    """Arguments of ``GRPOConfig`` or ``SFTConfig``. ``folder`` takes what a resume needs, ``rows``
    is the size of a micro-batch."""
    per_step = stage.questions_per_step * objective(stage).group_size
    common = {
        "output_dir": str(folder),
        "max_steps": stage.steps,
        "per_device_train_batch_size": rows,
        "gradient_accumulation_steps": per_step // rows,
        "max_grad_norm": stage.max_grad_norm,
        "seed": seed,
        "bf16": resources.dtype == "bfloat16",
        "use_cpu": not cuda,
        "gradient_checkpointing": resources.activation_checkpointing,
        "dataloader_pin_memory": cuda,
        "remove_unused_columns": False,
        "logging_steps": 1,
        "logging_nan_inf_filter": False,
        "save_strategy": "no",  # our callback says when
        "report_to": "none",
        "disable_tqdm": True,
    }
    if not objective(stage).has_rollouts:
        return common | {
            "train_sampling_strategy": "sequential",
            "dataset_kwargs": {"skip_prepare_dataset": True},
            "max_length": None,
        }
    return common | {
        "shuffle_dataset": False,
        "num_generations": stage.group_size,
        "max_completion_length": stage.max_response_tokens,
        "temperature": stage.temperature,
        "top_p": stage.top_p,
        "beta": stage.kl.beta,
        "use_bias_correction_kl": False,
        "epsilon": stage.clip_low,
        "epsilon_high": stage.clip_high,
        "delta": stage.dual_clip,
        "importance_sampling_level": stage.ratio,
        "mask_truncated_completions": stage.mask_truncated,
        "loss_type": AGGREGATIONS[stage.aggregation],
        "scale_rewards": ADVANTAGES[stage.advantage],
        "disable_dropout": True,
    }
