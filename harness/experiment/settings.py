"""The settings of a stage as an experiment file gives them: each may be left out, and each may be
the axis of a sweep, a list of values.

Field by field those of :class:`~backends.base.stage.Stage`, whose defaults and descriptions hold; a
test keeps the two equal. What is not set stays with the layer below.
"""

from __future__ import annotations

from typing import Annotated, TypeVar

from pydantic import Field

from backends.base.config import Config
from backends.base.engine import EngineName
from backends.base.stage import (
    KL,
    AboveOne,
    Advantage,
    Aggregation,
    Amount,
    AtLeastTwo,
    Count,
    Critic,
    Curation,
    Decay,
    External,
    LoRA,
    NotNegative,
    ObjectiveName,
    Positive,
    RatioLevel,
    RewardTerm,
    Schedule,
    Share,
)
from backends.base.template import TemplateChoice

Value = TypeVar("Value")

#: The values of one axis, in the order of the file.
Axis = Annotated[tuple[Value, ...], Field(min_length=1)] | None


class SharedSettings(Config):
    """Stage settings shared by all arms that train; an arm may override each."""

    steps: Count | None = None
    questions_per_step: Count | None = None
    group_size: Count | None = None
    temperature: Positive | None = None
    top_p: Share | None = None
    max_prompt_tokens: Count | None = None
    max_response_tokens: Count | None = None
    updates_per_rollout: Count | None = None
    advantage: Advantage | None = None
    advantage_eps: NotNegative | None = None
    clip_low: Positive | None = None
    clip_high: Positive | None = None
    dual_clip: AboveOne | None = None
    ratio: RatioLevel | None = None
    aggregation: Aggregation | None = None
    mask_truncated: bool | None = None
    kl: KL | None = None
    critic: Critic | None = None
    rollout_engine: EngineName | None = None
    vote_size: AtLeastTwo | None = None
    dynamic_sampling: Amount | None = None
    dpo_beta: Positive | None = None
    lr: Positive | None = None
    warmup_steps: Amount | None = None
    lr_schedule: Schedule | None = None
    weight_decay: NotNegative | None = None
    betas: tuple[Decay, Decay] | None = None
    max_grad_norm: Positive | None = None
    freeze_vision: bool | None = None
    lora: LoRA | None = None


class StageSettings(SharedSettings):
    """Every stage setting: the shared ones, and those that make a method what it is."""

    objective: ObjectiveName | None = None
    template: TemplateChoice | None = None
    rewards: tuple[RewardTerm, ...] | None = None
    external: External | None = None
    curation: Curation | None = None


class Axes(Config):
    """Every stage setting as a list of values."""

    objective: Axis[ObjectiveName] = None
    template: Axis[TemplateChoice] = None
    rewards: Axis[tuple[RewardTerm, ...]] = None
    steps: Axis[Count] = None
    questions_per_step: Axis[Count] = None
    group_size: Axis[Count] = None
    temperature: Axis[Positive] = None
    top_p: Axis[Share] = None
    max_prompt_tokens: Axis[Count] = None
    max_response_tokens: Axis[Count] = None
    updates_per_rollout: Axis[Count] = None
    advantage: Axis[Advantage] = None
    advantage_eps: Axis[NotNegative] = None
    clip_low: Axis[Positive] = None
    clip_high: Axis[Positive] = None
    dual_clip: Axis[AboveOne | None] = None
    ratio: Axis[RatioLevel] = None
    aggregation: Axis[Aggregation] = None
    mask_truncated: Axis[bool] = None
    kl: Axis[KL] = None
    critic: Axis[Critic | None] = None
    rollout_engine: Axis[EngineName] = None
    vote_size: Axis[AtLeastTwo | None] = None
    dynamic_sampling: Axis[Amount] = None
    external: Axis[External | None] = None
    curation: Axis[Curation | None] = None
    dpo_beta: Axis[Positive] = None
    lr: Axis[Positive] = None
    warmup_steps: Axis[Amount] = None
    lr_schedule: Axis[Schedule] = None
    weight_decay: Axis[NotNegative] = None
    betas: Axis[tuple[Decay, Decay]] = None
    max_grad_norm: Axis[Positive] = None
    freeze_vision: Axis[bool] = None
    lora: Axis[LoRA | None] = None
