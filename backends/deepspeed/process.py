"""The ranks of one training: how they find each other and what they tell each other."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from torch import distributed

#: One rank may wait for another that samples long responses.
TIMEOUT = timedelta(hours=1)


@dataclass(frozen=True)
class Ranks:
    """This process among the ``world`` processes of a training, and its device."""

    rank: int
    world: int
    device: torch.device

    @property
    def first(self) -> bool:
        return self.rank == 0

    def sum(self, *values: float) -> list[float]:
        """Sums over all ranks, exact for counts."""
        if self.world == 1:
            return list(values)
        total = torch.tensor(values, dtype=torch.float64, device=self.device)
        distributed.all_reduce(total)
        return total.tolist()

    def most(self, value: int) -> int:
        """The largest value of any rank."""
        if self.world == 1:
            return value
        largest = torch.tensor(value, device=self.device)
        distributed.all_reduce(largest, distributed.ReduceOp.MAX)
        return int(largest)

    def gather(self, value: Any) -> list[Any]:
        """The value of every rank, in order of rank."""
        if self.world == 1:
            return [value]
        values: list[Any] = [None] * self.world
        distributed.all_gather_object(values, value)
        return values

    def wait(self) -> None:
        """Go on when every rank is here."""
        if self.world > 1:
            distributed.barrier()


def pick_device(name: str, rank: int = 0) -> torch.device:
    """The device of a rank for "auto", "cpu" or "cuda"."""
    cuda = name == "cuda" or (name == "auto" and torch.cuda.is_available())
    return torch.device("cuda", rank) if cuda else torch.device("cpu")


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
