"""The `openai` engine: any server that speaks OpenAI's chat completions, asked in parallel."""

from __future__ import annotations

import base64
import os
import random
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

from backends.base.engine import EngineError, Request, Response, Sampling, Server
from backends.engines.registry import missing
from benchmarks.base import DataError, Picture
from benchmarks.data.pictures import PictureError, as_sent

#: Seconds before the first retry, and the longest pause.
_PAUSE, _LONGEST = 0.5, 30.0
#: How servers say that a prompt does not fit (OpenAI, vLLM, SGLang, llama.cpp).
_TOO_LONG = (
    "context_length_exceeded",
    "maximum context length",
    "maximum model length",
    "max_model_len",
    "context length is only",
    "exceeds the available context size",
    "input is too long",
)


class OpenAIEngine:
    """Asks a server for chat completions: a system and a user message, pictures as data URLs.

    What is the server's business is not ours to promise: its chat template, how it scales
    pictures, whether a seed repeats a text, which tokens it suppresses. A prompt that the server
    says is too long yields an empty list.

    Replies of 408, 409, 429 and 5xx, timeouts, dropped connections and replies that are no
    completion are tried again ``retries`` times with growing pauses (or the one that the server
    asks for). A request that fails for good ends the asking: what is under way is still yielded,
    then :class:`EngineError` says why.
    """

    def __init__(
        self,
        base_url: str,
        model: str,
        *,
        api_key_env: str | None = None,
        concurrency: int = 8,
        timeout: float = 600.0,
        retries: int = 5,
    ) -> None:
        """An engine on a server. ``api_key_env`` names the environment variable with the key;
        ``timeout`` is in seconds. Raises :class:`EngineError` where the package or the key is
        missing; the server is not asked yet."""
        if reason := missing("openai"):
            raise EngineError(reason)
        from openai import OpenAI

        key = None if api_key_env is None else os.environ.get(api_key_env, "").strip()
        if key == "":
            raise EngineError(
                f"the environment variable {api_key_env} holds no key; set it to the one for "
                f"{base_url}"
            )
        self.model = model
        self.base_url = base_url
        self.concurrency = concurrency
        self.retries = retries
        self._key = key
        # Without a key of ours the package would send OPENAI_API_KEY, to whatever server.
        self._client = OpenAI(
            base_url=base_url, api_key=key or "none", timeout=timeout, max_retries=0
        )

    @classmethod
    def at(cls, server: Server) -> OpenAIEngine:
        """An engine on the server of an experiment's settings."""
        how = server.model_dump(include={"api_key_env", "concurrency", "timeout", "retries"})
        return cls(server.base_url, server.model, **how)

    def generate(
        self, requests: Sequence[Request], sampling: Sampling, *, logp: bool = False
    ) -> Iterator[tuple[int, list[Response]]]:
        """Yield (index of the request, its ``sampling.n`` responses) as they come.

        A response has no token ids: ``counted`` is the number that the server states, for several
        samples of one request their mean. With ``logp`` it carries the log-probability of each
        sampled token as the server has it, if it gives any.
        """
        todo = iter(enumerate(requests))
        under_way: dict[Future[list[Response]], int] = {}
        failure: EngineError | None = None
        pool = ThreadPoolExecutor(self.concurrency)
        try:
            while True:
                while failure is None and len(under_way) < self.concurrency:
                    index, request = next(todo, (-1, None))
                    if request is None:
                        break
                    under_way[pool.submit(self._ask, request, sampling, logp)] = index
                if not under_way:
                    break
                for future in wait(under_way, return_when=FIRST_COMPLETED).done:
                    index = under_way.pop(future)
                    try:
                        responses = future.result()
                    except EngineError as error:
                        failure = failure or error
                        continue
                    yield index, responses
        finally:  # who stops listening does not wait for what is under way
            pool.shutdown(wait=False, cancel_futures=True)
        if failure is not None:
            raise failure

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _ask(self, request: Request, sampling: Sampling, logp: bool) -> list[Response]:
        """The responses to one request; [] where it is too long. A server that knows no ``n``
        answers once; it is then asked again for the rest."""
        greedy = sampling.temperature == 0
        wanted = 1 if greedy else sampling.n
        settings: dict[str, Any] = {
            "model": self.model,
            "messages": _messages(request),
            "max_tokens": sampling.max_tokens,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
        }
        if logp:
            settings["logprobs"] = True
        found: list[Response] = []
        while len(found) < wanted:
            seed = random.Random(f"{sampling.seed} {request.id} {len(found)}").getrandbits(31)
            more = {"n": wanted - len(found)} if wanted - len(found) > 1 else {}
            answers = self._complete(request, settings | more | {"seed": seed})
            if answers is None:
                return []
            found += answers
        return found[:wanted] * (sampling.n if greedy else 1)

    def _complete(self, request: Request, settings: dict[str, Any]) -> list[Response] | None:
        """One completion, tried again as the class says; None where the prompt is too long."""
        import openai

        last: Exception
        for attempt in range(self.retries + 1):
            try:
                return _responses(self._client.chat.completions.create(**settings))
            except openai.APIStatusError as error:
                if error.status_code < 500 and error.status_code not in (408, 409, 429):
                    if any(sign in str(error).lower() for sign in _TOO_LONG):
                        return None
                    raise EngineError(self._failure(request, error, 1)) from error
                last, asked = error, error.response.headers.get("retry-after", "")
            except (openai.APIError, ValueError) as error:  # ValueError: the reply is no JSON
                last, asked = error, ""
            if attempt < self.retries:
                time.sleep(_pause(attempt, asked))
        raise EngineError(self._failure(request, last, self.retries + 1)) from last

    def _failure(self, request: Request, error: Exception, tries: int) -> str:
        said = " ".join(str(error).split()) or type(error).__name__
        if isinstance(error, ValueError) and not hasattr(error, "status_code"):
            said = f"the reply is no chat completion ({said})"
        if self._key:
            said = said.replace(self._key, "***")
        times = "" if tries == 1 else f" {tries} times"
        return f"{self.base_url} failed{times} on request {request.id!r}: {said[:500]}"


def _pause(attempt: int, asked: str) -> float:
    """Seconds before the next try: what the server asks for, else twice the last pause, spread so
    that requests that failed together do not come back together."""
    try:
        return min(max(float(asked), 0.0), _LONGEST)
    except ValueError:
        return min(_PAUSE * 2**attempt, _LONGEST) * random.uniform(0.75, 1.25)


def _messages(request: Request) -> list[dict[str, Any]]:
    try:
        parts = request.content
    except DataError as error:
        raise EngineError(f"request {request.id!r}: {error}") from None
    content: list[dict[str, Any]] = [
        {"type": "text", "text": part}
        if isinstance(part, str)
        else {"type": "image_url", "image_url": {"url": _data_url(request, part)}}
        for part in parts
    ]
    system = [{"role": "system", "content": request.system}] if request.system else []
    # Servers of text models take a plain string only.
    return [*system, {"role": "user", "content": content if request.images else request.text}]


def _data_url(request: Request, picture: Picture) -> str:
    try:
        kind, data = as_sent(picture)
    except PictureError as error:
        name = str(picture) if isinstance(picture, Path) else f"{len(picture)} bytes"
        raise EngineError(
            f"request {request.id!r}: the picture ({name}) cannot be read: {error}"
        ) from error
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def _responses(reply: Any) -> list[Response]:
    """The choices of a completion. Raises ValueError where it is none: the package checks nothing
    of what a server sends."""
    try:
        counted = reply.usage.completion_tokens if reply.usage else 0
        found = [
            Response(
                text=choice.message.content or "",
                tokens=(),
                finish="length" if choice.finish_reason == "length" else "stop",
                logp=tuple(t.logprob for t in (choice.logprobs and choice.logprobs.content) or ()),
                counted=int(counted or 0) // len(reply.choices),
            )
            for choice in reply.choices
        ]
    except (AttributeError, TypeError) as error:
        raise ValueError(str(error)) from None
    if not found or not all(isinstance(response.text, str) for response in found):
        raise ValueError("it holds no text")
    return found
