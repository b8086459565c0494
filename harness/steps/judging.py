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

from backends.base.resources import Resources
from benchmarks import judge
from benchmarks.base import Item, Verdict
from benchmarks.judge import Case
from harness.experiment.judges import identity, local_model
from harness.experiment.spec import Judge
from harness.steps.asking import EngineHolder
from harness.steps.judge_asking import Asking, Failure
from harness.store.keys import digest
from harness.store.sources.hashes import Hashes


def verdicts(
    answers: Sequence[tuple[Item, str]],
    settings: Judge,
    root: Path,
    resources: Resources,
    engines: EngineHolder,
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
    for key, outcome in _asked(todo, settings, root, resources, engines):
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
    todo: Mapping[str, Case],
    settings: Judge,
    root: Path,
    resources: Resources,
    engines: EngineHolder,
) -> Iterator[tuple[str, bool | Failure]]:
    """Each case's outcome, once the known pairs are graded rightly. What gets no reply is asked for
    once more, if the judge still answers."""
    if not todo:
        return
    model = None
    if settings.base_url is None:
        model = local_model(settings, Hashes(root)).path()
    with Asking(settings, model, resources, engines) as asking:
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
