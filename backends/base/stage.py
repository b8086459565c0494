"""A stage: what a backend trains, an objective over questions, from one checkpoint to the next.

It is pure data, so a new method is a preset (``methods/``), not code.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from backends.base.config import Config
from backends.base.engine import EngineName
from backends.base.template import TemplateChoice


class Reward(Config):
    """One reward function by name; a response's reward is the weighted sum of its functions."""

    name: str
    weight: float = 1.0


class KL(Config):
    """Divergence from the reference: its estimator, where it enters, and its weight.

    k1 in the reward and k2 in the loss have the gradient of KL(policy || reference), in expectation
    over the policy's samples; k3 in the loss has that of KL(reference || policy), near the
    reference the same. k1 in the loss has none at all, the expectation of a score function being 0,
    and is refused. Responses of other models bear no penalty: the policy did not sample them.
    """

    beta: float = Field(default=0.0, ge=0)
    form: Literal["k1", "k2", "k3"] = "k3"
    place: Literal["loss", "reward"] = "loss"
    clip: float | None = Field(
        default=None, gt=0, description="bound of a token's estimate; no gradient beyond it"
    )

    @model_validator(mode="after")
    def _has_a_gradient(self) -> KL:
        if self.beta > 0 and (self.form, self.place) == ("k1", "loss"):
            raise ValueError(
                "k1 in the loss holds nothing back: its gradient is 0 in expectation. Use k2 or k3 "
                "in the loss, or k1 in the reward"
            )
        return self


class Critic(Config):
    """The value head of ``advantage: gae``: PPO as LMM-R1's paper trains it (arXiv 2503.07536)."""

    lr: float = Field(default=9e-6, gt=0)
    gamma: float = Field(default=1.0, gt=0, le=1)
    lam: float = Field(default=1.0, ge=0, le=1)
    clip: float = Field(default=0.2, gt=0)
    weight: float = Field(default=0.5, gt=0)


class LoRA(Config):
    """Low-rank adapters in place of the language model's weights (arXiv 2106.09685): W + (alpha /
    rank) B A, of which only A and B are trained. The vision tower stays as it is."""

    rank: int = Field(default=64, ge=1)
    alpha: float = Field(default=128, gt=0)
    targets: tuple[str, ...] = Field(
        default=(), description="names of linear layers, such as q_proj; none: all of them"
    )
    dropout: float = Field(
        default=0.0, ge=0, lt=1, description="of the adapters' inputs, in the update of sft and dpo"
    )


class External(Config):
    """Responses of other models that join each group (Vision-EKIPL, arXiv 2506.06856).

    Of the policy's and the external responses the ``group_size`` best by reward are kept.
    ``off_policy`` says what an external response is to the update: ``uncorrected`` takes the
    policy's own probability before the update as its behaviour; ``unit_behaviour`` takes 1 (LUFFY,
    arXiv 2504.14945); ``sft`` takes external responses with a reward above the group's mean out of
    the group and learns them by maximum likelihood.
    """

    models: tuple[str, ...] = Field(
        default=(), description="as `model`, or arm:<name> for what another arm has trained"
    )
    samples: int = Field(default=2, ge=1, description="responses of each model to a question")
    temperature: float = Field(default=1.0, ge=0)
    off_policy: Literal["uncorrected", "unit_behaviour", "sft"] = "uncorrected"
    keep_contrast: bool = Field(
        default=True,
        description="where the best responses all have one reward, keep the policy's best other",
    )
    sft_weight: float = Field(default=0.1, gt=0)


class Curation(Config):
    """Training data that the stage's starting model writes and selects itself.

    ``correct``: responses that agree with the label (rejection sampling); ``majority``: with the
    vote (LMSI); ``judged``: those that the model itself calls right with P(Yes) > ``threshold``
    (Genixer); ``ranked``: best and worst by the model's own score, as a pair (SRLM); ``contrast``:
    a description of the picture against one from a misleading prompt or a distorted picture, as a
    pair, and ``described``: responses that were given the model's own description (both STIC).
    """

    keep: Literal["correct", "majority", "judged", "ranked", "contrast", "described"] = "correct"
    samples: int = Field(default=8, ge=1)
    per_question: int = Field(default=1, ge=1, description="demonstrations kept of a question")
    temperature: float = Field(default=1.0, gt=0)
    top_p: float = Field(default=1.0, gt=0, le=1)
    threshold: float = Field(default=0.7, ge=0, lt=1)


class Stage(Config):
    """Everything that decides what a training stage computes. Its result's key covers all of it."""

    objective: Literal["grpo", "sft", "dpo"] = "grpo"
    template: TemplateChoice = "boxed"
    rewards: tuple[Reward, ...] = ()

    steps: int = Field(default=30, ge=1)
    questions_per_step: int = Field(default=32, ge=1)
    group_size: int = Field(default=8, ge=1)
    temperature: float = Field(default=1.0, gt=0)
    top_p: float = Field(default=1.0, gt=0, le=1)
    max_prompt_tokens: int = Field(default=2048, ge=1)
    max_response_tokens: int = Field(default=32, ge=1)

    updates_per_rollout: int = Field(default=1, ge=1)
    advantage: Literal[
        "group_norm", "group_mean", "batch_norm", "rloo", "reinforce_baseline", "gae"
    ] = "group_norm"
    advantage_eps: float = Field(default=1e-6, ge=0)
    clip_low: float = Field(default=0.2, gt=0)
    clip_high: float = Field(default=0.2, gt=0)
    dual_clip: float | None = Field(default=None, gt=1, description="bound of a negative ratio * A")
    ratio: Literal["token", "sequence"] = "token"
    aggregation: Literal["token_mean", "sequence_mean", "fixed_length"] = "token_mean"
    mask_truncated: bool = False
    kl: KL = KL()
    critic: Critic | None = None

    rollout_engine: EngineName = "hf"
    vote_size: int | None = Field(
        default=None, ge=2, description="responses that vote; group_size of them are trained on"
    )
    dynamic_sampling: int = Field(
        default=0, ge=0, description="times that a question is replaced whose group agrees (DAPO)"
    )
    external: External | None = None
    curation: Curation | None = None
    dpo_beta: float = Field(default=0.1, gt=0)

    lr: float = Field(default=1e-6, gt=0)
    warmup_steps: int = Field(default=0, ge=0)
    lr_schedule: Literal["constant", "cosine", "linear"] = "constant"
    weight_decay: float = Field(default=0.0, ge=0)
    betas: tuple[float, float] = (0.9, 0.999)
    max_grad_norm: float = Field(default=1.0, gt=0)
    freeze_vision: bool = False
    lora: LoRA | None = Field(
        default=None, description="train low-rank adapters; the checkpoint has them merged"
    )

    @model_validator(mode="after")
    def _consistent(self) -> Stage:
        if self.objective == "grpo":
            if self.group_size < 2:
                raise ValueError("group_size must be at least 2: a group of one has no advantage")
            if not self.rewards:
                raise ValueError("objective grpo needs at least one reward")
            if self.lora is not None and self.lora.dropout > 0:
                raise ValueError(
                    "lora.dropout must be 0 in objective grpo: responses are sampled without it, "
                    "so the policy that learns from them would be another"
                )
        if self.updates_per_rollout > self.questions_per_step:
            raise ValueError("updates_per_rollout cannot exceed questions_per_step")
        if self.critic is not None and self.advantage != "gae":
            raise ValueError("a critic is only trained with advantage gae")
        if self.advantage == "gae" and self.critic is None:
            raise ValueError("advantage gae trains a critic: give its settings, or critic: {}")
        if self.external is not None and self.critic is not None:
            raise ValueError("a critic has no values of other models' responses: leave one out")
        if self.vote_size is not None and self.vote_size < self.group_size:
            raise ValueError("vote_size must be at least group_size: the group is drawn from it")
        pairs = self.curation is not None and self.curation.keep in ("ranked", "contrast")
        if (self.objective == "dpo") != pairs:
            raise ValueError("objective dpo needs curation ranked or contrast, and they need it")
        if self.objective == "grpo" and self.curation is not None:
            raise ValueError("curation writes data for sft and dpo; grpo samples its own")
        return self
