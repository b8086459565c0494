"""When a training that goes wrong is ended."""

from __future__ import annotations

from dataclasses import dataclass

from backends.base.backend import TrainingError
from backends.deepspeed.update import Outcome
from backends.training.limits import MAX_SKIPPED_IN_A_ROW

#: Where engine and trainer disagree by more than this mean factor about what was sampled, the
#: policy learns from another's samples (NeMo-RL's gate). So many steps in a row end a training.
MAX_ENGINE_FACTOR, MAX_APART_IN_A_ROW = 1.05, 3


@dataclass
class Guard:
    """Counts, in a row, updates that were refused and steps whose engine disagrees."""

    skipped_in_a_row: int = 0
    apart_in_a_row: int = 0

    def update(self, outcome: Outcome, loss: float, step: int) -> None:
        """Count an update. Raises TrainingError where too many were refused."""
        if outcome in (Outcome.EMPTY, Outcome.IDLE):  # which says nothing about recovering
            return
        self.skipped_in_a_row = 0 if outcome is Outcome.APPLIED else self.skipped_in_a_row + 1
        if self.skipped_in_a_row >= MAX_SKIPPED_IN_A_ROW:
            raise TrainingError(
                f"step {step + 1}: the gradient was not finite {self.skipped_in_a_row} times in "
                f"a row (loss {loss:g}). A lower lr or float32 usually helps; weights that "
                "are not finite in the starting checkpoint never recover."
            )

    def engine(self, factor: float, step: int) -> None:
        """Count a step by its ``engine_factor``. Raises TrainingError where too many disagreed."""
        self.apart_in_a_row = self.apart_in_a_row + 1 if factor > MAX_ENGINE_FACTOR else 0
        if self.apart_in_a_row >= MAX_APART_IN_A_ROW:
            raise TrainingError(
                f"step {step + 1}: the rollout engine and the trainer give sampled tokens "
                f"probabilities that differ by a factor of {factor:.3f} on average, for "
                f"{self.apart_in_a_row} steps in a row (at most {MAX_ENGINE_FACTOR}). A top_p "
                "below 1 does that with vllm; else see whether both read the same prompts, or "
                "train in float32."
            )
