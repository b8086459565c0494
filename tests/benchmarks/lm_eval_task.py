"""A task of our own in lm-eval's files, and what lm-eval warns of while it runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

#: For ``pytestmark``: lm-eval and the packages that it loads data with, on import and at use.
QUIET = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning:(lm_eval|datasets|dill|multiprocess|sacrebleu|evaluate).*",
    "ignore::FutureWarning:(lm_eval|datasets).*",
)

_TASK = """\
task: {name}
dataset_path: json
dataset_kwargs: {{data_files: {{test: {folder}/{name}.jsonl}}}}
test_split: test
output_type: generate_until
process_results: !function utils.judge
"""


def write_rows(file: Path, *rows: dict[str, Any]) -> None:
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))


def write_task(folder: Path, name: str, more: str, judge: str, *rows: dict[str, Any]) -> None:
    """A task over ``rows``, judged by the function ``judge`` of ``utils.py``; ``more`` are its
    further settings (YAML)."""
    (folder / f"{name}.yaml").write_text(_TASK.format(name=name, folder=folder) + more)
    (folder / "utils.py").write_text(judge)
    write_rows(folder / f"{name}.jsonl", *rows)


def write_log(folder: Path, name: str, out: Path) -> Path:
    """The sample log of a task in ``folder``, written by lm-eval itself. Its model says "1", "2",
    ... in the order in which it is asked."""
    from lm_eval import simple_evaluate
    from lm_eval.api.model import LM
    from lm_eval.loggers import EvaluationTracker
    from lm_eval.tasks import TaskManager

    class Counting(LM):
        def generate_until(self, requests: list[Any], disable_tqdm: bool = False) -> list[str]:
            return [str(n) for n in range(1, len(requests) + 1)]

        def loglikelihood(self, requests: list[Any]) -> Any:
            raise NotImplementedError

        loglikelihood_rolling = loglikelihood

    tracker = EvaluationTracker(output_path=str(out))
    manager = TaskManager(include_path=str(folder), include_defaults=False)
    done = simple_evaluate(
        Counting(),
        tasks=[name],
        task_manager=manager,
        bootstrap_iters=0,
        evaluation_tracker=tracker,
    )
    samples = done.pop("samples")
    tracker.save_results_aggregated(results=done, samples=samples)
    tracker.save_results_samples(task_name=name, samples=samples[name])
    (file,) = out.rglob("samples_*.jsonl")
    return file
