"""TRL's ``SFTTrainer`` on our targets: the same tokens that our own trainer learns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch.nn.utils.rnn import pad_sequence

from backends.base.stage import Stage
from backends.models.pictures import joined
from backends.training.objectives import objective
from backends.training.targets import target_samples
from backends.trl.common import Common
from backends.trl.library import SFTTrainer
from backends.trl.progress import Ledger
from backends.trl.questions import Questions

_IGNORED = -100


class TargetTrainer(Common, SFTTrainer):
    """TRL's trainer over rows that the collator turns into prompts and targets."""

    def __init__(self, questions: Questions, stage: Stage, ledger: Ledger, **given: Any) -> None:
        self.ledger = ledger
        super().__init__(
            train_dataset=questions.dataset(),
            data_collator=Targets(questions, stage, ledger),
            **given,
        )
        # Qwen2.5-VL declares that its own loss takes no token count, for which Trainer would
        # average the means of micro-batches; but the loss is TRL's, which takes it.
        self.model_accepts_loss_kwargs = True


class Targets:
    """Collates rows: each prompt with its target, right-padded; only targets carry labels.

    A question that is dropped (too long, or without a target) is left out of its batch; a batch
    of none is one row without labels.
    """

    def __init__(self, questions: Questions, stage: Stage, ledger: Ledger) -> None:
        self.questions, self.objective, self.ledger = questions, objective(stage), ledger

    def __call__(self, examples: Sequence[dict[str, int]]) -> dict[str, Any]:
        encoder = self.questions.encoder
        drawn = [self.questions.drawn(example["row"]) for example in examples]
        samples, dropped = target_samples(drawn, encoder, self.objective)
        figures = self.ledger.steps[self.questions.step(examples[0]["row"])]
        figures.dropped += dropped
        figures.usable |= bool(samples)
        figures.rows += [(sample.place, sample.figures) for sample in samples]
        figures.tokens += sum(sample.tokens for sample in samples)
        ids, labels = [], []
        for sample in samples:
            prompt, target = sample.group.prompt.input_ids, torch.tensor(sample.group.responses[0])
            ids.append(torch.cat([prompt, target]))
            labels.append(torch.cat([torch.full_like(prompt, _IGNORED), target]))
        if not samples:
            ids, labels = [torch.tensor([encoder.pad_id] * 2)], [torch.tensor([_IGNORED] * 2)]
        masks = [torch.ones_like(row) for row in ids]
        input_ids = pad_sequence(ids, batch_first=True, padding_value=encoder.pad_id)
        batch = {
            "input_ids": input_ids,
            "labels": pad_sequence(labels, batch_first=True, padding_value=_IGNORED),
            "attention_mask": pad_sequence(masks, batch_first=True),
        }
        pictures = [each for sample in samples for each in sample.group.prompt.pictures]
        placeholder = encoder.placeholder
        return batch | encoder.family.stock_inputs(input_ids, joined(pictures), placeholder)
