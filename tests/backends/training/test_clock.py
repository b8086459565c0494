"""Seconds of a step by phase."""

from __future__ import annotations

import pytest

from backends.training import clock
from backends.training.clock import Clock


def test_a_phase_within_a_phase_counts_once(monkeypatch: pytest.MonkeyPatch) -> None:
    moments = iter([0.0, *(1.0, 3.0, 8.0, 10.0), *(11.0, 12.0), 20.0])
    monkeypatch.setattr(clock, "_now", lambda: next(moments))
    made = Clock()
    with made.timed("rollout"), made.timed("reward"):
        pass
    with made.timed("rollout"):
        pass
    assert made.seconds == {"reward": 5.0, "rollout": 4.0 + 1.0}
    assert made.measured == 10.0
    assert made.elapsed == 20.0
