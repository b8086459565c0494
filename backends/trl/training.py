"""One stage, trained by TRL in this process."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path
from typing import Any

import torch
from transformers import PrinterCallback, ProcessorMixin

from backends.base.backend import Inputs, TrainingError
from backends.base.resources import Resources
from backends.base.stage import Stage
from backends.models.encoding import Encoder
from backends.models.families import family_of
from backends.models.folders import (
    load_model,
    load_processor,
    save_checkpoint,
    tokenizer_of,
)
from backends.training.objectives import objective
from backends.training.ranks import pick_device
from backends.training.schedule import learning_rate
from backends.trl.grpo import GroupTrainer
from backends.trl.library import GRPOConfig, SFTConfig, unwarned
from backends.trl.mapping import arguments, rows_per_micro_batch
from backends.trl.progress import Ledger, Progress, State, training_id
from backends.trl.questions import Questions
from backends.trl.sft import TargetTrainer
from benchmarks.data.questions import load_questions


def train(stage: Stage, inputs: Inputs, resources: Resources, workdir: Path) -> None:
    """Leave ``checkpoint/`` and ``metrics.jsonl`` in ``workdir``, from the start or from the saved
    state. Raises TrainingError."""
    items = load_questions(inputs.questions)
    objective(stage).check(items, inputs.questions)
    torch.set_num_threads(resources.threads)
    device = pick_device(resources.device)
    model: Any = load_model(inputs.model, "float32", device)
    family = family_of(model)
    if stage.freeze_vision and (tower := family.vision_tower(model)) is not None:
        tower.requires_grad_(False)
    processor = load_processor(inputs.model)
    encoder = Encoder(family, processor, stage.max_prompt_tokens)
    questions = Questions(items, stage, inputs.seed, encoder)
    ledger = Ledger()
    trainer = _trainer(stage, inputs, resources, workdir, questions, ledger, model, processor)
    progress = Progress(
        ledger,
        model,
        workdir / "metrics.jsonl",
        workdir / "resume",
        resources.save_every,
        State(training_id(stage, inputs, resources)),
    )
    trainer.remove_callback(PrinterCallback)
    # It prints a whole prompt for every step with a response that has no reward; we count them.
    logging.getLogger("trl").setLevel(logging.ERROR)
    trainer.add_callback(progress)
    saved = progress.resume()
    with unwarned():
        trainer.train(resume_from_checkpoint=None if saved is None else str(saved))
    if progress.state.updates == 0:
        raise TrainingError(
            f"{stage.steps} steps went by without one update of the weights: see "
            f"unusable_groups, dropped_prompts and skipped_steps in {progress.metrics}"
        )
    model.to(getattr(torch, resources.dtype))
    # The processor as it was: TRL pads on the left.
    save_checkpoint(model, load_processor(inputs.model), workdir / "checkpoint")
    shutil.rmtree(progress.folder, ignore_errors=True)


def _trainer(
    stage: Stage,
    inputs: Inputs,
    resources: Resources,
    workdir: Path,
    questions: Questions,
    ledger: Ledger,
    model: Any,
    processor: ProcessorMixin,
) -> Any:
    learnt = objective(stage)
    longest = questions.longest(0) + stage.max_response_tokens
    rows = stage.questions_per_step * learnt.group_size
    settings = arguments(
        stage,
        resources,
        inputs.seed,
        workdir / "resume",
        rows_per_micro_batch(rows, longest, resources.tokens_per_micro_batch),
        next(model.parameters()).is_cuda,
    )
    optimizer = torch.optim.AdamW(
        [p for p in model.parameters() if p.requires_grad],
        lr=stage.lr,
        betas=stage.betas,
        weight_decay=stage.weight_decay,
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: learning_rate(stage, step) / stage.lr
    )
    given = {"model": model, "processing_class": processor, "optimizers": (optimizer, schedule)}
    with unwarned():
        if learnt.has_rollouts:
            tokenizer_of(processor).padding_side = "left"
            suppressed = list(questions.encoder.suppressed)
            settings["generation_kwargs"] = {"suppress_tokens": suppressed}
            return GroupTrainer(questions, stage, ledger, args=GRPOConfig(**settings), **given)
        return TargetTrainer(questions, stage, ledger, args=SFTConfig(**settings), **given)
