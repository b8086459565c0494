"""When a training that goes wrong is ended, and what does not count."""

from __future__ import annotations

import pytest

from backends.base.backend import TrainingError
from backends.deepspeed.guard import Guard
from backends.deepspeed.update import Outcome


def test_three_refused_updates_in_a_row_end_a_training() -> None:
    guard = Guard()
    for outcome in (Outcome.REFUSED, Outcome.REFUSED, Outcome.APPLIED, Outcome.REFUSED):
        guard.update(outcome, 1.0, 0)
    # What was not tried says nothing about recovering: it neither counts nor forgives.
    for outcome in (Outcome.EMPTY, Outcome.IDLE, Outcome.REFUSED):
        guard.update(outcome, 1.0, 0)
    with pytest.raises(TrainingError, match=r"step 5: .* 3 times in a row \(loss 2\)"):
        guard.update(Outcome.REFUSED, 2.0, 4)


def test_three_steps_of_another_engine_in_a_row_end_a_training() -> None:
    guard = Guard()
    for step, factor in enumerate((1.2, 1.2, 1.0, 1.2, 1.2)):
        guard.engine(factor, step)
    with pytest.raises(TrainingError, match=r"step 6: .* differ by a factor of 1\.300"):
        guard.engine(1.3, 5)
