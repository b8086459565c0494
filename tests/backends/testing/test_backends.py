"""Both trainers keep the contract that is shipped for every backend."""

from __future__ import annotations

import pytest

from backends.base.backend import Backend
from backends.registry import backend
from backends.testing.backends import BackendContract

#: DeepSpeed 0.19.8 calls collectives by names that torch 2.13 has deprecated.
pytestmark = pytest.mark.filterwarnings(
    r"ignore:`torch\.distributed\.\w+` is deprecated:FutureWarning"
)


class TestDeepSpeed(BackendContract):
    def make(self) -> Backend:
        return backend("deepspeed")


@pytest.mark.slow
class TestTRL(BackendContract):
    """Each training starts a process of ten seconds."""

    stage = BackendContract.stage | {"advantage_eps": 1e-4}

    def make(self) -> Backend:
        pytest.importorskip("trl")
        return backend("trl")
