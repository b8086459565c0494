"""Helpers of the tests: experiment files and a model folder that has all the right names in it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from harness.experiment import checks
from harness.experiment.spec import Experiment
from harness.plan.planner import Plan, make
from harness.store.sources.hashes import Hashes

#: DESIGN's example, with a model folder in place of the tiny model.
EXAMPLE = """\
name: tiny-ablation
model: {model}
questions: tiny/train
arms:
  base:       {{method: none}}
  mm_upt:     {{method: mm_upt}}
  grpo:       {{method: grpo}}      # supervised: rewards from labels
  sft:        {{method: sft}}
  no_thinking: {{method: no_thinking}}
sweep:                            # through Optuna
  of: mm_upt
  group_size: [4, 8, 16]
  synthetic_ratio: [0.0, 0.5, 1.0]
training: {{group_size: 8, lr: 5e-5}}
seeds: [0, 1, 2]
benchmarks:
  - {{name: mathvista, data: tiny/mathvista}}
  - {{name: wemath, data: tiny/wemath}}
  - {{name: mathverse, data: tiny/mathverse}}
baseline: base
paper: mm_upt
"""


def model_folder(folder: Path, weights: bytes = b"weights") -> Path:
    """What a plan needs to see of a model: it hashes the files, checks their names, and looks up
    the family."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_text('{"model_type": "qwen2_5_vl"}')
    for name in ("preprocessor_config.json", "tokenizer.json"):
        (folder / name).write_text("{}")
    (folder / "model.safetensors").write_bytes(weights)
    return folder


def planned(text: str, folder: Path) -> Plan:
    return make(read(text, folder), Hashes(folder / "runs"))


def read(text: str, folder: Path) -> Experiment:
    file = folder / "experiment.yaml"
    file.write_text(text)
    return checks.read(file, folder / "runs")[0]


def question_file(folder: Path, count: int = 8) -> Path:
    rows: list[dict[str, Any]] = [
        {"id": f"q{i}", "question": f"What is {i} + 1?", "answer": str(i + 1)} for i in range(count)
    ]
    file = folder / "questions.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file
