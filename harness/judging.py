"""Asking a judge: the known pairs first, every verdict kept, failures counted and bounded.

A judge is any engine: a server that speaks OpenAI's protocol, or a local model. Its verdicts are
kept below the root by what it was shown, so nothing is asked twice, in a run or in a re-scoring.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from pydantic import ValidationError

from backends.base import Resources
from benchmarks import judge
from benchmarks.base import Benchmark, Item, Verdict
from benchmarks.judge import NAME, Case
from harness import sources
from harness.errors import HarnessError, unknown
from harness.hashing import digest
from harness.judge_asking import Asking, Failure
from harness.sources import Hashes
from harness.spec import Judge


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
    for key, outcome in _asked(todo, settings, root, resources):
        known[key] = outcome
        if isinstance(outcome, bool):
            cache.add(key, outcome)
        progress(len(known), len(cases))
    given = {
        answer: _verdict(case, known[_key(case)]) if isinstance(case, Case) else case
        for answer, case in prepared.items()
    }
    return [given[item.id, response] for item, response in answers]


def _verdict(case: Case, outcome: bool | Failure) -> Verdict:
    return case.failed(outcome.why) if isinstance(outcome, Failure) else case.verdict(outcome)


def _asked(
    todo: Mapping[str, Case], settings: Judge, root: Path, resources: Resources
) -> Iterator[tuple[str, bool | Failure]]:
    """Each case's outcome, once the known pairs are graded rightly. What gets no reply is asked for
    once more, if the judge still answers."""
    if not todo:
        return
    model = None
    if settings.base_url is None:
        model = sources.model_path(_local(settings, Hashes(root)))
    with Asking(settings, model, resources) as asking:
        for final in (False, True):
            asking.check()
            silent = {}
            for key, outcome in asking.ask(todo):
                if isinstance(outcome, Failure) and outcome.silent and not final:
                    silent[key] = todo[key]
                else:
                    yield key, outcome
            if not silent:
                return
            todo = silent


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
