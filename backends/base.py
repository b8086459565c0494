"""The contract between an experiment and a backend: a stage, its inputs, a folder.

A *stage* is what a backend trains: an objective over questions, from one checkpoint to the next.
It is pure data, so a new method is a preset (``methods/*.yaml``), not code.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from pydantic import BaseModel, ConfigDict, Field, model_validator


class Model(BaseModel):
    """A frozen piece of configuration: an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Reward(Model):
    """One reward function by name; a response's reward is the weighted sum of its functions."""

    name: str
    weight: float = 1.0


class KL(Model):
    """Divergence from the reference: its estimator, where it enters, and its weight."""

    beta: float = Field(default=0.0, ge=0)
    form: Literal["k1", "k2", "k3"] = "k3"
    place: Literal["loss", "reward"] = "loss"


class Stage(Model):
    """Everything that decides what a training stage computes. Its result's key covers all of it."""

    objective: Literal["grpo", "sft"] = "grpo"
    template: str = "boxed"
    rewards: tuple[Reward, ...] = ()

    steps: int = Field(default=30, ge=1)
    questions_per_step: int = Field(default=32, ge=1)
    group_size: int = Field(default=8, ge=1)
    temperature: float = Field(default=1.0, gt=0)
    top_p: float = Field(default=1.0, gt=0, le=1)
    max_prompt_tokens: int = Field(default=2048, ge=1)
    max_response_tokens: int = Field(default=32, ge=1)

    updates_per_rollout: int = Field(default=1, ge=1)
    advantage: Literal["group_norm", "group_mean"] = "group_norm"
    advantage_eps: float = Field(default=1e-6, ge=0)
    clip_low: float = Field(default=0.2, gt=0)
    clip_high: float = Field(default=0.2, gt=0)
    aggregation: Literal["token_mean", "sequence_mean"] = "token_mean"
    kl: KL = KL()

    lr: float = Field(default=1e-6, gt=0)
    warmup_steps: int = Field(default=0, ge=0)
    weight_decay: float = Field(default=0.0, ge=0)
    betas: tuple[float, float] = (0.9, 0.999)
    max_grad_norm: float = Field(default=1.0, gt=0)
    freeze_vision: bool = False

    @model_validator(mode="after")
    def _consistent(self) -> Stage:
        if self.objective == "grpo":
            if self.group_size < 2:
                raise ValueError("group_size must be at least 2: a group of one has no advantage")
            if not self.rewards:
                raise ValueError("objective grpo needs at least one reward")
        if self.updates_per_rollout > self.questions_per_step:
            raise ValueError("updates_per_rollout cannot exceed questions_per_step")
        return self


class Resources(Model):
    """How a stage is executed: changes speed, not what is computed, so it is not hashed; but for
    ``dtype``, which is part of every step that computes in it."""

    processes: int = Field(default=1, ge=1)
    zero_stage: Literal[0, 1, 2, 3] = 1
    dtype: Literal["float32", "bfloat16"] = "float32"
    device: Literal["auto", "cpu", "cuda"] = "auto"
    tokens_per_micro_batch: int = Field(default=8192, ge=1)
    activation_checkpointing: bool = False
    save_every: int = Field(default=10, ge=1)
    threads: int = Field(default=1, ge=1)


@dataclass(frozen=True)
class Inputs:
    """What a stage starts from: a checkpoint folder in Hugging Face layout, and a question file.

    ``questions`` is a JSONL file as :func:`benchmarks.questions.load_questions` reads it. The seed
    decides the order of the questions and every sample.
    """

    model: Path
    questions: Path
    seed: int


class TrainingError(RuntimeError):
    """A training that cannot go on, with the reason for its reader."""


class Backend(Protocol):
    """Trains a stage.

    ``train`` leaves a checkpoint (safetensors, config, processor) in ``workdir/checkpoint``,
    appends one JSON object a step to ``workdir/metrics.jsonl``, keeps what it needs to resume in
    ``workdir/resume``, and goes on from there when called again with the same arguments after
    being killed.
    """

    name: str

    def problems(self, stage: Stage, resources: Resources) -> list[str]:
        """Why this backend cannot train the stage: refused at plan time. Empty: it can."""
        ...

    def train(self, stage: Stage, inputs: Inputs, resources: Resources, workdir: Path) -> Path:
        """Train and return the checkpoint folder. Raises :class:`TrainingError`."""
        ...


@dataclass(frozen=True)
class Rollout:
    """One group as a reward function sees it: a question and its G responses, in sample order.

    ``truncated[i]`` says that response i ended by length. ``answer`` is the gold; the trainer hands
    it over only to functions that declare ``needs_answer``; others get an empty string.
    """

    id: str
    question: str
    responses: tuple[str, ...]
    truncated: tuple[bool, ...]
    answer: str = ""
    meta: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class GroupReward:
    """Rewards of a group [G]; None marks a response that cannot be scored and is left out of the
    group's mean. ``stats`` are scalars to average over groups (``majority_ratio``, ...)."""

    rewards: tuple[float | None, ...]
    stats: Mapping[str, float]


RewardFunction = Callable[[Rollout], GroupReward]
