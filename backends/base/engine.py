"""What every engine promises.

Same seed and settings, same text. An engine says why each response ended, and never samples an
image placeholder token.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Protocol, TypeVar

from pydantic import AfterValidator, Field, WithJsonSchema

from backends.base.config import Config
from benchmarks.base import Picture, interleaved


class EngineError(RuntimeError):
    """An engine that cannot start, or cannot go on, with the reason for its reader."""


class RequestError(EngineError):
    """A request that an engine refuses: it is well, and would refuse it again."""


def _address(url: str) -> str:
    if not re.fullmatch(r"https?://\S+", url):
        raise ValueError("expected an address such as http://localhost:8000/v1")
    return url


#: Where a server is asked.
Address = Annotated[str, AfterValidator(_address)]

#: The name of an engine. Which there are is looked up where an experiment is checked, for packages
#: offer more than ours.
EngineName = Annotated[
    str, WithJsonSchema({"type": "string", "examples": ["hf", "vllm", "openai"]})
]


class Answering(Config):
    """A model that answers, and how it is reached where a server has it.

    ``model`` and ``revision`` say what answers. The key itself is never written down:
    ``api_key_env`` names the environment variable that holds it.
    """

    model: str = Field(min_length=1, description="the name under which a server knows it")
    revision: str | None = Field(default=None, description="which state of it, where you know")
    api_key_env: str | None = Field(
        default=None, description="the environment variable that holds the key"
    )
    concurrency: int = Field(default=8, ge=1, description="requests at a time")
    timeout: float = Field(default=600, gt=0, description="seconds without an answer")
    retries: int = Field(default=5, ge=0, description="of a request that failed, with pauses")

    @property
    def identity(self) -> str:
        """What answers, for a result's identity."""
        return f"{self.model}@{self.revision}" if self.revision else self.model


class Server(Answering):
    """A server that speaks OpenAI's protocol, and the model that it serves."""

    base_url: Address = Field(description="with the version, as in http://localhost:8000/v1")


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
    """Turns requests into responses. Write one against this, offer what opens it (an
    :class:`EngineFactory`) as ``engine.<name>``, and let ``backends.testing.EngineContract`` test
    it."""

    def generate(
        self, requests: Sequence[Request], sampling: Sampling, *, logp: bool = False
    ) -> Iterator[tuple[int, list[Response]]]:
        """Yield (index of the request, its ``sampling.n`` responses) as they come, in any order;
        with ``logp`` they carry their tokens' log-probabilities. A prompt that is too long has no
        responses: it is dropped, not cut. Raises :class:`EngineError`."""
        ...

    def close(self) -> None:
        """Free what the engine holds; it is not asked again. A second time does nothing."""
        ...


@dataclass(frozen=True)
class EngineSettings:
    """How an engine is opened. ``device`` "auto" is a GPU where there is one; ``max_tokens`` is the
    most that a response may have; pictures are scaled to between ``min_pixels`` and ``max_pixels``
    (None: the processor's own limit). A server limits prompts and pictures itself."""

    dtype: str = "float32"
    device: str = "auto"
    max_prompt_tokens: int = 4096
    max_tokens: int = 1024
    min_pixels: int | None = None
    max_pixels: int | None = None
    server: Server | None = None


@dataclass(frozen=True)
class PolicySettings:
    """How a policy is sampled while it is trained: the folder ``model`` that training starts from,
    the trained ``module`` itself, and the ``encoder`` of its prompts. A batch has at most
    ``tokens_per_batch`` tokens; ``gpu_share`` of the memory is for what an engine holds beside the
    module."""

    model: Path
    module: Any
    encoder: Any
    dtype: str
    device: str
    max_tokens: int
    tokens_per_batch: int
    gpu_share: float


class EngineFactory(Protocol):
    """Opens an engine: what the name ``engine.<name>`` stands for. Made without arguments, and
    importing it loads no model library, as plans ask it what is missing."""

    #: Raised with every change of what its engine says to the same request.
    version: str
    #: Whether it loads a model folder; else it asks a server that has the model.
    samples_locally: bool

    def missing(self) -> str | None:
        """Why the engine cannot run here, in a sentence that says what to do; None: it can."""
        ...

    def open(self, model: Path | None, settings: EngineSettings) -> Engine:
        """The engine over a model folder (None: on ``settings.server``).
        Raises :class:`EngineError`."""
        ...

    def open_policy(self, settings: PolicySettings) -> RolloutEngine[Any]:
        """The engine that samples a policy in training. Raises :class:`EngineError` where it can
        sample none."""
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
