"""One rank of several trainings in one process: ``python ranks.py RANK WORLD FOLDER``.

The folder holds ``jobs.json``: a list of {name, stage, resources, model, questions, seed}, and
"dies" where the last rank's rollout engine is to fail that many times from its second request on.
Starting a process costs ten times what one of these trainings does.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from backends.base.backend import Inputs
from backends.base.engine import EngineError
from backends.base.resources import Resources
from backends.base.stage import Stage
from backends.deepspeed.loop import train
from backends.deepspeed.process import joined
from backends.deepspeed.sampler import PolicySampler

rank, world, folder = int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])
sample = PolicySampler.sample


def dying(times: int) -> Any:
    calls: list[int] = []

    def fails(self: PolicySampler, *given: Any) -> Any:
        calls.append(len(calls))
        if rank == world - 1 and 1 <= calls[-1] <= times:
            raise EngineError("the engine is gone")
        return sample(self, *given)

    return fails


for job in json.loads((folder / "jobs.json").read_text()):
    workdir = folder / job["name"]
    workdir.mkdir(exist_ok=True)
    PolicySampler.sample = dying(job.get("dies", 0))  # type: ignore[method-assign]
    with joined(rank, world, "cpu", folder / f"{job['name']}.ranks") as ranks:
        train(
            Stage.model_validate(job["stage"]),
            Inputs(Path(job["model"]), Path(job["questions"]), job["seed"]),
            Resources.model_validate(job["resources"]),
            workdir,
            ranks,
        )
