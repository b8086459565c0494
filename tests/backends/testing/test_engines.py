"""Engines keep the contract that is shipped for every engine: ours, and one that a package
offers."""

from __future__ import annotations

import pytest
from transformers import PreTrainedModel

from backends.base.engine import Engine
from backends.engines.hf import HFEngine
from backends.models.encoding import Encoder
from backends.testing.engines import EngineContract


class TestHF(EngineContract):
    @pytest.fixture
    def engine(self, model: PreTrainedModel, encoder: Encoder) -> Engine:
        return HFEngine(model, encoder)

    @pytest.fixture
    def forbidden(self, encoder: Encoder) -> frozenset[int]:
        return frozenset(encoder.suppressed)
