"""A stage: what a backend trains, an objective over questions, from one checkpoint to the next.

It is pure data, so a new method is a preset (``methods/``), not code.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeVar

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from backends.base.config import NUMBER, Config, SettingError
from backends.base.engine import EngineName
from backends.base.template import TemplateChoice

Value = TypeVar("Value")

#: What a stage may do: sample groups and learn from their rewards; have responses written, in
#: rollouts or by a curation; learn from pairs.
Activity = Literal["rollouts", "responses", "pairs"]


@dataclass(frozen=True)
class OnlyFor:
    """Marks a setting that only stages with this activity read."""

    activity: Activity


OfRollouts = Annotated[Value, OnlyFor("rollouts")]
OfResponses = Annotated[Value, OnlyFor("responses")]
OfPairs = Annotated[Value, OnlyFor("pairs")]

#: No training has more of anything, and what is larger is a slip of the hand.
MOST = 10**12
Count = Annotated[int, NUMBER, Field(ge=1, le=MOST)]
Amount = Annotated[int, NUMBER, Field(ge=0, le=MOST)]
Decay = Annotated[float, NUMBER, Field(ge=0, lt=1)]
Positive = Annotated[float, NUMBER, Field(gt=0)]
NotNegative = Annotated[float, NUMBER, Field(ge=0)]
Share = Annotated[float, NUMBER, Field(gt=0, le=1)]
AboveOne = Annotated[float, NUMBER, Field(gt=1)]
AtLeastTwo = Annotated[int, NUMBER, Field(ge=2)]

ObjectiveName = Literal["grpo", "sft", "dpo"]
Advantage = Literal["group_norm", "group_mean", "batch_norm", "rloo", "reinforce_baseline", "gae"]
RatioLevel = Literal["token", "sequence"]
Aggregation = Literal["token_mean", "sequence_mean", "fixed_length"]
Schedule = Literal["constant", "cosine", "linear"]


class RewardTerm(Config):
    """One term of the weighted sum that a response is rewarded with."""

    name: str = Field(description="`harness list rewards`, or path/to/file.py:ClassName")
    weight: float = 1.0
    parameters: dict[str, Any] = Field(default={}, description="of this reward; unset: its own")

    @model_serializer(mode="wrap")
    def _without_empty_parameters(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Most rewards have none, and a line of differences should not repeat it."""
        return {k: v for k, v in dump(self).items() if k != "parameters" or v}


class KL(Config):
    """KL divergence from the reference: its estimator, where it enters, and its weight.

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
            raise SettingError(
                "form",
                "k1 in the loss holds nothing back: its gradient is 0 in expectation. Use k2 or k3 "
                "in the loss, or k1 in the reward",
                "place",
                "beta",
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
    """Everything that decides what a training stage computes. Its result's key covers all of it.

    What has no value that is right for every method, model and data is required: a preset says it.
    """

    objective: ObjectiveName = "grpo"
    template: TemplateChoice = Field(
        default="boxed", description="the prompt: `harness list prompts`"
    )
    rewards: OfRollouts[tuple[RewardTerm, ...]] = Field(
        default=(), description="by name, `harness list rewards`, each with its weight"
    )

    steps: Count = Field(description="rollouts, each with its updates; of sft and dpo: updates")
    questions_per_step: Count = Field(description="distinct questions of a step: the batch")
    group_size: OfRollouts[Count] = Field(default=8, description="responses to a question")
    temperature: OfRollouts[Positive] = Field(default=1.0, description="of rollouts")
    top_p: OfRollouts[Share] = Field(default=1.0, description="of rollouts")
    max_prompt_tokens: Count = Field(
        default=2048, description="pictures included; longer questions are left out and counted"
    )
    max_response_tokens: Count = Field(description="where a response is cut")

    updates_per_rollout: OfRollouts[Count] = Field(
        default=1, description="optimizer steps, each on an equal part of a rollout's questions"
    )
    advantage: OfRollouts[Advantage] = "group_norm"
    advantage_eps: OfRollouts[NotNegative] = Field(
        default=1e-6, description="added to a deviation that advantages are divided by"
    )
    clip_low: OfRollouts[Positive] = Field(default=0.2, description="ratio at least 1 - this")
    clip_high: OfRollouts[Positive] = Field(default=0.2, description="ratio at most 1 + this")
    dual_clip: OfRollouts[AboveOne | None] = Field(
        default=None, description="bound of a negative ratio * A"
    )
    ratio: OfRollouts[RatioLevel] = Field(default="token", description="sequence: as in GSPO")
    aggregation: Aggregation = Field(
        default="token_mean", description="how the loss of tokens becomes that of an update"
    )
    mask_truncated: OfRollouts[bool] = Field(
        default=False, description="keep cut responses out of the loss"
    )
    kl: OfRollouts[KL] = KL()
    critic: OfRollouts[Critic | None] = None

    rollout_engine: OfResponses[EngineName] = Field(
        default="hf", description="what writes responses; unset: vllm where it can run, else hf"
    )
    vote_size: OfRollouts[AtLeastTwo | None] = Field(
        default=None, description="responses that vote; group_size of them are trained on"
    )
    dynamic_sampling: OfRollouts[Amount] = Field(
        default=0, description="times that a question is replaced whose group agrees (DAPO)"
    )
    external: OfRollouts[External | None] = None
    curation: Curation | None = None
    dpo_beta: OfPairs[Positive] = Field(default=0.1, description="weight of the reference in dpo")

    lr: Positive = Field(description="of AdamW, after the warm-up")
    warmup_steps: Amount = Field(default=0, description="over which lr rises from 0")
    lr_schedule: Schedule = "constant"
    weight_decay: NotNegative = 0.0
    betas: tuple[Decay, Decay] = Field(default=(0.9, 0.999), description="of AdamW")
    max_grad_norm: Positive = 1.0
    freeze_vision: bool = Field(default=False, description="leave the vision tower as it is")
    lora: LoRA | None = Field(
        default=None, description="train low-rank adapters; the checkpoint has them merged"
    )

    @classmethod
    def only_for(cls, *activities: Activity) -> frozenset[str]:
        """The settings that nothing but these activities reads."""
        marks = [OnlyFor(activity) for activity in activities]
        fields = cls.model_fields.items()
        return frozenset(n for n, info in fields if any(m in info.metadata for m in marks))

    @property
    def activities(self) -> frozenset[Activity]:
        """What this stage does: see :data:`Activity`."""
        done: dict[Activity, bool] = {
            "rollouts": self.objective == "grpo",
            "responses": self.objective == "grpo" or self.curation is not None,
            "pairs": self.objective == "dpo",
        }
        return frozenset(activity for activity, does in done.items() if does)

    @model_validator(mode="after")
    def _consistent(self) -> Stage:
        if self.objective == "grpo":
            if self.group_size < 2:
                raise SettingError(
                    "group_size",
                    "group_size must be at least 2: a group of one has no advantage",
                )
            if not self.rewards:
                raise SettingError(
                    "rewards", "objective grpo needs at least one reward", "objective"
                )
            if self.lora is not None and self.lora.dropout > 0:
                raise SettingError(
                    "lora.dropout",
                    "lora.dropout must be 0 in objective grpo: responses are sampled without it, "
                    "so the policy that learns from them would be another",
                )
        if self.updates_per_rollout > self.questions_per_step:
            raise SettingError(
                "updates_per_rollout",
                "updates_per_rollout cannot exceed questions_per_step",
                "questions_per_step",
            )
        if self.critic is not None and self.advantage != "gae":
            raise SettingError("critic", "a critic is only trained with advantage gae", "advantage")
        if self.advantage == "gae" and self.critic is None:
            raise SettingError(
                "advantage",
                "advantage gae trains a critic: give its settings, or critic: {}",
                "critic",
            )
        if self.external is not None and self.critic is not None:
            raise SettingError(
                "external",
                "a critic has no values of other models' responses: leave one out",
                "critic",
            )
        if self.vote_size is not None and self.vote_size < self.group_size:
            raise SettingError(
                "vote_size",
                "vote_size must be at least group_size: the group is drawn from it",
                "group_size",
            )
        pairs = self.curation is not None and self.curation.keep in ("ranked", "contrast")
        if (self.objective == "dpo") != pairs:
            raise SettingError(
                "curation",
                "objective dpo needs curation ranked or contrast, and they need it",
                "objective",
            )
        if self.objective == "grpo" and self.curation is not None:
            raise SettingError(
                "curation",
                "curation writes data for sft and dpo; grpo samples its own",
                "objective",
            )
        return self
