"""What goes on beside TRL's own loop: metrics, refused gradients, states to resume from."""

from __future__ import annotations

import hashlib
import json
import math
import shutil
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from backends.base.backend import Inputs, TrainingError
from backends.base.resources import Resources
from backends.base.stage import Stage
from backends.training.clock import Clock
from backends.training.figures import group_figures
from backends.training.limits import MAX_SKIPPED_IN_A_ROW
from backends.training.ranks import Ranks
from benchmarks.atomic import write_text


@dataclass
class Figures:
    """What is known of one step: each group's place and figures, tokens, dropped prompts, and
    whether any group takes part in the update."""

    rows: list[tuple[int, Mapping[str, float]]] = field(default_factory=list)
    tokens: int = 0
    dropped: int = 0
    usable: bool = False


class Ledger:
    """The figures of each step, by its number from 0 (a data loader reads ahead), and the clock of
    the step that runs: what none of the timed phases took of it was the update."""

    def __init__(self) -> None:
        self.steps: defaultdict[int, Figures] = defaultdict(Figures)
        self.restart()

    def restart(self) -> None:
        """Start the clock of a step."""
        self.clock = Clock()

    @contextmanager
    def timed(self, phase: str) -> Iterator[None]:
        """Add the time inside to a phase; a phase within a phase counts once, as its own."""
        with self.clock.timed(phase):
            yield

    def phases(self) -> dict[str, float]:
        """Seconds since the start by phase."""
        phases = ("rollout", "reward", "reference")
        seconds = {name: self.clock.seconds.get(name, 0.0) for name in phases}
        return {**seconds, "update": self.clock.elapsed - sum(seconds.values())}


@dataclass
class State:
    """A saved point: ``step`` steps are done, ``offset`` bytes of the metrics file describe them.

    ``updates`` of them changed the weights, the last ``skipped_in_a_row`` were refused.
    ``training`` identifies the training, so that the state of another is not continued.
    """

    training: str
    step: int = 0
    offset: int = 0
    updates: int = 0
    skipped_in_a_row: int = 0


@dataclass
class Progress(TrainerCallback):
    """Called by the trainer at its events."""

    ledger: Ledger
    model: torch.nn.Module
    metrics: Path
    folder: Path
    save_every: int
    state: State
    skipped: float = field(default=0.0, init=False)

    def resume(self) -> Path | None:
        """The saved checkpoint of this very training, or None after clearing what is another's."""
        try:
            found = State(**json.loads((self.folder / "state.json").read_text()))
        except (FileNotFoundError, json.JSONDecodeError, TypeError):
            found = None
        if found is None or found.training != self.state.training:
            shutil.rmtree(self.folder, ignore_errors=True)
            self.metrics.unlink(missing_ok=True)
            return None
        self.state = found
        with self.metrics.open("r+") as file:
            file.truncate(found.offset)
        return self.folder / f"checkpoint-{found.step}"

    def on_train_begin(self, *_: Any, **__: Any) -> None:
        self.ledger.restart()

    def on_pre_optimizer_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Withhold a gradient that is not finite, and one of no group at all: without gradients
        the optimizer leaves weights and moments alone. In a step without pictures it is not to
        leave out the vision tower."""
        trained = [p for p in self.model.parameters() if p.requires_grad]
        for parameter in trained:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        finite = all(bool(torch.isfinite(p.grad).all()) for p in trained if p.grad is not None)
        usable = self.ledger.steps[state.global_step].usable
        self.skipped = float(usable and not finite)
        if usable and finite:
            self.state.updates += 1
        else:
            for parameter in trained:
                parameter.grad = None
        self.state.skipped_in_a_row = self.state.skipped_in_a_row + 1 if self.skipped else 0
        if self.state.skipped_in_a_row >= MAX_SKIPPED_IN_A_ROW:
            raise TrainingError(
                f"step {state.global_step + 1}: the gradient was not finite "
                f"{self.state.skipped_in_a_row} times in a row. A lower lr or float32 usually "
                "helps; weights that are not finite in the starting checkpoint never recover."
            )

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> TrainerControl:
        done = state.global_step
        control.should_save = done % self.save_every == 0 and done < state.max_steps
        return control

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **_: Any,
    ) -> None:
        """Append the step's row. Called once a step, and once more with a summary of the whole."""
        if logs is None or "learning_rate" not in logs:
            return
        figures = self.ledger.steps.pop(state.global_step - 1)
        theirs = {
            "clip_share": "clip_ratio/region_mean",
            "kl": "kl",
            "entropy": "entropy",
            "loss": "loss",
            "grad_norm": "grad_norm",
        }
        found = {ours: logs[name] for ours, name in theirs.items() if name in logs}
        row = {
            "step": state.global_step,
            **group_figures(figures.rows, Ranks(0, 1, args.device)),
            **{name: value for name, value in found.items() if math.isfinite(value)},
            "tokens": figures.tokens,
            "dropped_prompts": figures.dropped,
            "skipped_steps": self.skipped,
            "lr": logs["learning_rate"],
            **{f"seconds_{name}": value for name, value in self.ledger.phases().items()},
        }
        with self.metrics.open("a") as file:
            file.write(json.dumps(row) + "\n")
        self.ledger.restart()

    def on_save(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Switch to the checkpoint that was just written, then remove the older ones."""
        self.state.step, self.state.offset = state.global_step, self.metrics.stat().st_size
        record = self.folder / "state.json"
        write_text(record, json.dumps(asdict(self.state)))
        for other in self.folder.glob("checkpoint-*"):
            if other.name != f"checkpoint-{state.global_step}":
                shutil.rmtree(other)
        self.ledger.restart()


def training_id(stage: Stage, inputs: Inputs, resources: Resources) -> str:
    """Identifies what a saved state belongs to."""
    parts = [stage.model_dump(mode="json"), str(inputs.model), str(inputs.questions), inputs.seed]
    text = json.dumps([*parts, resources.dtype], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
