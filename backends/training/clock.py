"""Where the time of a step goes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch


class Clock:
    """Seconds by phase (rollout, reward, reference, update) since it was made."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._started = _now()

    @contextmanager
    def timed(self, phase: str) -> Iterator[None]:
        """Add the time inside to a phase; a phase within a phase counts once, as its own."""
        start, before = _now(), self.measured
        yield
        inside = self.measured - before
        self.seconds[phase] = self.seconds.get(phase, 0.0) + _now() - start - inside

    @property
    def measured(self) -> float:
        """Seconds of all phases."""
        return sum(self.seconds.values())

    @property
    def elapsed(self) -> float:
        """Seconds since the start, those between phases included."""
        return _now() - self._started


def _now() -> float:
    """Seconds of a steady clock, all that was given to a GPU being done."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()
