"""The processes of one training, and the device of each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import distributed


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
