"""One rank of a training in a process of its own: ``python -m backends.deepspeed.worker SPEC
RANK``.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from backends.training.workers import Job, work


def main(spec: Path, rank: int) -> int:
    def train(job: Job) -> None:
        from backends.deepspeed.loop import train
        from backends.deepspeed.process import joined

        processes, device = job.resources.processes, job.resources.device
        with joined(rank, processes, device, spec.with_name("ranks")) as ranks:
            train(job.stage, job.inputs, job.resources, job.workdir, ranks)

    return work(spec, rank, train)


if __name__ == "__main__":
    code = main(Path(sys.argv[1]), int(sys.argv[2]))
    # A rank that failed may hold collectives that the others never join: leave without waiting for
    # them.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
