"""How a stage is executed."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from backends.base.config import Config, SettingError


def _no_default(schema: dict[str, Any]) -> None:
    """What an experiment derives where it is unset has no default to show."""
    schema.pop("default", None)


class Resources(Config):
    """How a stage is executed: changes speed, not what is computed, so it is not hashed; but for
    ``dtype``, which is part of every step that computes in it.

    The defaults are those of one process on a CPU. An experiment derives what it leaves unset from
    the machine: see :mod:`harness.experiment.derived`.
    """

    processes: int = Field(default=1, ge=1, description="of a trial: GPUs, or processes on a CPU")
    zero_stage: Literal[0, 1, 2, 3] = Field(
        default=1,
        description="what DeepSpeed shards; unset: 3 on several GPUs, else 1",
        json_schema_extra=_no_default,
    )
    dtype: Literal["float32", "bfloat16"] = Field(
        default="float32",
        description="of weights and activations; unset: bfloat16 on a GPU, float32 on a CPU",
        json_schema_extra=_no_default,
    )
    device: Literal["auto", "cpu", "cuda"] = Field(
        default="auto", description="auto: a GPU where there is one"
    )
    tokens_per_micro_batch: int = Field(
        default=4096,
        ge=1,
        description="of the update; unset: 16384 on a GPU, 4096 on a CPU",
        json_schema_extra=_no_default,
    )
    activation_checkpointing: bool = Field(
        default=False,
        description="compute activations twice to hold fewer; unset: true on a GPU",
        json_schema_extra=_no_default,
    )
    attention: Literal["sdpa", "flex"] = Field(
        default="sdpa",
        description="in the update: torch's scaled dot product, or FlexAttention (CUDA only)",
    )
    offload: Literal["none", "optimizer", "weights"] = Field(
        default="none",
        description="what ZeRO keeps in main memory: the optimizer state, or that and the weights",
    )
    save_every: int = Field(
        default=10, ge=1, description="steps between the states that a killed training resumes from"
    )
    threads: int = Field(
        default=1,
        ge=1,
        description="of a process; unset: the cores shared out over the GPUs, or 1 on a CPU",
        json_schema_extra=_no_default,
    )

    @model_validator(mode="after")
    def _partitioned(self) -> Resources:
        if self.offload == "optimizer" and self.zero_stage == 0:
            raise SettingError("offload", "offload optimizer needs zero_stage 1, 2 or 3")
        if self.offload == "weights" and self.zero_stage != 3:
            raise SettingError(
                "offload", "offload weights needs zero_stage 3, which partitions them"
            )
        return self
