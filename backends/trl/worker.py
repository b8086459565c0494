"""A training in a process of its own: ``python -m backends.trl.worker SPEC 0``.

TRL sets seeds, an accelerator state and patches that belong to a whole process; and a GPU's memory
is free again when it ends.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from backends.base.resources import Resources
from backends.training.workers import Job, launch, work


def run(job: Job) -> None:
    """Run the training in a process that dies with this one, however it dies.

    Its output goes to ``workdir/trl.log``, which is removed when all went well. Raises
    TrainingError with the training's reason.
    """
    log = job.workdir / "trl.log"
    launch("backends.trl.worker", job, {0: log}, _environment(job.resources))
    log.unlink()


def _environment(resources: Resources) -> dict[str, str]:
    """This process's, less what would make TRL one rank of many or spread it over all GPUs."""
    ranks = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
    kept = {k: v for k, v in os.environ.items() if k not in ranks}
    if resources.device != "cpu":
        kept["CUDA_VISIBLE_DEVICES"] = kept.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0]
    return kept


def _train(job: Job) -> None:
    from backends.trl.training import train

    train(job.stage, job.inputs, job.resources, job.workdir)


if __name__ == "__main__":
    sys.exit(work(Path(sys.argv[1]), int(sys.argv[2]), _train))
