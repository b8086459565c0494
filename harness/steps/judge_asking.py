"""Asking a judge: the known pairs first, then many at a time, failures told apart and bounded.

A judge is any engine: a server that speaks OpenAI's protocol, or a local model.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from backends.base.engine import EngineError, Request, Response, Sampling, Server
from backends.base.resources import Resources
from benchmarks import judge
from benchmarks.judge import Case
from harness.errors import StepError
from harness.experiment.spec import Judge
from harness.steps.asking import EngineHolder

if TYPE_CHECKING:
    from backends.base.engine import Engine

#: After so many requests in a row without a reply the server is asked whether it is still there.
GIVE_UP = 10
GREEDY = Sampling(max_tokens=judge.MAX_TOKENS)
#: Room for the longest question, gold and answer that are shown.
MAX_PROMPT_TOKENS = 8192
KEPT = "; what it has judged is kept, and the same command goes on from there"


@dataclass(frozen=True)
class Failure:
    """No verdict on a case: ``why`` is the verdict's rule, ``said`` tells what happened.
    ``silent``: there was no reply at all; asked again, there may be one."""

    why: str
    said: str
    silent: bool = False


class Asking:
    """A judge that is being asked; a context manager, which lets go of it at the end.

    ``model`` is the folder of a local one.
    """

    def __init__(
        self, settings: Judge, model: Path | None, resources: Resources, engines: EngineHolder
    ) -> None:
        self.settings = settings
        self.model = model
        self.resources = resources
        self.engines = engines
        self.name = settings.model + (f" at {settings.base_url}" if settings.base_url else "")

    def __enter__(self) -> Asking:
        return self

    def __exit__(self, *error: Any) -> None:
        if self.model is not None:
            self.engines.release()
        elif (engine := self.__dict__.get("_engine")) is not None:
            engine.close()

    def check(self) -> None:
        """Let it grade the known pairs. Raises :class:`StepError` where it does not answer, or with
        the pairs that it failed."""
        cases = {str(n): judge.prepare(p.item, p.response) for n, p in enumerate(judge.KNOWN)}
        graded: dict[int, bool | str] = {}
        for key, outcome in self.ask({k: c for k, c in cases.items() if isinstance(c, Case)}):
            if isinstance(outcome, Failure) and (outcome.silent or outcome.why == REFUSED):
                raise StepError(f"the judge {self.name} does not answer: {outcome.said}{KEPT}")
            graded[int(key)] = outcome.said if isinstance(outcome, Failure) else outcome
        if reason := judge.distrust(graded):
            raise StepError(f"the judge {self.name} is not fit to judge: {reason}")

    def ask(self, cases: Mapping[str, Case]) -> Iterator[tuple[str, bool | Failure]]:
        """The outcome of each case by its key, as it comes.

        Raises :class:`StepError` where a server has stopped answering.
        """
        requests = [Request(key, case.user, (), case.system) for key, case in cases.items()]
        if self.model is None:
            yield from self._from_server(requests)
        else:
            for index, responses in self._engine.generate(requests, GREEDY):
                yield requests[index].id, _outcome(responses)

    def _from_server(self, requests: Sequence[Request]) -> Iterator[tuple[str, bool | Failure]]:
        """One request at a time on each of ``concurrency`` lanes: one that fails is alone."""
        engine = self._engine

        def one(request: Request) -> bool | Failure:
            try:
                ((_, responses),) = engine.generate([request], GREEDY)
            except EngineError as error:
                return _failure(error)
            return _outcome(responses)

        silent = 0
        pool = ThreadPoolExecutor(self.settings.concurrency)
        try:
            lanes = {pool.submit(one, request): request.id for request in requests}
            for lane in as_completed(lanes):
                outcome = lane.result()
                silent = silent + 1 if isinstance(outcome, Failure) and outcome.silent else 0
                yield lanes[lane], outcome
                if silent >= GIVE_UP:
                    self.check()
                    silent = 0
        finally:  # who stops listening stops the asking; what is under way ends first
            pool.shutdown(cancel_futures=True)

    @cached_property
    def _engine(self) -> Engine:
        from backends.engines.registry import open_engine

        settings = self.settings
        try:
            if self.model is None:
                server = Server.model_validate(settings.model_dump(exclude={"engine"}))
                return open_engine(settings.engine, None, server=server)
            return self.engines.open(
                settings.engine,
                self.model,
                self.resources,
                MAX_PROMPT_TOKENS,
                max_tokens=judge.MAX_TOKENS,
            )
        except (EngineError, StepError) as error:
            raise StepError(f"the judge {self.name}: {error}") from error


UNREADABLE = "unreadable verdict"
TOO_LONG = "prompt too long"
REFUSED = "refused by the server"
NO_ANSWER = "no answer"


def _outcome(responses: Sequence[Response]) -> bool | Failure:
    if not responses:
        return Failure(TOO_LONG, "the prompt is longer than the judge reads")
    reply = responses[0]
    verdict = judge.read(reply.text, reply.finish)
    if verdict is not None:
        return verdict
    cut = "" if reply.finish == "stop" else ", cut off"
    return Failure(UNREADABLE, f"no verdict in {_short(reply.text)!r}{cut}")


def _failure(error: EngineError) -> Failure:
    """A request that the server refuses will be refused again; anything else may pass."""
    status = getattr(error.__cause__, "status_code", None)
    if isinstance(status, int) and 400 <= status < 500 and status not in (408, 409, 429):
        return Failure(REFUSED, _short(str(error), 400))
    return Failure(NO_ANSWER, _short(str(error), 400), silent=True)


def _short(text: str, limit: int = 120) -> str:
    text = " ".join(text.split())
    return text if len(text) <= limit else text[: limit - 3] + "..."
