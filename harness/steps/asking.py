"""Asking a model, with every answer on disk as it comes, so that a killed step goes on where it
was.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from backends.base import Resources

if TYPE_CHECKING:
    from backends.engines.base import Engine, Request, Sampling

Answer = dict[str, Any]  # {"text": str, "finish": "stop" | "length" | "dropped", "tokens": int}


def engine(model: Path, resources: Resources, max_prompt_tokens: int) -> Engine:
    """The engine over a model folder; the last one is kept: a trial asks one model often."""
    return _engine(model, resources.dtype, resources.device, max_prompt_tokens)


@lru_cache(maxsize=1)
def _engine(model: Path, dtype: str, device: str, max_prompt_tokens: int) -> Engine:
    import torch

    from backends.engines.hf import HFEngine

    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    return HFEngine.from_path(model, dtype, device, max_prompt_tokens)


def release() -> None:
    """Let go of the engine: what follows needs the memory."""
    _engine.cache_clear()


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
    over-long prompt gets ``n`` empty answers whose ``finish`` is "dropped". ``progress`` is told
    the number of requests answered. With ``first_logp`` each answer holds the log-probability of
    its first token under that name.
    """
    answers = _recorded(record)
    todo = [request for request in requests if request.id not in answers]
    done = len(requests) - len(todo)
    progress(done)
    if todo:
        with record.open("a", encoding="utf-8") as file:
            for index, responses in make_engine().generate(todo, sampling, logp=first_logp):
                request = todo[index].id
                answers[request] = [
                    {"text": r.text, "finish": r.finish, "tokens": len(r.tokens)}
                    | ({"first_logp": r.logp[0]} if first_logp and r.logp else {})
                    for r in responses
                ] or [{"text": "", "finish": "dropped", "tokens": 0}] * sampling.n
                file.write(json.dumps({"id": request, "answers": answers[request]}) + "\n")
                file.flush()
                done += 1
                progress(done)
    return answers


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
