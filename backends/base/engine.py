"""What every engine promises.

Same seed and settings, same text. An engine says why each response ended, and never samples an
image placeholder token.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from pydantic import Field, field_validator

from backends.base.config import Config
from benchmarks.base import Picture, interleaved


class EngineError(RuntimeError):
    """An engine that cannot start, or cannot go on, with the reason for its reader."""


class RequestError(EngineError):
    """A request that an engine refuses: it is well, and would refuse it again."""


class Server(Config):
    """A server that speaks OpenAI's protocol, and the model that it serves.

    ``model`` and ``revision`` say what answers; the rest is how it is reached. The key itself is
    never written down: ``api_key_env`` names the environment variable that holds it.
    """

    base_url: str = Field(description="with the version, as in http://localhost:8000/v1")
    model: str = Field(min_length=1, description="the name under which the server knows it")
    revision: str | None = Field(default=None, description="which state of it, where you know")
    api_key_env: str | None = Field(
        default=None, description="the environment variable that holds the key"
    )
    concurrency: int = Field(default=8, ge=1, description="requests at a time")
    timeout: float = Field(default=600, gt=0, description="seconds without an answer")
    retries: int = Field(default=5, ge=0, description="of a request that failed, with pauses")

    @field_validator("base_url")
    @classmethod
    def _url(cls, url: str) -> str:
        if not url.startswith(("http://", "https://")):
            raise ValueError("expected an address such as http://localhost:8000/v1")
        return url

    @property
    def identity(self) -> str:
        """What answers, for a result's identity."""
        return f"{self.model}@{self.revision}" if self.revision else self.model


@dataclass(frozen=True)
class Request:
    """One prompt. ``id`` seeds its samples: they do not depend on what else is in the batch.

    ``text`` may say with an ``<image>`` for each picture where it stands; without, they come first.
    """

    id: str
    text: str
    images: tuple[Picture, ...] = ()
    system: str = ""

    @property
    def content(self) -> list[str | Picture]:
        """Texts and pictures in the order in which the model reads them."""
        return interleaved(self.text, self.images)


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
    A server gives no ids: ``tokens`` is then empty and ``counted`` the number of tokens it states.
    """

    text: str
    tokens: tuple[int, ...]
    finish: str  # "stop" or "length"
    logp: tuple[float, ...] = ()
    counted: int | None = None

    @property
    def length(self) -> int:
        """The number of tokens sampled."""
        return len(self.tokens) if self.counted is None else self.counted


class Engine(Protocol):
    """Turns requests into responses; ``generate`` keeps the order of the requests."""

    def generate(
        self, requests: Sequence[Request], sampling: Sampling, *, logp: bool = False
    ) -> Iterator[tuple[int, list[Response]]]:
        """Yield (index of the request, its ``sampling.n`` responses) as they come, in any order;
        with ``logp`` they carry their tokens' log-probabilities."""
        ...


#: A request as a model's own encoder makes it of text and pictures.
Encoded = TypeVar("Encoded", contravariant=True)


class RolloutEngine(Protocol[Encoded]):
    """Samples the policy in training, over its weights as they are: ``wake``, ``update_weights``,
    any number of requests, ``sleep``; once a step.

    An engine that samples with the trained module itself has nothing to do but to sample. One that
    holds a copy of the weights beside the trainer takes them over, and leaves the memory of the
    device to the update while it sleeps.
    """

    def generate_encoded(
        self,
        prompts: Sequence[Encoded],
        ids: Sequence[str],
        sampling: Sampling,
        *,
        logp: bool = False,
    ) -> Iterator[tuple[int, list[Response]]]:
        """As :meth:`Engine.generate`, over prompts that are encoded already; ``ids`` are their
        request ids. With ``logp``, at the sampling temperature."""
        ...

    def wake(self) -> None:
        """Take the memory again that :meth:`sleep` gave back."""
        ...

    def update_weights(self, items: Iterable[tuple[str, Any]]) -> None:
        """Sample these weights from now on: (name, tensor) pairs, all of them, in the names of the
        Hugging Face model. What was computed with the old ones is forgotten."""
        ...

    def sleep(self) -> None:
        """Leave the device's memory to the update."""
        ...

    def close(self) -> None:
        """Free what the engine holds beside the policy. It cannot be used again."""
        ...
