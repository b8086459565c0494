"""Both trainers keep the contract that is shipped for every backend."""

from __future__ import annotations

from pathlib import Path

import pytest

from backends.base.backend import Backend
from backends.registry import backend
from backends.testing.backends import BackendContract
from benchmarks.base import Item

#: DeepSpeed 0.19.8 calls collectives by names that torch 2.13 has deprecated.
pytestmark = pytest.mark.filterwarnings(
    r"ignore:`torch\.distributed\.\w+` is deprecated:FutureWarning"
)


class TestDeepSpeed(BackendContract):
    def make(self) -> Backend:
        return backend("deepspeed")

    @pytest.mark.slow
    def test_a_training_that_is_killed_goes_on(self, tmp_path: Path, items: list[Item]) -> None:
        """As its own tests of resuming show at each of several moments."""
        super().test_a_training_that_is_killed_goes_on(tmp_path, items)


@pytest.mark.slow
class TestTRL(BackendContract):
    """Each training starts a process of ten seconds."""

    stage = BackendContract.stage | {"advantage_eps": 1e-4}

    def make(self) -> Backend:
        pytest.importorskip("trl")
        return backend("trl")
