"""vLLM on every rank: the samples of one, whatever ZeRO partitions and whichever engine dies."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from backends.base.backend import Inputs
from backends.base.resources import Resources
from backends.base.stage import Stage
from backends.registry import backend
from benchmarks import tiny
from benchmarks.data.questions import save_questions

from .conftest import SMALL, apart, read

pytest.importorskip("vllm", reason="vLLM is an optional dependency")

#: Three questions a step: the ranks sample unequal shares.
STAGE: dict[str, Any] = SMALL | {
    "rollout_engine": "vllm",
    "template": "boxed",
    "questions_per_step": 3,
    "max_response_tokens": 12,
    "lr": 1e-3,
    "steps": 2,
}


@pytest.mark.slow
def test_two_ranks_sample_what_one_does(tmp_path: Path) -> None:
    """Weights are gathered and renewed on both in every step, or engine and trainer would differ;
    and where one rank's engine dies both are started again, since they can only start together."""
    pool = save_questions(tiny.questions("train")[:6], tmp_path / "pool")
    jobs = [
        {
            "name": name,
            "stage": STAGE,
            "resources": {"zero_stage": stage, "processes": 2},
            "model": str(tiny.checkpoint()),
            "questions": str(pool),
            "seed": 0,
            "dies": dies,
        }
        for name, stage, dies in (("zero3", 3, 0), ("dies", 2, 1))
    ]
    (tmp_path / "jobs.json").write_text(json.dumps(jobs))
    command = [sys.executable, str(Path(__file__).with_name("ranks.py"))]
    workers = [
        subprocess.Popen(
            [*command, str(rank), "2", str(tmp_path)], stderr=subprocess.PIPE, text=True
        )
        for rank in range(2)
    ]
    outputs = [worker.communicate()[1] for worker in workers]
    assert [w.returncode for w in workers] == [0, 0], outputs[0][-2000:] + outputs[1][-2000:]
    assert "died and is started again: the engine is gone" in outputs[0]

    workdir = tmp_path / "alone"
    stage, inputs = Stage.model_validate(STAGE), Inputs(tiny.checkpoint(), pool, 0)
    backend("deepspeed").train(stage, inputs, Resources(), workdir)
    alone = read(workdir)
    assert all(row["grad_norm"] > 0 and row["engine_gap"] < 2e-4 for row in alone.metrics)
    for job in jobs:
        both = read(tmp_path / str(job["name"]))
        assert apart(both.weights, alone.weights) < 1e-5
        for a, b in zip(both.figures(), alone.figures(), strict=True):
            assert a == pytest.approx(b, rel=1e-3, abs=1e-4)
