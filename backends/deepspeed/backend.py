"""The ``deepspeed`` backend: what the harness calls. Importing it loads no torch."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from backends.base.backend import Inputs, TrainingError
from backends.base.resources import Resources
from backends.base.stage import Stage
from backends.engines.registry import missing, samples_locally
from backends.training.objectives import objective
from backends.training.workers import Job, launch, user_errors
from benchmarks.prompts import template


class DeepSpeedBackend:
    """Our trainer: GRPO, SFT and DPO of Qwen2.5-VL models, on 1..N processes of one machine."""

    name = "deepspeed"
    version = 1

    def problems(self, stage: Stage, resources: Resources) -> list[str]:
        """Why a stage cannot be trained as asked; empty where it can."""
        found = []
        if reason := missing(stage.rollout_engine):
            found.append(f"rollout_engine: {reason}")
        elif not samples_locally(stage.rollout_engine):
            found.append(
                f"rollout_engine {stage.rollout_engine} asks a server, which does not have the "
                "weights that are being trained: use hf or vllm"
            )
        if stage.lora is not None and importlib.util.find_spec("peft") is None:
            found.append(
                "lora needs the package peft, which is not installed: "
                "pip install 'rl-harness[lora]'"
            )
        if stage.external is not None and stage.vote_size is not None:
            found.append("vote_size and external both decide who is in a group: leave one out")
        try:
            template(stage.template)
        except KeyError as error:
            found.append(str(error.args[0]))
        found += objective(stage).problems()
        if resources.attention == "flex" and resources.device != "cuda":
            found.append(
                f"attention flex with device {resources.device}: torch has no backward of it on a "
                "CPU. Set resources.device to cuda, or attention to sdpa"
            )
        if resources.dtype == "bfloat16" and resources.zero_stage == 0:
            found.append(
                "zero_stage 0 keeps no float32 master weights beside bfloat16 ones, and small "
                "updates would be lost: use zero_stage 1, which costs no more"
            )
        return found

    def train(self, stage: Stage, inputs: Inputs, resources: Resources, workdir: Path) -> Path:
        """Train the stage and return ``workdir/checkpoint``; go on where a killed call stopped.

        A workdir that holds a finished checkpoint is not trained again. Raises TrainingError.
        """
        if found := self.problems(stage, resources):
            raise TrainingError("; ".join(found))
        checkpoint = workdir / "checkpoint"
        if not checkpoint.is_dir():
            workdir.mkdir(parents=True, exist_ok=True)
            if resources.processes == 1:
                from backends.deepspeed.loop import train
                from backends.deepspeed.process import joined

                with user_errors(), joined(0, 1, resources.device, None) as ranks:
                    train(stage, inputs, resources, workdir, ranks)
            else:
                logs = {rank: workdir / f"rank{rank}.log" for rank in range(resources.processes)}
                job = Job(stage, inputs, resources, workdir)
                launch("backends.deepspeed.worker", job, logs)
        return checkpoint
