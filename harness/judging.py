"""Asking a judge: the known pairs first, every verdict kept, failures counted and bounded.

A judge is any engine: a server that speaks OpenAI's protocol, or a local model. Its verdicts are
kept below the root by what it was shown, so nothing is asked twice, in a run or in a re-scoring.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from backends.base import Resources
from backends.engines.base import Request, Response, Sampling
from benchmarks import judge
from benchmarks.base import Benchmark, Item, Verdict
from benchmarks.judge import NAME, Case
from harness import sources
from harness.errors import HarnessError, StepError, unknown
from harness.hashing import digest
from harness.sources import Hashes
from harness.spec import Judge

if TYPE_CHECKING:
    from backends.engines.base import Engine

#: After so many requests in a row that got no answer the server is taken for gone.
GIVE_UP = 10
GREEDY = Sampling(max_tokens=judge.MAX_TOKENS)
MAX_PROMPT_TOKENS = 8192


def scorers(one: Benchmark) -> tuple[str, ...]:
    """Every scorer of a benchmark by name: its own, and the judge, who takes any benchmark."""
    return (*one.scorers, NAME)


def scorer_id(one: Benchmark, name: str, settings: Judge | None, hashes: Hashes, dtype: str) -> str:
    """The identity of a benchmark's scorer. Raises :class:`HarnessError` for a judge that is not
    said, or not there."""
    if name != NAME:
        return one.scorer(name).id
    if settings is None:
        raise HarnessError(UNSAID)
    return judge.scorer_id(one.name, identity(settings, hashes, dtype))


UNSAID = (
    "scorer 'judge' asks a language model; say which one under `judge:` (on the command line with "
    "--judge): its model, and a server's base_url or engine=hf"
)


def from_options(options: Sequence[str]) -> Judge | None:
    """The settings that ``--judge model=... --judge base_url=...`` give; None without any.

    Raises :class:`HarnessError` naming what is wrong.
    """
    if not options:
        return None
    pairs = dict(option.partition("=")[::2] for option in options)
    if bad := [name for name in pairs if name not in Judge.model_fields]:
        raise HarnessError(f"--judge {unknown('setting', bad[0], Judge.model_fields)}")
    try:
        return Judge.model_validate(pairs)
    except ValidationError as error:
        said = [
            f"--judge {'.'.join(map(str, e['loc']))}".strip()
            + f": {e['msg'].removeprefix('Value error, ')}"
            for e in error.errors()
        ]
        raise HarnessError("\n".join(said)) from None


def located(settings: Judge, hashes: Hashes) -> Judge:
    """The settings with a local model by its place on this machine; a server's as they are.

    Raises :class:`HarnessError` where there is no such model.
    """
    if settings.engine == "openai":
        return settings
    found = _local(settings, hashes)
    return settings.model_copy(update={"model": found.source, "revision": None})


def identity(settings: Judge, hashes: Hashes, dtype: str) -> str:
    """What decides a verdict besides the prompt: the model and its revision, by name for a server,
    by content (and the precision that it computes in) for a local one."""
    if settings.engine == "openai":
        return f"{settings.model}@{settings.revision}" if settings.revision else settings.model
    found = _local(settings, hashes)
    kind, _, content = found.id.partition(":")
    name = content if kind == "hub" else f"{Path(found.source).name}@{content[:16]}"
    return f"{name}+{dtype}"


def _local(settings: Judge, hashes: Hashes) -> sources.Located:
    source = f"{settings.model}@{settings.revision}" if settings.revision else settings.model
    try:
        return sources.locate_model(source, hashes)
    except HarnessError as error:
        raise HarnessError(
            f"the judge's model: {error}. A model that reads text only judges through a server: "
            "engine: openai"
        ) from None


# ---------------------------------------------------------------------------------------- verdicts


def verdicts(
    answers: Sequence[tuple[Item, str]],
    settings: Judge,
    root: Path,
    resources: Resources,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[Verdict]:
    """The judge's verdict on each (item, response): what is kept below ``root``, and by asking.

    ``progress`` is told the number of different answers that are judged, and of all. A reply that
    is no verdict is ``judge_failed``, and so is an answer on which the judge gives none in two
    rounds of ``retries`` while it answers others. Raises :class:`StepError` where it fails the
    known pairs, or does not answer at all: what it said before is kept.
    """
    prepared: dict[tuple[str, str], Case | Verdict] = {}
    for item, response in answers:
        if (item.id, response) not in prepared:
            prepared[item.id, response] = judge.prepare(item, response)
    cases = {_key(case): case for case in prepared.values() if isinstance(case, Case)}
    cache = Cache.of(root, identity(settings, Hashes(root), resources.dtype))
    known: dict[str, bool | Failure] = {k: v for k, v in cache.read().items() if k in cases}
    todo = {key: case for key, case in cases.items() if key not in known}
    bench = _Bench(settings, root, resources)
    for _ in range(2):
        if not todo:
            break
        bench.check()
        for key, outcome in bench.ask(todo):
            known[key] = outcome
            if isinstance(outcome, bool):
                cache.add(key, outcome)
            progress(len(known), len(cases))
        todo = {key: case for key, case in todo.items() if _silent(known[key])}
    if any(known[key] is NOT_ASKED for key in todo):
        bench.check()
        raise StepError(f"the judge {bench.name} left {len(todo)} requests without an answer{KEPT}")
    given = {
        answer: _verdict(case, known[_key(case)]) if isinstance(case, Case) else case
        for answer, case in prepared.items()
    }
    return [given[item.id, response] for item, response in answers]


KEPT = "; what it has judged is kept, and the same command goes on from there"


@dataclass(frozen=True)
class Failure:
    """No verdict on a case: ``why`` (the verdict's rule), and what happened."""

    why: str
    said: str


UNREADABLE = "unreadable verdict"
TOO_LONG = "prompt too long"
REFUSED = "refused by the server"
NO_ANSWER = "no answer"
NOT_ASKED = Failure(NO_ANSWER, "not asked, as the requests before got no answer")


def _silent(outcome: bool | Failure) -> bool:
    """Whether a case got no reply at all: asked again, it may."""
    return isinstance(outcome, Failure) and outcome.why == NO_ANSWER


def _verdict(case: Case, outcome: bool | Failure) -> Verdict:
    return case.failed(outcome.why) if isinstance(outcome, Failure) else case.verdict(outcome)


def _key(case: Case) -> str:
    """Over all that the judge is shown: question, gold, answer, and the words around them."""
    return hashlib.sha256(f"{case.system}\0{case.user}".encode()).hexdigest()


class Cache:
    """A judge's verdicts: a file of JSON lines that processes append to."""

    def __init__(self, file: Path) -> None:
        self.file = file

    @classmethod
    def of(cls, root: Path, model: str) -> Cache:
        """The cache of one judge with today's prompt, below ``root``."""
        who = judge.scorer_id("", model)
        name = re.sub(r"[^\w.-]+", "-", model)[:60].strip("-.")
        return cls(root / "work" / "judge" / f"{name}-{digest(who)[:12]}.jsonl")

    def read(self) -> dict[str, bool]:
        """Key -> verdict. A line that was cut by a kill is no verdict."""
        found: dict[str, bool] = {}
        try:
            lines = self.file.read_bytes().splitlines()
        except FileNotFoundError:
            return found
        for line in lines:
            try:
                row = json.loads(line)
                found[str(row["key"])] = bool(row["correct"])
            except (ValueError, TypeError, KeyError):
                continue
        return found

    def add(self, key: str, correct: bool) -> None:
        """One line, in one write: lines of several processes do not mix. The empty line before it
        ends one that was cut."""
        self.file.parent.mkdir(parents=True, exist_ok=True)
        line = json.dumps({"key": key, "correct": correct})
        with self.file.open("ab", buffering=0) as file:
            file.write(f"\n{line}\n".encode())


# ------------------------------------------------------------------------------------------ asking


class _Bench:
    """A judge that is being asked."""

    def __init__(self, settings: Judge, root: Path, resources: Resources) -> None:
        self.settings = settings
        self.root = root
        self.resources = resources
        self.name = settings.model + (f" at {settings.base_url}" if settings.base_url else "")

    def check(self) -> None:
        """Let it grade the known pairs. Raises :class:`StepError` with those it failed."""
        cases = {str(n): judge.prepare(p.item, p.response) for n, p in enumerate(judge.KNOWN)}
        graded: dict[int, bool | str] = {}
        for key, outcome in self.ask({k: c for k, c in cases.items() if isinstance(c, Case)}):
            if isinstance(outcome, Failure) and outcome.why in (NO_ANSWER, REFUSED):
                raise StepError(f"the judge {self.name} does not answer: {outcome.said}{KEPT}")
            graded[int(key)] = outcome.said if isinstance(outcome, Failure) else outcome
        if reason := judge.distrust(graded):
            raise StepError(f"the judge {self.name} is not fit to judge: {reason}")

    def ask(self, cases: Mapping[str, Case]) -> Iterator[tuple[str, bool | Failure]]:
        """The outcome of each case by its key, as it comes."""
        requests = [Request(key, case.user, (), case.system) for key, case in cases.items()]
        if self.settings.engine == "openai":
            yield from self._from_server(requests)
        else:
            for index, responses in self._engine().generate(requests, GREEDY):
                yield requests[index].id, _outcome(responses)

    def _from_server(self, requests: Sequence[Request]) -> Iterator[tuple[str, bool | Failure]]:
        """One request at a time on each of ``concurrency`` lanes, so that one that fails is alone;
        after :data:`GIVE_UP` in a row without an answer the rest is not tried."""
        engine = self._engine()
        gone = threading.Event()

        def one(request: Request) -> bool | Failure:
            if gone.is_set():
                return NOT_ASKED
            try:
                ((_, responses),) = engine.generate([request], GREEDY)
            except Exception as error:
                return _failure(error)
            return _outcome(responses)

        in_a_row = 0
        with ThreadPoolExecutor(self.settings.concurrency) as pool:
            lanes = {pool.submit(one, request): request.id for request in requests}
            try:
                for lane in as_completed(lanes):
                    outcome = lane.result()
                    in_a_row = in_a_row + 1 if _silent(outcome) else 0
                    if in_a_row >= GIVE_UP:
                        gone.set()
                    yield lanes[lane], outcome
            finally:
                gone.set()  # who stops listening stops the asking

    def _engine(self) -> Engine:
        settings = self.settings
        if settings.engine == "openai":
            from backends.engines.openai import OpenAIEngine

            return OpenAIEngine(
                base_url=settings.base_url,
                model=settings.model,
                api_key_env=settings.api_key_env,
                concurrency=1,
                timeout=settings.timeout,
                retries=settings.retries,
            )
        from harness.steps.asking import engine

        model = sources.model_path(_local(settings, Hashes(self.root)))
        return engine(model, self.resources, MAX_PROMPT_TOKENS)


def _outcome(responses: Sequence[Response]) -> bool | Failure:
    if not responses:
        return Failure(TOO_LONG, f"a prompt of more than {MAX_PROMPT_TOKENS} tokens")
    reply = responses[0]
    verdict = judge.read(reply.text, reply.finish)
    if verdict is not None:
        return verdict
    cut = "" if reply.finish == "stop" else ", cut off"
    return Failure(UNREADABLE, f"no verdict in {_short(reply.text)!r}{cut}")


def _failure(error: Exception) -> Failure:
    """A request that the server refuses will be refused again; anything else may pass."""
    said = _short(f"{type(error).__name__}: {error}")
    cause: BaseException | None = error
    while cause is not None:
        status = getattr(cause, "status_code", None)
        if isinstance(status, int) and 400 <= status < 500 and status not in (408, 409, 429):
            return Failure(REFUSED, said)
        cause = cause.__cause__
    return Failure(NO_ANSWER, said)


def _short(text: str, limit: int = 120) -> str:
    text = " ".join(text.split())
    return text if len(text) <= limit else text[: limit - 3] + "..."
