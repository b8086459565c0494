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
