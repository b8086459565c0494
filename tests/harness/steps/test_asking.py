"""One engine is open at a time, and is closed before another one takes the memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from backends.base.engine import EngineError
from backends.base.resources import Resources
from harness.errors import StepError
from harness.steps.asking import EngineHolder

CPU = Resources(device="cpu")


class Fake:
    def __init__(self, events: list[str], name: str) -> None:
        self.events, self.name = events, name
        events.append(f"open {name}")

    def close(self) -> None:
        self.events.append(f"close {self.name}")


@pytest.fixture
def events(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    told: list[str] = []

    def open_engine(name: str, model: Path | None, **settings: Any) -> Fake:
        if model == Path("broken"):
            raise EngineError("no such weights")
        return Fake(told, f"{name} {model}")

    monkeypatch.setattr("backends.engines.registry.open_engine", open_engine)
    return told


def test_the_same_model_is_opened_once_and_another_after_it_is_closed(events: list[str]) -> None:
    holder = EngineHolder()
    first = holder.open("hf", Path("a"), CPU, 64)
    assert holder.open("hf", Path("a"), CPU, 64) is first
    holder.open("hf", Path("b"), CPU, 64)
    holder.open("hf", Path("b"), CPU, 64, max_tokens=2)
    holder.release()
    holder.release()
    once = ["open hf b", "close hf b"]
    assert events == ["open hf a", "close hf a", *once, *once]


def test_an_engine_that_does_not_start_leaves_none_open(events: list[str]) -> None:
    holder = EngineHolder()
    holder.open("hf", Path("a"), CPU, 64)
    with pytest.raises(StepError, match="no such weights"):
        holder.open("hf", Path("broken"), CPU, 64)
    holder.open("hf", Path("a"), CPU, 64)
    assert events == ["open hf a", "close hf a", "open hf a"]
