"""The training loop: questions, responses, rewards, advantages, update; once a step."""

from __future__ import annotations

import copy
import json
import math
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from backends.base import Inputs, Resources, Stage, TrainingError
from backends.deepspeed.advantages import group_advantages
from backends.deepspeed.checkpoint import Resume, State, training_id
from backends.deepspeed.learner import Learner
from backends.deepspeed.objectives import divergence
from backends.deepspeed.policy import Policy
from backends.deepspeed.process import Ranks
from backends.deepspeed.samples import QuestionOrder, Sample, reward, roll_out
from backends.deepspeed.sft import demonstrations, target
from backends.deepspeed.update import Totals, Updater
from backends.encoding import Encoder
from backends.engines.hf import HFEngine
from backends.models import load_model, load_processor, save_checkpoint, suppressed_token_ids
from backends.rewards import reward as reward_entry
from benchmarks.base import Item
from benchmarks.questions import load_questions

#: A training whose steps are refused so many times in a row will not recover.
MAX_SKIPPED_IN_A_ROW = 3

#: Row figures that are counts of a step, not means over its groups.
_COUNTS = {"zero_variance_groups", "unusable_groups", "reward_errors", "ties", "unlabelled"}


class Training:
    """One stage on one rank."""

    def __init__(
        self, stage: Stage, inputs: Inputs, resources: Resources, workdir: Path, ranks: Ranks
    ) -> None:
        self.stage, self.inputs, self.ranks, self.workdir = stage, inputs, ranks, workdir
        items = load_questions(inputs.questions)
        _check_questions(items, stage, inputs.questions)
        self.order = QuestionOrder(items, stage.questions_per_step, inputs.seed)

        model = load_model(inputs.model, resources.dtype, ranks.device)
        self.processor = load_processor(inputs.model)
        self.encoder = Encoder(self.processor, stage.max_prompt_tokens)
        suppressed = suppressed_token_ids(self.processor)
        self.reference: Policy | None = None
        if stage.kl.beta > 0:
            self.reference = Policy(copy.deepcopy(model), suppressed).requires_grad_(False)
        self.engine = HFEngine(model, self.encoder, max(resources.tokens_per_micro_batch, 65536))
        policy = Policy(
            model,
            suppressed,
            freeze_vision=stage.freeze_vision,
            activation_checkpointing=resources.activation_checkpointing,
        )
        self.model = model
        self.learner = Learner(policy, stage, resources, ranks)
        self.updater = Updater(
            stage, self.learner, ranks, resources.tokens_per_micro_batch, self.encoder.pad_id
        )
        self.resume = Resume(workdir, training_id(stage, inputs, resources), ranks)
        self.save_every = resources.save_every
        self.metrics = workdir / "metrics.jsonl"
        self.skipped_in_a_row = 0

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
                state = State(done, offset, self.skipped_in_a_row, self.resume.training)
                self.resume.save(self.learner, state)
        if self.learner.updates == 0:
            raise TrainingError(
                f"{self.stage.steps} steps went by without one update of the weights: see "
                f"unusable_groups, dropped_prompts and skipped_steps in {self.metrics}"
            )
        with self.learner.gathered():
            if self.ranks.first:
                save_checkpoint(self.model, self.processor, self.workdir / "checkpoint")
        self.ranks.wait()
        if self.ranks.first:
            self.resume.clear()

    def _restore(self) -> int:
        state = self.resume.find()
        self.ranks.wait()
        if state is None:
            if self.ranks.first:
                self.resume.clear()
                self.metrics.unlink(missing_ok=True)
            return 0
        self.resume.load(self.learner, state)
        self.skipped_in_a_row = state.skipped_in_a_row
        if self.ranks.first:
            with self.metrics.open("r+") as file:
                file.truncate(state.offset)
        return state.step

    def _step(self, step: int) -> dict[str, float]:
        stage, seconds = self.stage, Counter[str]()
        mine = self.order.at(step)[self.ranks.rank :: self.ranks.world]
        if stage.objective == "sft":
            with _timed(seconds, "rollout"):
                samples, dropped = demonstrations(mine, self.encoder, stage)
        else:
            with _timed(seconds, "rollout"), self.learner.gathered():
                groups, dropped = roll_out(
                    mine, self.engine, self.encoder, stage, self.inputs.seed, step
                )
            with _timed(seconds, "reward"):
                for question, sample, responses in groups:
                    reward(question, sample, responses, stage)
            samples = [sample for _, sample, _ in groups]
        rows = [(s.place, s.row) for s in samples]
        sampled_tokens = sum(s.tokens for s in samples)
        samples = [s for s in samples if s.usable]
        with _timed(seconds, "reference"):
            self._compare(samples)
        for sample in samples:
            sample.advantages = group_advantages(
                sample.rewards, stage.advantage, stage.advantage_eps
            )
        lr = stage.lr * min(1.0, (step + 1) / max(stage.warmup_steps, 1))
        totals = Totals()
        with _timed(seconds, "update"):
            for part in _parts(samples, stage):
                applied = self.updater.update(part, lr, totals)
                self._count_skipped(applied, totals, step)
        row = self._row(rows, totals, sampled_tokens, dropped)
        return {"step": step + 1, **row, "lr": lr} | {f"seconds_{k}": v for k, v in seconds.items()}

    def _compare(self, samples: list[Sample]) -> None:
        """Log-probabilities before the update and of the reference, where the stage needs them."""
        stage = self.stage
        in_reward = stage.kl.beta > 0 and stage.kl.place == "reward"
        if stage.updates_per_rollout > 1 or in_reward:
            values = self.updater.log_probabilities(samples, self.learner.logp)
            for sample, logp in zip(samples, values, strict=True):
                sample.old = logp
        if self.reference is not None:
            for sample, logp in zip(
                samples,
                self.updater.log_probabilities(samples, self.reference),
                strict=True,
            ):
                sample.reference = logp
        if in_reward:
            for sample in samples:
                _charge(sample, stage)

    def _count_skipped(self, applied: bool, totals: Totals, step: int) -> None:
        self.skipped_in_a_row = 0 if applied else self.skipped_in_a_row + 1
        if self.skipped_in_a_row >= MAX_SKIPPED_IN_A_ROW:
            raise TrainingError(
                f"step {step + 1}: the gradient was not finite {self.skipped_in_a_row} times in "
                f"a row (loss {totals.loss:g}). A lower lr or float32 usually helps; weights that "
                "are not finite in the starting checkpoint never recover."
            )

    def _row(
        self,
        rows: list[tuple[int, dict[str, float]]],
        totals: Totals,
        sampled_tokens: int,
        dropped: int,
    ) -> dict[str, float]:
        """The step's figures over all ranks; groups in the order of their places, so that the sums
        round alike for any number of ranks."""
        by_place = sorted(
            (pair for part in self.ranks.gather(rows) for pair in part), key=lambda pair: pair[0]
        )
        values: dict[str, list[float]] = defaultdict(list)
        for _, figures in by_place:
            for key, value in figures.items():
                values[key].append(value)
        row = {
            key: math.fsum(found) if key in _COUNTS else math.fsum(found) / len(found)
            for key, found in values.items()
        }
        loss, kl, clipped, gap, trained, tokens, drops = self.ranks.sum(
            totals.loss,
            totals.kl,
            totals.clipped,
            totals.gap,
            totals.tokens,
            sampled_tokens,
            dropped,
        )
        if trained and self.stage.objective == "grpo":
            row["clip_share"] = clipped / trained
            row["engine_gap"] = gap / trained
            if self.reference is not None:
                row["kl"] = kl / trained
        finite = [norm for norm in totals.norms if math.isfinite(norm)]
        if finite:
            row["grad_norm"] = math.fsum(finite) / len(finite)
        if math.isfinite(loss):
            row["loss"] = loss / self.stage.updates_per_rollout
        return row | {
            "tokens": tokens,
            "dropped_prompts": drops,
            "skipped_steps": float(totals.skipped),
        }


def train(stage: Stage, inputs: Inputs, resources: Resources, workdir: Path, ranks: Ranks) -> None:
    """Train a stage on this rank; the first rank writes into ``workdir``. Raises TrainingError."""
    threads = torch.get_num_threads()
    torch.set_num_threads(resources.threads)
    training = Training(stage, inputs, resources, workdir, ranks)
    try:
        training.run()
    finally:
        training.learner.close()
        torch.set_num_threads(threads)


def _check_questions(items: list[Item], stage: Stage, path: Path) -> None:
    if not items:
        raise TrainingError(f"{path} holds no question")
    supervised = [r.name for r in stage.rewards if reward_entry(r.name).needs_answer]
    if stage.objective == "grpo" and supervised and not any(i.answer.strip() for i in items):
        raise TrainingError(
            f"reward {supervised[0]!r} needs labels and none of the {len(items)} questions of "
            f"{path} has an answer"
        )
    if stage.objective == "sft" and not any(target(i, stage.template) for i in items):
        raise TrainingError(
            f"sft needs worked solutions or answers and none of the {len(items)} questions of "
            f"{path} has either"
        )


def _parts(samples: list[Sample], stage: Stage) -> Iterator[list[Sample]]:
    """The samples of each update: equal stretches of the step's places, whatever the rank."""
    updates = stage.updates_per_rollout
    parts: list[list[Sample]] = [[] for _ in range(updates)]
    for sample in samples:
        parts[sample.place * updates // stage.questions_per_step].append(sample)
    yield from parts


def _charge(sample: Sample, stage: Stage) -> None:
    """Take beta times the response's divergence, summed over its tokens, off its reward."""
    assert sample.old is not None
    assert sample.reference is not None
    kl = divergence(sample.old, sample.reference, stage.kl.form)
    lengths = [len(r) for r in sample.group.responses]
    charges = [float(part.sum()) for part in kl.split(lengths)]
    sample.rewards = [
        None if r is None else r - stage.kl.beta * charge
        for r, charge in zip(sample.rewards, charges, strict=True)
    ]


@contextmanager
def _timed(seconds: Counter[str], phase: str) -> Iterator[None]:
    start = time.perf_counter()
    yield
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    seconds[phase] += time.perf_counter() - start  # type: ignore[assignment]
