"""Our trainer, stopped within a step."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from backends.deepspeed.learner import Learner

from ..stopping import Killed
from ..trained import Train, Trained, same


@contextmanager
def killed_at_update(number: int) -> Iterator[None]:
    """Kills the training inside when it comes to its optimizer step of this number."""
    step, calls = Learner.step, []

    def stop(self: Learner, lr: float) -> tuple[bool, float]:
        calls.append(lr)
        if len(calls) == number:
            raise Killed
        return step(self, lr)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Learner, "step", stop)
        with pytest.raises(Killed):
            yield


def goes_on_bit_for_bit(train: Train, at: int, **given: Any) -> Trained:
    """A training that is killed at an update and started again ends as an undisturbed one."""
    whole = train("whole", **given)
    with killed_at_update(at):
        train("stopped", **given)
    stopped = train("stopped", **given)
    assert same(stopped.weights, whole.weights)
    assert stopped.figures() == whole.figures()
    return stopped
