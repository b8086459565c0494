"""What every engine promises.

Same seed and settings, same text. An engine says why each response ended, and never samples an
image placeholder token.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from benchmarks.base import Picture


@dataclass(frozen=True)
class Request:
    """One prompt. ``id`` seeds its samples: they do not depend on what else is in the batch."""

    id: str
    text: str
    images: tuple[Picture, ...] = ()
    system: str = ""


@dataclass(frozen=True)
class Sampling:
    """How to sample. ``temperature`` 0 is greedy; ``n`` is the number of samples a request."""

    n: int = 1
    temperature: float = 0.0
    top_p: float = 1.0
    max_tokens: int = 64
    seed: int = 0


@dataclass(frozen=True)
class Response:
    """One response: text without special tokens, its token ids, and why it ended.

    ``tokens`` holds the ids as sampled, end-of-turn token included when ``finish`` is "stop".
    ``logp`` holds the engine's log-probability of each sampled token (empty where not asked for).
    """

    text: str
    tokens: tuple[int, ...]
    finish: str  # "stop" or "length"
    logp: tuple[float, ...] = ()


class Engine(Protocol):
    """Turns requests into responses; ``generate`` keeps the order of the requests."""

    def generate(
        self, requests: Sequence[Request], sampling: Sampling, *, logp: bool = False
    ) -> Iterator[tuple[int, list[Response]]]:
        """Yield (index of the request, its ``sampling.n`` responses) as they come, in any order;
        with ``logp`` they carry their tokens' log-probabilities."""
        ...
