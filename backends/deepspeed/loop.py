"""The training loop: questions, responses, rewards, advantages, update; once a step."""

from __future__ import annotations

import copy
import json
import logging
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from backends.base.backend import Inputs, TrainingError
from backends.base.resources import Resources
from backends.base.stage import Stage
from backends.deepspeed.checkpoint import Resume, State, training_id
from backends.deepspeed.figures import update_figures
from backends.deepspeed.learner import Learner
from backends.deepspeed.objectives.advantages import estimate
from backends.deepspeed.policy.lora import adapt, dropping, merged, save_adapter, without_adapters
from backends.deepspeed.policy.packing import PackedBatch
from backends.deepspeed.policy.policy import Critic, Policy
from backends.deepspeed.rollout import ExternalResponses, Rollouts, read_external
from backends.deepspeed.sampler import PolicySampler
from backends.deepspeed.update import PerToken, Totals, Updater
from backends.models.encoding import Encoder
from backends.models.families import family_of
from backends.models.folders import (
    load_model,
    load_processor,
    save_checkpoint,
    suppressed_token_ids,
)
from backends.models.pictures import PictureCache, picture_features
from backends.models.prompt import distinct_pictures
from backends.training.demonstrations import demonstrations
from backends.training.figures import group_figures
from backends.training.limits import MAX_SKIPPED_IN_A_ROW
from backends.training.preferences import preferences
from backends.training.questions import check_questions
from backends.training.ranks import Ranks
from backends.training.samples import Drawn, QuestionOrder, Sample, mixed
from backends.training.schedule import learning_rate
from benchmarks.data.questions import load_questions

log = logging.getLogger(__name__)


#: Where engine and trainer disagree by more than this mean factor about what was sampled, the
#: policy learns from another's samples (NeMo-RL's gate). So many steps in a row end a training.
MAX_ENGINE_FACTOR, MAX_APART_IN_A_ROW = 1.05, 3


class Training:
    """One stage on one rank."""

    def __init__(
        self, stage: Stage, inputs: Inputs, resources: Resources, workdir: Path, ranks: Ranks
    ) -> None:
        self.stage, self.inputs, self.ranks, self.workdir = stage, inputs, ranks, workdir
        items = load_questions(inputs.questions)
        check_questions(items, stage, inputs.questions)
        self.order = QuestionOrder(items, stage.questions_per_step, inputs.seed)

        model = load_model(inputs.model, resources.dtype, ranks.device)
        self.processor = load_processor(inputs.model)
        self.encoder = Encoder(family_of(model), self.processor, stage.max_prompt_tokens)
        suppressed = suppressed_token_ids(self.encoder.family, self.processor)
        copies = []
        self.reference: PerToken | None = None
        if stage.kl.beta > 0 or stage.objective == "dpo":
            self.reference = self._base
            if stage.lora is None:
                copies.append(copy.deepcopy(model))
                self.reference = Policy(
                    copies[-1], suppressed, attention=resources.attention
                ).requires_grad_(False)
        if stage.critic is not None:
            copies.append(copy.deepcopy(model))
        self.pictures: PictureCache | None = None
        if stage.freeze_vision or stage.lora is not None:
            self.pictures = PictureCache()
            for one in (model, *copies):
                one.picture_cache = self.pictures
        if stage.lora is not None:
            adapt(model, stage.lora, mixed(inputs.seed, "adapters"))
        self.sampler = PolicySampler(stage, inputs, resources, model, self.encoder, ranks)
        external: dict[str, ExternalResponses] = {}
        if stage.external is not None and inputs.external is not None:
            external = read_external(inputs.external, self.encoder, stage.max_response_tokens)
            if (dropped := sum(e.dropped for e in external.values())) and ranks.first:
                log.warning("%d external responses are too long and left out", dropped)
        self.rollouts = Rollouts(
            stage, inputs.seed, items, self.encoder, self.sampler.sample, external
        )
        how: dict[str, Any] = {
            "freeze_vision": self.pictures is not None,
            "activation_checkpointing": resources.activation_checkpointing,
            "attention": resources.attention,
        }
        self.critic: Learner | None = None
        if stage.critic is not None:
            self.critic = Learner(Critic(copies[-1], **how), stage, resources, ranks)
        self.model = model
        self.learner = Learner(Policy(model, suppressed, **how), stage, resources, ranks)
        self.updater = Updater(
            stage,
            self.learner,
            ranks,
            resources.tokens_per_micro_batch,
            self.encoder.pad_id,
            self.critic,
        )
        self.resume = Resume(workdir, training_id(stage, inputs, resources), ranks)
        self.save_every = resources.save_every
        self.metrics = workdir / "metrics.jsonl"
        self.skipped_in_a_row = 0
        self.apart_in_a_row = 0
        self.idle = False

    def run(self) -> None:
        """Train from the start or from the saved state to the end, and write the checkpoint."""
        start = self._restore()
        for step in range(start, self.stage.steps):
            row = self._step(step)
            if self.ranks.first:
                with self.metrics.open("a") as file:
                    file.write(json.dumps(row) + "\n")
            done = step + 1
            if done % self.save_every == 0 and done < self.stage.steps:
                offset = self.metrics.stat().st_size if self.ranks.first else 0
                self.resume.save(self._learners, self._state(done, offset))
        if self.learner.updates == 0 and not self.idle:
            raise TrainingError(
                f"{self.stage.steps} steps went by without one update of the weights: see "
                f"unusable_groups, dropped_prompts, truncated and skipped_steps in {self.metrics}"
            )
        with self.learner.gathered():
            if self.ranks.first:
                self._publish()
        self.ranks.wait()
        if self.ranks.first:
            self.resume.clear()

    def _publish(self) -> None:
        """Write the checkpoint: an ordinary model, whatever was trained beside its weights."""
        state = None
        if self.stage.lora is not None:
            save_adapter(self.model, self.workdir / "adapter")
            state = {name: weight.cpu() for name, weight in merged(self.model)}
        save_checkpoint(self.model, self.processor, self.workdir / "checkpoint", state)

    @property
    def _learners(self) -> list[Learner]:
        return [self.learner] if self.critic is None else [self.learner, self.critic]

    def close(self) -> None:
        """Release what DeepSpeed holds."""
        self.sampler.close()
        for learner in self._learners:
            learner.close()

    def _state(self, step: int, offset: int) -> State:
        return State(
            step,
            offset,
            self.skipped_in_a_row,
            self.apart_in_a_row,
            self.sampler.restarted,
            self.idle,
            self.resume.training,
        )

    def _restore(self) -> int:
        state = self.resume.find()
        self.ranks.wait()
        if state is None:
            if self.ranks.first:
                self.resume.clear()
                self.metrics.unlink(missing_ok=True)
            return 0
        self.resume.load(self._learners, state)
        self.skipped_in_a_row = state.skipped_in_a_row
        self.apart_in_a_row = state.apart_in_a_row
        self.sampler.restarted = state.restarted
        self.idle = state.idle
        if self.ranks.first:
            with self.metrics.open("r+") as file:
                file.truncate(state.offset)
        return state.step

    def _step(self, step: int) -> dict[str, float]:
        stage, seconds = self.stage, Counter[str]()
        mine = self.order.at(step)[self.ranks.rank :: self.ranks.world]
        if stage.objective == "grpo":
            samples, spent = self._sample(mine, step, seconds)
        else:
            samples, spent = self._demonstrate(mine, seconds)
        with _timed(seconds, "rollout"):
            self._look(samples)
        rows = [(s.place, s.row) for s in samples]
        spent["tokens"] = sum(s.tokens for s in samples)
        counts = self.ranks.sum(*spent.values())
        samples = [s for s in samples if s.usable]
        with _timed(seconds, "reference"):
            self._compare(samples)
        if stage.objective == "grpo":
            estimate([s for s in samples if not s.taught], stage, self.ranks)
            for sample in samples:
                if sample.taught and stage.external is not None:
                    sample.advantages = torch.full((sample.tokens,), stage.external.sft_weight)
        if stage.mask_truncated and stage.objective == "grpo":
            samples = _untruncated(samples)
        lr = learning_rate(stage, step)
        totals = self._learn(samples, lr, step, seconds)
        figures = update_figures(totals, stage, self.ranks)
        self._count_apart(figures, step)
        return {
            "step": step + 1,
            **group_figures(rows, self.ranks),
            **figures,
            **dict(zip(spent, counts, strict=True)),
            "lr": lr,
            "device_seconds": self.ranks.world * sum(seconds.values()),
            **{f"seconds_{phase}": spent for phase, spent in seconds.items()},
        }

    def _demonstrate(
        self, drawn: list[Drawn], seconds: Counter[str]
    ) -> tuple[list[Sample], Counter[str]]:
        """Worked solutions or preferences of the questions, and what went into them."""
        read = preferences if self.stage.objective == "dpo" else demonstrations
        with _timed(seconds, "rollout"):
            samples, dropped = read(drawn, self.encoder, self.stage)
        pictures = sum(len(s.group.prompt.pictures) for s in samples)
        return samples, Counter(dropped_prompts=dropped, pictures=pictures)

    def _sample(
        self, drawn: list[Drawn], step: int, seconds: Counter[str]
    ) -> tuple[list[Sample], Counter[str]]:
        """A rewarded group for each question, and what went into them."""
        with _timed(seconds, "rollout"), self.learner.gathered():
            samples, spent = self.sampler.over_the_weights(lambda: self.rollouts.at(step, drawn))
        rewarding = self.rollouts.seconds_rewarding()
        seconds["rollout"] -= rewarding  # type: ignore[assignment]
        seconds["reward"] += rewarding  # type: ignore[assignment]
        return samples, spent

    def _look(self, samples: list[Sample]) -> None:
        """Keep the features of all pictures of the step at hand, so that no rank runs a frozen
        vision tower in the update: under ZeRO-3 a rank alone would wait for the others."""
        if self.pictures is None:
            return
        prompts = [s.group.prompt for s in samples]
        self.pictures.pinned = frozenset(each.name for p in prompts for each in p.pictures)
        new = [p for p in prompts if any(e.name not in self.pictures for e in p.pictures)]
        if self.ranks.most(len(new)):
            with self.learner.gathered(family_of(self.model).vision_tower(self.model)):
                if (found := distinct_pictures(new)) is not None:
                    picture_features(self.model, found.to(self.ranks.device))

    def _base(self, batch: PackedBatch, temperature: float) -> torch.Tensor:
        """Log-probabilities [N] of the model that the adapters were put on."""
        with without_adapters(self.model):
            return self.learner.per_token(batch, temperature)

    def _compare(self, samples: list[Sample]) -> None:
        """Log-probabilities before the update and of the reference, and values, where the stage
        needs them."""
        stage, per_token = self.stage, self.updater.per_token
        in_reward = stage.kl.beta > 0 and stage.kl.place == "reward"
        if stage.objective == "grpo" and (stage.updates_per_rollout > 1 or in_reward):
            for sample, logp in zip(
                samples, per_token(samples, self.learner.per_token), strict=True
            ):
                sample.old = logp
        if self.reference is not None:
            for sample, logp in zip(samples, per_token(samples, self.reference), strict=True):
                sample.reference = logp
        if self.critic is not None:
            for sample, values in zip(
                samples, per_token(samples, self.critic.per_token), strict=True
            ):
                sample.values = values

    def _learn(self, samples: list[Sample], lr: float, step: int, seconds: Counter[str]) -> Totals:
        """The updates of a step."""
        stage, totals = self.stage, Totals()
        masks = mixed(self.inputs.seed, "dropout", step, self.ranks.rank)
        with _timed(seconds, "update"), dropping(self.model, stage.lora, masks):
            for part in _parts(samples, stage):
                applied = self.updater.update(part, lr, totals)
                self._count_skipped(applied, totals, step)
        self.idle |= totals.idle > 0
        return totals

    def _count_apart(self, figures: dict[str, float], step: int) -> None:
        factor = figures.get("engine_factor", 1.0)
        self.apart_in_a_row = self.apart_in_a_row + 1 if factor > MAX_ENGINE_FACTOR else 0
        if self.apart_in_a_row >= MAX_APART_IN_A_ROW:
            raise TrainingError(
                f"step {step + 1}: the rollout engine and the trainer give sampled tokens "
                f"probabilities that differ by a factor of {factor:.3f} on average, for "
                f"{self.apart_in_a_row} steps in a row (at most {MAX_ENGINE_FACTOR}). A top_p "
                "below 1 does that with vllm; else see whether both read the same prompts, or "
                "train in float32."
            )

    def _count_skipped(self, applied: bool | None, totals: Totals, step: int) -> None:
        if applied is None:  # nothing was tried, which says nothing about recovering
            return
        self.skipped_in_a_row = 0 if applied else self.skipped_in_a_row + 1
        if self.skipped_in_a_row >= MAX_SKIPPED_IN_A_ROW:
            raise TrainingError(
                f"step {step + 1}: the gradient was not finite {self.skipped_in_a_row} times in "
                f"a row (loss {totals.loss:g}). A lower lr or float32 usually helps; weights that "
                "are not finite in the starting checkpoint never recover."
            )


def train(stage: Stage, inputs: Inputs, resources: Resources, workdir: Path, ranks: Ranks) -> None:
    """Train a stage on this rank; the first rank writes into ``workdir``. Raises TrainingError."""
    threads = torch.get_num_threads()
    torch.set_num_threads(resources.threads)
    training = Training(stage, inputs, resources, workdir, ranks)
    try:
        training.run()
    finally:
        training.close()
        torch.set_num_threads(threads)


def _parts(samples: list[Sample], stage: Stage) -> Iterator[list[Sample]]:
    """The samples of each update: equal stretches of the step's places, whatever the rank."""
    updates = stage.updates_per_rollout
    parts: list[list[Sample]] = [[] for _ in range(updates)]
    for sample in samples:
        parts[sample.place * updates // stage.questions_per_step].append(sample)
    yield from parts


def _untruncated(samples: list[Sample]) -> list[Sample]:
    """The samples without the responses that ended by length: those are in neither numerator nor
    denominator of the loss (DAPO, arXiv 2503.14476 section 3.4), but were in their group's
    baseline, as in TRL."""
    kept = [sample.keep([not cut for cut in sample.truncated]) for sample in samples]
    return [sample for sample in kept if sample.group.responses]


@contextmanager
def _timed(seconds: Counter[str], phase: str) -> Iterator[None]:
    start = time.perf_counter()
    yield
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    seconds[phase] += time.perf_counter() - start  # type: ignore[assignment]
