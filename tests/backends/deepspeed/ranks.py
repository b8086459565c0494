"""One rank of several trainings in one process: ``python ranks.py RANK WORLD FOLDER``.

The folder holds ``jobs.json``: a list of {name, stage, resources, model, questions, seed}. Starting
a process costs ten times what one of these trainings does.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from backends.base import Inputs, Resources, Stage
from backends.deepspeed.loop import train
from backends.deepspeed.process import joined

rank, world, folder = int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])
for job in json.loads((folder / "jobs.json").read_text()):
    workdir = folder / job["name"]
    workdir.mkdir(exist_ok=True)
    with joined(rank, world, "cpu", folder / f"{job['name']}.ranks") as ranks:
        train(
            Stage.model_validate(job["stage"]),
            Inputs(Path(job["model"]), Path(job["questions"]), job["seed"]),
            Resources.model_validate(job["resources"]),
            workdir,
            ranks,
        )
