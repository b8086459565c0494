"""Whatever lies in a run folder's files, reading it ends in a result or in a sentence."""

from __future__ import annotations

import io
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from harness.commands.status import show
from harness.errors import HarnessError
from harness.results import reading
from tests.harness import synthetic_run

MUTATIONS = 500
VALUES = [None, 0, -1, 1e308, "", "x", [], {}, [None], {"a": 1}, True, "../../etc", "a\0b"]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("run")
    return synthetic_run.make(root, seeds=(0,), sweep=False, holes=False, steps=3)


def places(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place in a JSON value, by its keys."""
    yield at
    if isinstance(value, dict | list):
        for key, part in value.items() if isinstance(value, dict) else enumerate(value):
            yield from places(part, (*at, key))


def mutated(content: bytes, draw: random.Random) -> bytes:
    """Bytes flipped, an end cut off, or values replaced and removed."""
    how = draw.random()
    if how < 0.15:
        bytes_ = bytearray(content)
        for _ in range(draw.randint(1, 5)):
            bytes_[draw.randrange(len(bytes_))] = draw.randrange(256)
        return bytes(bytes_)
    if how < 0.2:
        return content[: draw.randrange(len(content))]
    value = json.loads(content)
    *way, last = draw.choice([at for at in places(value) if at])
    inner = value
    for key in way:
        inner = inner[key]
    if draw.random() < 0.3:
        del inner[last]
    else:
        inner[last] = draw.choice(VALUES)
    return json.dumps(value).encode()


def test_a_changed_file_is_a_result_or_a_sentence(run: Path) -> None:
    files = [run / "plan.json", *sorted(run.glob("trials/*/*.json"))]
    draw, refused = random.Random(0), []
    for _ in range(MUTATIONS):
        file = draw.choice(files)
        content = file.read_bytes()
        file.write_bytes(mutated(content, draw))
        try:
            assert reading.load(run).trials
            show(run, Console(file=io.StringIO()))
        except HarnessError as told:
            refused.append(str(told))
        file.write_bytes(content)
    assert 0 < len(refused) < MUTATIONS / 4
    assert all(str(run / "plan.json") in told and "\n" not in told for told in refused)
    assert all(trial.state == "ok" for trial in reading.load(run).trials)


def test_what_a_plan_names_stays_below_the_root(run: Path) -> None:
    file = next(run.glob("trials/*/result.json"))
    content = file.read_bytes()
    result = json.loads(content)
    next(iter(result["scores"].values()))["path"] = "../../etc"
    file.write_text(json.dumps(result))
    (trial,) = [t for t in reading.load(run).trials if t.id == file.parent.name]
    assert (trial.state, trial.scores) == ("missing", {})
    file.write_bytes(content)
