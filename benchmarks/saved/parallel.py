"""Verdicts on many responses, in several processes.

All responses to an item go to one worker: what they have in common is compared once, with the item
and with each other, as the vote does. Workers share one process that has loaded math-verify, and
what one has learned from it the caller knows afterwards. Verdicts do not depend on the number of
workers.
"""

from __future__ import annotations

import multiprocessing
import multiprocessing.util
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from typing import Any

from benchmarks import registry
from benchmarks.answers import _equivalence
from benchmarks.answers.equality import classes
from benchmarks.base import Item, Scorer, Verdict
from benchmarks.official.benchmark import FunctionScorer
from benchmarks.registry import benchmark
from benchmarks.saved.answer import Answer

#: Responses that a worker is handed at a time, where an item has no more.
CHUNK = 100

Task = tuple[Item, Answer]
Row = list[Verdict]


def verdicts(
    address: str, scorers: Sequence[str], tasks: Sequence[Task], workers: int = 1
) -> list[list[Verdict]]:
    """A list for each scorer of the benchmark at ``address``: its verdict on every answer, in the
    order of ``tasks``."""
    chunks = _chunks(tasks)
    parts = [[tasks[place] for place in places] for places in chunks]
    if workers == 1 or len(parts) < 2:
        made = [_judge(address, scorers, part) for part in parts]
    else:
        made = _in_workers(address, scorers, parts, min(workers, len(parts)))
    by_place = {
        place: row
        for places, rows in zip(chunks, made, strict=True)
        for place, row in zip(places, rows, strict=True)
    }
    rows = (by_place[place] for place in range(len(tasks)))
    return [list(column) for column in zip(*rows, strict=True)]


def _chunks(tasks: Sequence[Task]) -> list[list[int]]:
    """The places of the tasks, those of an item together."""
    groups: dict[str, list[int]] = {}
    for place, (item, _) in enumerate(tasks):
        groups.setdefault(item.id, []).append(place)
    chunks: list[list[int]] = []
    for places in groups.values():
        if not chunks or len(chunks[-1]) + len(places) > CHUNK:
            chunks.append([])
        chunks[-1] += places
    return chunks


def _in_workers(
    address: str, scorers: Sequence[str], parts: Sequence[Sequence[Task]], workers: int
) -> list[list[Row]]:
    # A fork of this process would copy its threads' locks, and a spawned one import all again: a
    # server that has imported what is needed, and nothing else, is forked.
    _choose_sockets_folder()
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__, type(benchmark(address)).__module__])
    shared = (_equivalence.address(),)
    with ProcessPoolExecutor(workers, context, _equivalence.share, shared) as pool:
        made = []
        for rows, learned in pool.map(partial(_work, address, scorers), parts):
            _equivalence.learn(learned)
            made.append(rows)
    return made


def _choose_sockets_folder() -> None:
    """multiprocessing makes a folder for its sockets once, below ``tempfile.tempdir``."""
    usual, tempfile.tempdir = tempfile.tempdir, _equivalence.sockets_folder()
    try:
        multiprocessing.util.get_temp_dir()
    finally:
        tempfile.tempdir = usual


def _work(
    address: str, scorers: Sequence[str], tasks: Sequence[Task]
) -> tuple[list[Row], Mapping[tuple[str, ...], Any]]:
    """The rows of a part, and what was learned from math-verify. Runs in a worker."""
    before = len(_equivalence.known())
    rows = _judge(address, scorers, tasks)
    said: dict[tuple[str, int], list[Verdict]] = {}
    for row in rows:
        for scorer, verdict in enumerate(row):
            if verdict.decoding == "sampled":
                said.setdefault((verdict.item, scorer), []).append(verdict)
    for votes in said.values():
        classes([v.extracted for v in sorted(votes, key=lambda v: v.sample)])
    return rows, _equivalence.known(before)


def _judge(address: str, scorers: Sequence[str], tasks: Sequence[Task]) -> list[Row]:
    """One row of verdicts a task, in the order of the scorers; equal responses to an item are
    judged once."""
    made = [registry.scorer(benchmark(address), name) for name in scorers]
    known: dict[tuple[str, str, str], Row] = {}
    rows = []
    for item, answer in tasks:
        said = answer.generation
        key = item.id, said.text, repr(answer.extraction)
        if key not in known:
            known[key] = [_one(scorer, item, answer) for scorer in made]
        rows.append([replace(v, decoding=said.decoding, sample=said.sample) for v in known[key]])
    return rows


def _one(scorer: Scorer, item: Item, answer: Answer) -> Verdict:
    """A verdict; a scorer that starts from the owners' extraction does so where there is one."""
    if (
        answer.extraction is not None
        and isinstance(scorer, FunctionScorer)
        and scorer.judge_extraction is not None
    ):
        return scorer.judge_extraction(item, answer.extraction)
    return scorer.score(item, answer.generation.text)
