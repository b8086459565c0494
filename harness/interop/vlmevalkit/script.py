"""Runs in the interpreter that has VLMEvalKit, and imports nothing of ours.

``python script.py job.json``: the job names a data set and prediction files; the verdicts go to its
``out`` as JSON, an answer that only a judge could read as null. What is asked is VLMEvalKit's code.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import json
import sys
import traceback
from pathlib import Path
from typing import Any


class NeedsJudge(Exception):
    """VLMEvalKit asked for its judge."""


class NoJudge:
    def generate(self, *prompt: Any, **settings: Any) -> str:
        raise NeedsJudge


def main(job: dict[str, Any]) -> dict[str, Any]:
    kit = importlib.import_module("vlmeval.dataset")
    load = importlib.import_module("vlmeval.smp").load
    return {
        "version": version(),
        "files": [DATASETS[job["dataset"]](kit, load, file) for file in job["files"]],
    }


def version() -> str:
    for package in ("ms-vlmeval", "vlmeval"):
        try:
            return f"{package}-{importlib.metadata.version(package)}"
        except importlib.metadata.PackageNotFoundError:
            pass
    return "vlmeval-" + str(importlib.import_module("vlmeval").__version__)


def wemath(kit: Any, load: Any, file: str) -> dict[str, Any]:
    """``exact_matching``: the verdicts behind ``evaluate(model="exact_matching")``. ``prefetch``:
    what it reads before it asks a judge, where one is given."""
    rules = importlib.import_module("vlmeval.dataset.utils.wemath")
    choice = importlib.import_module("vlmeval.dataset.utils.multiple_choice")
    rows = load(file)
    exact = [
        verdict(row["index"], bool(row["joker"]), row["processed_answer"])
        for _, row in rules.load_and_process_data(file).iterrows()
    ]
    prefetch = []
    for _, row in rows.iterrows():
        letter = choice.prefetch_answer(row)
        correct = letter == row["answer"] if letter else None
        prefetch.append(verdict(row["index"], correct, letter or None))
    kit.WeMath.DATASET_MD5 = {}  # the rows under evaluation stand in for its copy of the data set
    figures, failed = {}, ""
    try:
        table = kit.build_dataset("WeMath").evaluate(file, model="exact_matching")
        figures = {name: str(value) for name, value in table.iloc[0].items() if value == value}
    except Exception as error:
        failed = f"{type(error).__name__}: {error}"
    verdicts = {"exact_matching": exact, "prefetch": prefetch}
    return {"verdicts": verdicts, "read": read(rows), "figures": figures, "failed": failed}


def mathvista(kit: Any, load: Any, file: str) -> dict[str, Any]:
    """``prefetch``: its verdict where its own rules read the answer."""
    rules = importlib.import_module("vlmeval.dataset.utils.mathvista")
    rows = load(file)
    verdicts = []
    for _, row in rows.iterrows():
        try:
            found = rules.MathVista_auxeval(NoJudge(), row)["res"]
            correct = bool(rules.post_check({**row, "res": found}))
            verdicts.append(verdict(row["index"], correct, found))
        except NeedsJudge:
            verdicts.append(verdict(row["index"], None, None))
    return {"verdicts": {"prefetch": verdicts}, "read": read(rows), "figures": {}, "failed": ""}


def verdict(index: Any, correct: bool | None, extracted: Any) -> dict[str, Any]:
    said = None if extracted is None or extracted != extracted else str(extracted)
    return {"index": int(index), "correct": correct, "extracted": said}


def read(rows: Any) -> dict[str, str]:
    """The predictions as its loader read them."""
    return {str(i): str(text) for i, text in rows.set_index("index")["prediction"].items()}


DATASETS = {"WeMath": wemath, "MathVista_MINI": mathvista}

if __name__ == "__main__":
    asked = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    try:
        answer = main(asked)
    except Exception as error:
        traceback.print_exc()
        answer = {"error": f"{type(error).__name__}: {error}"}
    Path(asked["out"]).write_text(json.dumps(answer), encoding="utf-8")
