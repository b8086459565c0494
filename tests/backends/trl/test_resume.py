"""A training that is killed goes on to the weights of an undisturbed one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import psutil
import pytest

from benchmarks.base import Item
from benchmarks.data.questions import save_questions

from ..stopping import Killed, kill_at, start
from .conftest import SMALL, Train, read, same

STAGES: dict[str, dict[str, Any]] = {
    "grpo": {"kl": {"beta": 0.1}},
    "sft": {"objective": "sft", "rewards": [], "max_response_tokens": 24},
}


@pytest.mark.parametrize("name", STAGES)
def test_a_stopped_training_goes_on_bit_for_bit(
    train: Train, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    from backends.trl.progress import Progress

    stage = STAGES[name] | {"steps": 5, "warmup_steps": 4}
    resources = {"save_every": 2, "tokens_per_micro_batch": 500}
    whole = train("whole", resources=resources, **stage)
    log = Progress.on_log

    def stop(self: Any, args: Any, state: Any, *rest: Any, **kwargs: Any) -> None:
        log(self, args, state, *rest, **kwargs)
        if state.global_step == 3:
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(Progress, "on_log", stop)
        with pytest.raises(Killed):
            train("stopped", resources=resources, **stage)
    saved = sorted(p.name for p in (whole.workdir.parent / "stopped" / "resume").iterdir())
    assert saved == ["checkpoint-2", "state.json"]
    stopped = train("stopped", resources=resources, **stage)
    assert same(stopped.weights, whole.weights)
    assert stopped.figures() == whole.figures()
    assert not (stopped.workdir / "resume").exists()


@pytest.mark.slow
def test_kill_9_and_again(
    train: Train, tmp_path: Path, model_folder: Path, items: list[Item]
) -> None:
    """The real thing: two processes, one killed; the trainer dies with it."""
    stage, resources = SMALL | {"steps": 30}, {"save_every": 4, "device": "cpu"}
    whole = train("whole", resources=resources, **stage)
    workdir, pool = tmp_path / "killed", save_questions(items, tmp_path / "pool")
    given = (workdir, stage, resources, model_folder, pool)
    children = kill_at(6, workdir, start("trl", *given))
    assert children
    assert not psutil.wait_procs(children, timeout=120)[1]
    assert not (workdir / "checkpoint").exists()
    assert start("trl", *given).wait() == 0
    killed = read(workdir)
    assert same(killed.weights, whole.weights)
    assert killed.figures() == whole.figures()
    assert sorted(p.name for p in workdir.iterdir()) == ["checkpoint", "metrics.jsonl"]
