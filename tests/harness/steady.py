"""A backend for tests of the runner: a real plug-in, found by entry point, that trains without
torch.

Its "weights" are a chain of hashes over (settings, model, questions, seed, step), so that a
training that lost or repeated a step after a kill ends with other weights. What a test wants to go
wrong is asked for through the environment, which is no part of a step's key; so is a file that has
to be there before the second step is taken.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import time
from pathlib import Path

from backends.base.backend import Inputs, TrainingError
from backends.base.resources import Resources
from backends.base.stage import Stage
from harness.store.files import write_json


class Steady:
    name = "steady"
    version = 1

    def problems(self, stage: Stage, resources: Resources) -> list[str]:
        return ["it cannot do top_p"] if stage.top_p < 1 else []

    def train(self, stage: Stage, inputs: Inputs, resources: Resources, workdir: Path) -> Path:
        log = Path(os.environ["STEADY_LOG"])
        saved = workdir / "resume" / "state.json"
        state = json.loads(saved.read_text()) if saved.exists() else {"step": 0, "weights": "start"}
        gpus = os.environ.get("CUDA_VISIBLE_DEVICES", "unset")
        with log.open("a") as file:
            file.write(f"begin {state['step']} {inputs.seed} {gpus}\n")
        metrics = workdir / "metrics.jsonl"
        rows = metrics.read_text().splitlines(True)[: state["step"]] if metrics.exists() else []
        metrics.write_text("".join(rows))
        for step in range(state["step"] + 1, stage.steps + 1):
            _go_wrong(step, stage, inputs)
            time.sleep(float(os.environ.get("STEADY_SECONDS", "0")))
            while step > 1 and not Path(os.environ.get("STEADY_GATE", "/")).exists():
                time.sleep(0.02)
            said = f"{stage.model_dump_json()} {inputs.seed} {step} {state['weights']}"
            state = {"step": step, "weights": hashlib.sha256(said.encode()).hexdigest()}
            with metrics.open("a") as file:
                file.write(json.dumps({"step": step, "reward": 0.5}) + "\n")
            write_json(saved, state)
        (workdir / "checkpoint").mkdir(exist_ok=True)
        (workdir / "checkpoint" / "weights.txt").write_text(state["weights"])
        with log.open("a") as file:
            file.write(f"end {stage.steps} {inputs.seed} {gpus}\n")
        return workdir / "checkpoint"


def _go_wrong(step: int, stage: Stage, inputs: Inputs) -> None:
    wrong, _, seed = os.environ.get("STEADY_WRONG", "").partition(" seed ")
    if step != 2 or (seed and int(seed) != inputs.seed):
        return
    if wrong == "raise":
        raise TrainingError("the gradient is not finite in three steps on end")
    if wrong == "crash":
        os.abort()
    if wrong == "vanish":
        os._exit(3)
    if wrong == "disk full":
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "weights.txt")
