"""The ranks of one training: how they find each other and what they tell each other."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from torch import distributed

from backends.training.ranks import Ranks, pick_device

#: One rank may wait for another that samples long responses.
TIMEOUT = timedelta(hours=1)


@contextmanager
def joined(rank: int, world: int, device: str, rendezvous: Path | None) -> Iterator[Ranks]:
    """Join the process group for the time of a training; DeepSpeed finds it joined.

    ``rendezvous`` is a file that all ranks can write (None where there is only one): no port to be
    taken by somebody else. Afterwards the process is as it was, so that it can train again.
    """
    place = pick_device(device, rank)
    store: Any = distributed.HashStore()
    if rendezvous is not None:
        store = distributed.FileStore(str(rendezvous), world)
    variables = {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(world),
        "LOCAL_SIZE": str(world),
        "DS_ACCELERATOR": place.type,
    }
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    if place.type == "cuda":
        torch.cuda.set_device(place)
    distributed.init_process_group(
        "nccl" if place.type == "cuda" else "gloo",
        store=store,
        rank=rank,
        world_size=world,
        timeout=TIMEOUT,
    )
    try:
        yield Ranks(rank, world, place)
    finally:
        _leave()
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _leave() -> None:
    comm: Any = sys.modules.get("deepspeed.comm.comm")
    if comm is not None and comm.cdb is not None:
        comm.destroy_process_group()
        comm.cdb = None
    if distributed.is_initialized():
        distributed.destroy_process_group()
