"""Offloading moves the optimizer and the weights into main memory, and nothing else."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from backends.base.resources import Resources
from backends.deepspeed.learner import Learner

from .conftest import Train, same
from .policy.test_lora import close
from .test_resume import killed_at_update
from .test_zero import STAGE

SMALL = {"tokens_per_micro_batch": 150}


@pytest.mark.parametrize(
    ("zero_stage", "offload"),
    [(1, "optimizer"), (2, "optimizer"), (3, "optimizer"), (3, "weights")],
)
def test_offload_gives_the_weights_of_none(
    train: Train, monkeypatch: pytest.MonkeyPatch, zero_stage: int, offload: str
) -> None:
    plain = train("plain", **STAGE, resources=SMALL | {"zero_stage": zero_stage})
    there: list[tuple[str, str]] = []
    close_learner = Learner.close

    def look(self: Learner) -> None:
        zero = self.engine._config.zero_config
        parts = (zero.offload_optimizer, zero.offload_param)
        there.append(tuple(str(part.device) if part else "" for part in parts))
        close_learner(self)

    monkeypatch.setattr(Learner, "close", look)
    resources = SMALL | {"zero_stage": zero_stage, "offload": offload}
    close(train("offloaded", **STAGE, resources=resources), plain)
    assert [[bool(part) for part in parts] for parts in there] == [[True, offload == "weights"]]


@pytest.mark.parametrize("offload", ["optimizer", "weights"])
def test_an_offloaded_training_goes_on_bit_for_bit(train: Train, offload: str) -> None:
    resources: dict[str, Any] = {"zero_stage": 3, "offload": offload, "save_every": 1}
    whole = train("whole", **STAGE, resources=resources)
    with killed_at_update(4):
        train("stopped", **STAGE, resources=resources)
    stopped = train("stopped", **STAGE, resources=resources)
    assert same(stopped.weights, whole.weights)
    assert stopped.figures() == whole.figures()


@pytest.mark.parametrize(
    ("zero_stage", "offload", "said"),
    [(0, "optimizer", "needs zero_stage 1, 2 or 3"), (2, "weights", "needs zero_stage 3")],
)
def test_what_zero_does_not_partition_is_not_offloaded(
    zero_stage: int, offload: str, said: str
) -> None:
    with pytest.raises(ValidationError, match=said):
        Resources.model_validate({"zero_stage": zero_stage, "offload": offload})
