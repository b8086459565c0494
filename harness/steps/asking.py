"""Asking a model, with every answer on disk as it comes, so that a killed step goes on where it
was.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from backends.base.engine import EngineError, Server
from backends.base.resources import Resources
from benchmarks.base import DataError
from harness.errors import StepError

if TYPE_CHECKING:
    from backends.base.engine import Engine, Request, Sampling
    from harness.plan.specs import Respond, Synthesize

#: {"text": str, "finish": "stop" | "length" | "dropped", "tokens": int, "seconds": float}
Answer = dict[str, Any]


class EngineHolder:
    """The one engine that is open: two models at a time may not fit, and a trial asks one often."""

    def __init__(self) -> None:
        self._settings: object = None
        self._engine: Engine | None = None

    def open(
        self,
        name: str,
        model: Path | None,
        resources: Resources,
        max_prompt_tokens: int,
        *,
        max_tokens: int = 1024,
        min_pixels: int | None = None,
        max_pixels: int | None = None,
        server: Server | None = None,
    ) -> Engine:
        """The engine ``name`` over a model folder, or on a server: the one that is open, if it is
        that one. ``max_tokens`` is the most that a response may have.

        Raises :class:`StepError` where it does not start.
        """
        from backends.engines.registry import open_engine
        from backends.models.families import ModelError

        settings: dict[str, Any] = {
            "dtype": resources.dtype,
            "device": resources.device,
            "max_prompt_tokens": max_prompt_tokens,
            "max_tokens": max_tokens,
            "min_pixels": min_pixels,
            "max_pixels": max_pixels,
            "server": server,
        }
        wanted = (name, model, settings)
        if self._engine is None or self._settings != wanted:
            self.release()
            try:
                self._engine = open_engine(name, model, **settings)
            except (EngineError, ModelError) as error:
                raise StepError(str(error)) from error
            self._settings = wanted
        return self._engine

    def release(self) -> None:
        """Let go of the engine: what follows needs the memory."""
        if self._engine is not None:
            self._engine.close()
        self._engine = None


def sampling(spec: Respond | Synthesize, n: int = 1) -> Sampling:
    """How a step's spec wants ``n`` samples drawn."""
    from backends.base.engine import Sampling

    chosen = spec.model_dump(include={"temperature", "top_p", "max_tokens", "seed"})
    return Sampling(n=n, **chosen)


def ask(
    make_engine: Callable[[], Engine],
    requests: Sequence[Request],
    sampling: Sampling,
    record: Path,
    progress: Callable[[int], None],
    *,
    first_logp: bool = False,
) -> dict[str, list[Answer]]:
    """The ``sampling.n`` answers to each request, by request id.

    Answers are appended to ``record`` as they come; those already there are not asked for again. An
    over-long prompt gets ``n`` empty answers whose ``finish`` is "dropped". An answer's ``seconds``
    are those since the answers before it came, shared evenly by the samples of a request: as
    engines answer many at a time, only their sum means something, which is the time of the asking.
    ``progress`` is told the number of requests answered. Raises :class:`StepError` where the engine
    cannot go on; what it answered is on disk; and before it is made, where a text marks the places
    of another number of pictures than it has. With ``first_logp`` each answer holds the
    log-probability of its first token under that name.
    """
    _refuse_misplaced(requests)
    answers = _recorded(record)
    todo = [request for request in requests if request.id not in answers]
    done = len(requests) - len(todo)
    progress(done)
    if todo:
        asked = make_engine()
        with record.open("a", encoding="utf-8") as file:
            before = time.perf_counter()
            try:
                for index, responses in asked.generate(todo, sampling, logp=first_logp):
                    request = todo[index].id
                    now = time.perf_counter()
                    share = round((now - before) / sampling.n, 6)
                    before = now
                    answers[request] = [
                        {"text": r.text, "finish": r.finish, "tokens": r.length, "seconds": share}
                        | ({"first_logp": r.logp[0]} if first_logp and r.logp else {})
                        for r in responses
                    ] or [_dropped(share)] * sampling.n
                    file.write(json.dumps({"id": request, "answers": answers[request]}) + "\n")
                    file.flush()
                    done += 1
                    progress(done)
            except EngineError as error:
                raise StepError(
                    f"{error}; {done} of {len(requests)} requests are answered and kept, and the "
                    "same command goes on from there"
                ) from error
    return answers


def _refuse_misplaced(requests: Sequence[Request]) -> None:
    for request in requests:
        try:
            _ = request.content
        except DataError as error:
            raise StepError(f"request {request.id!r}: {error}") from None


def _dropped(seconds: float) -> Answer:
    return {"text": "", "finish": "dropped", "tokens": 0, "seconds": seconds}


def _recorded(record: Path) -> dict[str, list[Answer]]:
    """What is on disk already. A last line that was cut short by a kill is cut off."""
    if not record.exists():
        return {}
    answers: dict[str, list[Answer]] = {}
    whole = 0
    with record.open("rb") as file:
        for line in file:
            if not line.endswith(b"\n"):
                break
            row = json.loads(line)
            answers[row["id"]] = row["answers"]
            whole += len(line)
    with record.open("rb+") as file:
        file.truncate(whole)
    return answers
