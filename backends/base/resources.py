"""How a stage is executed."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from backends.base.config import Config


class Resources(Config):
    """How a stage is executed: changes speed, not what is computed, so it is not hashed; but for
    ``dtype``, which is part of every step that computes in it."""

    processes: int = Field(default=1, ge=1)
    zero_stage: Literal[0, 1, 2, 3] = 1
    dtype: Literal["float32", "bfloat16"] = "float32"
    device: Literal["auto", "cpu", "cuda"] = "auto"
    tokens_per_micro_batch: int = Field(default=4096, ge=1)
    activation_checkpointing: bool = False
    attention: Literal["sdpa", "flex"] = Field(
        default="sdpa",
        description="in the update: torch's scaled dot product, or FlexAttention (CUDA only)",
    )
    offload: Literal["none", "optimizer", "weights"] = Field(
        default="none",
        description="what ZeRO keeps in main memory: the optimizer state, or that and the weights",
    )
    save_every: int = Field(default=10, ge=1)
    threads: int = Field(default=1, ge=1)

    @model_validator(mode="after")
    def _partitioned(self) -> Resources:
        if self.offload == "optimizer" and self.zero_stage == 0:
            raise ValueError("offload optimizer needs zero_stage 1, 2 or 3")
        if self.offload == "weights" and self.zero_stage != 3:
            raise ValueError("offload weights needs zero_stage 3, which partitions them")
        return self
