"""The training loop: questions, rollouts, reference, advantages, update, log; once a step.

What can go wrong here without a word (a KL of the wrong sign, a picture of another question, a
label that leaks) is listed in ``docs/trainer_checklist.md``, each with the test that would say so.
"""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from backends.base.backend import Inputs, TrainingError
from backends.base.resources import Resources
from backends.base.stage import Stage
from backends.deepspeed.checkpoint import Resume, State, training_id
from backends.deepspeed.figures import update_figures
from backends.deepspeed.guard import Guard
from backends.deepspeed.learner import Learner
from backends.deepspeed.models import load_models
from backends.deepspeed.objectives.choice import loss
from backends.deepspeed.policy.lora import dropping, merged, save_adapter, without_adapters
from backends.deepspeed.policy.packing import PackedBatch
from backends.deepspeed.policy.policy import Critic, Policy
from backends.deepspeed.rollout import ExternalResponses, Rollouts, read_external
from backends.deepspeed.sampler import PolicySampler
from backends.deepspeed.update import PerToken, Totals, Updater
from backends.models.encoding import Encoder
from backends.models.families import family_of
from backends.models.folders import (
    load_processor,
    save_checkpoint,
    suppressed_token_ids,
)
from backends.models.pictures import picture_features
from backends.models.prompt import distinct_pictures
from backends.training.clock import Clock
from backends.training.figures import group_figures
from backends.training.objectives import objective
from backends.training.ranks import Ranks
from backends.training.samples import Drawn, QuestionOrder, Sample, mixed
from backends.training.schedule import learning_rate
from backends.training.targets import target_samples
from benchmarks.base import Item
from benchmarks.data.questions import load_questions

log = logging.getLogger(__name__)


class Training:
    """One stage on one rank."""

    def __init__(
        self, stage: Stage, inputs: Inputs, resources: Resources, workdir: Path, ranks: Ranks
    ) -> None:
        self.stage, self.inputs, self.resources, self.ranks = stage, inputs, resources, ranks
        self.objective, self.loss = objective(stage), loss(stage)
        items = load_questions(inputs.questions)
        self.objective.check(items, inputs.questions)
        self.order = QuestionOrder(items, stage.questions_per_step, inputs.seed)
        self.processor = load_processor(inputs.model)
        models = load_models(stage, inputs, resources, ranks.device)
        self.model, self.pictures = models.policy, models.pictures
        self.encoder = Encoder(family_of(self.model), self.processor, stage.max_prompt_tokens)
        self.sampler: PolicySampler | None = None
        if self.objective.has_rollouts:  # before DeepSpeed: vLLM takes of what memory is free
            self.sampler = PolicySampler(stage, inputs, resources, self.model, self.encoder, ranks)
            self.rollouts = self._rollouts(items, self.sampler)

        suppressed = suppressed_token_ids(self.encoder.family, self.processor)
        how: dict[str, Any] = {
            "freeze_vision": self.pictures is not None,
            "activation_checkpointing": resources.activation_checkpointing,
            "attention": resources.attention,
        }
        self.reference: PerToken | None = None
        if models.reference is not None:
            reference = Policy(models.reference, suppressed, attention=resources.attention)
            self.reference = reference.requires_grad_(False)
        elif self.objective.needs_reference:
            self.reference = self._base
        self.critic: Learner | None = None
        if models.critic is not None:
            self.critic = Learner(Critic(models.critic, **how), stage, resources, ranks)
        self.learner = Learner(Policy(self.model, suppressed, **how), stage, resources, ranks)
        self.updater = Updater(
            stage,
            self.learner,
            ranks,
            resources.tokens_per_micro_batch,
            self.encoder.pad_id,
            self.critic,
        )

        self.workdir, self.metrics = workdir, workdir / "metrics.jsonl"
        self.resume = Resume(workdir, training_id(stage, inputs, resources), ranks)
        self.guard = Guard()
        self.idle = False

    # ----------------------------------------------------------------------------------- one step

    def _step(self, step: int) -> dict[str, float]:
        """One step, counted from 0, and its row in the metrics."""
        clock = Clock()
        questions = self.order.at(step)[self.ranks.rank :: self.ranks.world]
        samples, counts = self._samples(questions, step, clock)
        rows = [(s.place, s.figures) for s in samples]
        counts["tokens"] = sum(s.tokens for s in samples)
        samples = self._compared([s for s in samples if s.usable], clock)
        samples = self.loss.advantages(samples, self.ranks)
        lr = learning_rate(self.stage, step)
        totals = self._update(samples, lr, step, clock)
        figures = update_figures(totals, self.stage, self.ranks)
        self.guard.engine(figures.get("engine_factor", 1.0), step)
        return {
            "step": step + 1,
            **group_figures([*rows, *totals.rows], self.ranks),
            **figures,
            **dict(zip(counts, self.ranks.sum(*counts.values()), strict=True)),
            "lr": lr,
            "device_seconds": self.ranks.world * clock.measured,
            **{f"seconds_{phase}": seconds for phase, seconds in clock.seconds.items()},
        }

    def _samples(
        self, questions: Sequence[Drawn], step: int, clock: Clock
    ) -> tuple[list[Sample], Counter[str]]:
        """A group for each question, sampled and rewarded or of its targets, and what went into
        them."""
        with clock.timed("rollout"):
            if self.sampler is not None:
                with self.learner.gathered():
                    samples, counts = self.sampler.over_the_weights(
                        lambda: self.rollouts.at(step, questions, clock)
                    )
            else:
                samples, dropped = target_samples(questions, self.encoder, self.objective)
                pictures = sum(len(s.group.prompt.pictures) for s in samples)
                counts = Counter(dropped_prompts=dropped, pictures=pictures)
            self._keep_features(samples)
        return samples, counts

    def _keep_features(self, samples: Sequence[Sample]) -> None:
        """Keep the features of all pictures of the step at hand, so that no rank runs a frozen
        vision tower in the update: under ZeRO-3 a rank alone would wait for the others."""
        if self.pictures is None:
            return
        prompts = [s.group.prompt for s in samples]
        self.pictures.pinned = frozenset(each.name for p in prompts for each in p.pictures)
        new = [p for p in prompts if any(e.name not in self.pictures for e in p.pictures)]
        if self.ranks.most(len(new)):
            with self.learner.gathered(self.encoder.family.vision_tower(self.model)):
                if (pictures := distinct_pictures(new)) is not None:
                    picture_features(self.model, pictures.to(self.ranks.device))

    def _compared(self, samples: list[Sample], clock: Clock) -> list[Sample]:
        """The samples with the log-probabilities before the update and of the reference, and the
        critic's values, where the stage needs them."""
        per_token = self.updater.per_token
        with clock.timed("reference"):
            if self.objective.needs_old:
                old = per_token(samples, self.learner.per_token)
                samples = [replace(s, old=x) for s, x in zip(samples, old, strict=True)]
            if self.reference is not None:
                reference = per_token(samples, self.reference)
                samples = [replace(s, reference=x) for s, x in zip(samples, reference, strict=True)]
            if self.critic is not None:
                values = per_token(samples, self.critic.per_token)
                samples = [replace(s, values=x) for s, x in zip(samples, values, strict=True)]
        return samples

    def _update(self, samples: Sequence[Sample], lr: float, step: int, clock: Clock) -> Totals:
        """The updates of a step."""
        totals = Totals()
        masks = mixed(self.inputs.seed, "dropout", step, self.ranks.rank)
        with clock.timed("update"), dropping(self.model, self.stage.lora, masks):
            for part in _parts(samples, self.stage):
                outcome = self.updater.update(part, lr, totals)
                self.guard.update(outcome, totals.loss, step)
        self.idle |= totals.idle > 0
        return totals

    # --------------------------------------------------------------------------- from start to end

    def run(self) -> None:
        """Train from the start or from the saved state to the end, and write the checkpoint."""
        start = self._restore()
        for step in range(start, self.stage.steps):
            row = self._step(step)
            if self.ranks.first:
                with self.metrics.open("a") as file:
                    file.write(json.dumps(row) + "\n")
            done = step + 1
            if done % self.resources.save_every == 0 and done < self.stage.steps:
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

    def close(self) -> None:
        """Release what DeepSpeed and the rollout engine hold."""
        if self.sampler is not None:
            self.sampler.close()
        for learner in self._learners:
            learner.close()

    @property
    def _learners(self) -> list[Learner]:
        return [self.learner] if self.critic is None else [self.learner, self.critic]

    def _state(self, step: int, offset: int) -> State:
        return State(
            step,
            offset,
            self.guard.skipped_in_a_row,
            self.guard.apart_in_a_row,
            self.sampler is not None and self.sampler.restarted,
            self.idle,
            self.resume.training,
        )

    def _restore(self) -> int:
        state = self.resume.load(self._learners)
        self.ranks.wait()
        if state is None:
            if self.ranks.first:
                self.resume.clear()
                self.metrics.unlink(missing_ok=True)
            return 0
        self.guard = Guard(state.skipped_in_a_row, state.apart_in_a_row)
        if self.sampler is not None:
            self.sampler.restarted = state.restarted
        self.idle = state.idle
        if self.ranks.first:
            with self.metrics.open("r+") as file:
                file.truncate(state.offset)
        return state.step

    # ------------------------------------------------------------------------------------- set-up

    def _rollouts(self, items: Sequence[Item], sampler: PolicySampler) -> Rollouts:
        """The groups of each step, with what other models wrote."""
        external: dict[str, ExternalResponses] = {}
        if self.stage.external is not None and self.inputs.external is not None:
            external = read_external(
                self.inputs.external, self.encoder, self.stage.max_response_tokens
            )
            if (dropped := sum(e.dropped for e in external.values())) and self.ranks.first:
                log.warning("%d external responses are too long and left out", dropped)
        return Rollouts(self.stage, self.inputs.seed, items, self.encoder, sampler.sample, external)

    def _base(self, batch: PackedBatch, temperature: float) -> torch.Tensor:
        """Log-probabilities [N] of the model that the adapters were put on: the reference where
        only they are trained."""
        with without_adapters(self.model):
            return self.learner.per_token(batch, temperature)


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


def _parts(samples: Sequence[Sample], stage: Stage) -> list[list[Sample]]:
    """The samples of each update: equal stretches of the step's places, whatever the rank."""
    updates = stage.updates_per_rollout
    parts: list[list[Sample]] = [[] for _ in range(updates)]
    for sample in samples:
        parts[sample.place * updates // stage.questions_per_step].append(sample)
    return parts
