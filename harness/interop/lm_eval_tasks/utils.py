"""What the task files name: our loaders, prompts, scorers and standard errors, for lm-eval.

A document of lm-eval holds the texts of an item and where it comes from; the item itself (pictures,
official row) is looked up here, so that it is loaded once and scored as everywhere else.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from datasets import Dataset

from benchmarks import registry, tiny
from benchmarks.base import PICTURE_MARK, DataError, Item, Scorer, Values, Verdict, interleaved
from benchmarks.data.pictures import read_picture
from benchmarks.prompts import asked
from benchmarks.registry import benchmark
from harness.results.statistics import interval
from harness.store.sources.base import tiny_name

#: What hf-multimodal counts pictures by, and a text that it does not.
_PLACE, _NO_PLACE = PICTURE_MARK, "<image >"


def data(name: str, mini: str | None = None, **settings: Any) -> dict[str, Dataset]:
    """The items of a benchmark as lm-eval's only split.

    ``settings`` are lm-eval's ``--metadata``: ``<name>=<folder of the owners' files>`` (needed but
    for the mini benchmarks), ``template=<name>`` (default ``boxed``), ``scorer=<name>`` (default
    the benchmark's own) and ``split=<name>`` (default the usual one that is there).
    """
    one = benchmark(name)
    split = settings.get("split") if mini is None else None
    one.known_split(split)
    if mini is None and name not in settings:
        raise DataError(
            f"say where the data of {one.title} is: --metadata {name}=<folder of its owners' files>"
        )
    source = str(Path(str(settings[name])).expanduser()) if mini is None else f"tiny/{mini}"
    scorer = str(settings.get("scorer", one.default_scorer))
    registry.scorer(one, scorer)  # an unknown name is an error before anything is generated
    prompt = asked(str(settings.get("template", "boxed")), one)
    rows = [
        {
            "id": item.id,
            "system": prompt.system,
            "question": "".join(
                part.replace(_PLACE, _NO_PLACE) if isinstance(part, str) else _PLACE
                for part in interleaved(prompt.render_item(item), item.images)
            ),
            "answer": item.answer,
            "benchmark": name,
            "data": source,
            "split": split,
            "scorer": scorer,
        }
        for item in _items(name, source, split).values()
    ]
    return {"test": Dataset.from_list(rows)}


@lru_cache(maxsize=8)
def _items(name: str, source: str, split: str | None) -> dict[str, Item]:
    if (mini := tiny_name(source)) is not None:
        with tempfile.TemporaryDirectory() as folder:
            tiny.write_benchmark(mini, Path(folder))
            items = [_in_memory(item) for item in benchmark(name).load(Path(folder))]
    else:
        items = benchmark(name).load(Path(source), split)
    return {item.id: item for item in items}


def _in_memory(item: Item) -> Item:
    return replace(
        item, images=tuple(p.read_bytes() if isinstance(p, Path) else p for p in item.images)
    )


def pictures(doc: Mapping[str, Any]) -> list[Any]:
    """The pictures of a document, decoded as our engines do."""
    images = _items(doc["benchmark"], doc["data"], doc["split"])[doc["id"]].images
    return [read_picture(picture) for picture in images]


@lru_cache(maxsize=8)
def _scorer(name: str, scorer: str) -> Scorer:
    return registry.scorer(benchmark(name), scorer)


def judge(doc: Mapping[str, Any], results: Sequence[str]) -> dict[str, Any]:
    """The metrics of one response. What is aggregated over groups carries its item along."""
    item = _items(doc["benchmark"], doc["data"], doc["split"])[doc["id"]]
    verdict = _scorer(doc["benchmark"], doc["scorer"]).score(item, results[0])
    record = {
        "data": doc["data"],
        "split": doc["split"],
        "item": item.id,
        "correct": verdict.correct,
    }
    return {
        "accuracy": float(verdict.correct),
        "clustered_se": (float(verdict.correct), item.cluster or item.id),
        "unparsed": float(verdict.status != "ok"),
        **(dict.fromkeys(_GROUPED, record) if doc["benchmark"] == "wemath" else {}),
    }


def mean(values: Sequence[float]) -> float:
    """The mean. (A function of ours, so that lm-eval prints no standard error beside it: its own
    takes items about one picture for independent.)"""
    return sum(values) / len(values)


def clustered_se(pairs: Sequence[tuple[float, str]]) -> float:
    """The standard error of the accuracy, clustered by what items share; NaN for one cluster."""
    values, clusters = zip(*pairs, strict=True)
    try:
        return interval(np.array([values]), clusters).se
    except ValueError:
        return float("nan")


_GROUPED = ("score_strict", "score_loose")


def score_strict(records: Sequence[Mapping[str, Any]]) -> float:
    """We-Math's strict score; NaN where ``--limit`` tore a group apart."""
    return _figure("wemath/score_strict", records)


def score_loose(records: Sequence[Mapping[str, Any]]) -> float:
    """We-Math's loose score; NaN where ``--limit`` tore a group apart."""
    return _figure("wemath/score_loose", records)


def _figure(metric: str, records: Sequence[Mapping[str, Any]]) -> float:
    known = _items("wemath", records[0]["data"], records[0]["split"])
    items = [known[record["item"]] for record in records]
    try:
        found: list[Values] = benchmark("wemath").values(
            items, [Verdict(record["item"], record["correct"]) for record in records]
        )
    except DataError:
        return float("nan")
    return next((values.mean for values in found if values.metric == metric), float("nan"))
