"""A row of each benchmark as its owners publish answers to it, and files that hold such rows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from benchmarks.registry import benchmark
from benchmarks.saved.answer import Published
from benchmarks.saved.published import benchmark_of, read

MATHVISTA = {
    "question": "How many?",
    "image": "images/1.jpg",
    "choices": None,
    "unit": None,
    "precision": None,
    "answer": "3",
    "question_type": "free_form",
    "answer_type": "integer",
    "metadata": {"task": "t", "skills": []},
    "response": "There are 3.",
    "extraction": "3",
    "true_false": True,
}
WEMATH = {
    "ID": "2steps_1",
    "key": "2steps_multi",
    "question": "Which?",
    "option": "A. 1; B. 2",
    "answer": "B",
    "knowledge concept": "k",
    "image_path": "1.png",
    "response": "<Answer>: <<B>>",
}
MATHVERSE = {
    "sample_index": "7",
    "problem_index": "2",
    "problem_version": "Vision Only",
    "question": "",
    "answer": "B",
    "question_type": "multi-choice",
    "metadata": {"subject": "Plane Geometry", "subfield": "Angle"},
    "model_answer": "It is B.",
    "judgement": "1",
}
MATHVISION = {"id": "1", "response": "C", "model_answer": "c", "correct": False}


def kept(path: Path, name: str) -> Published:
    assert benchmark_of(path) in (None, name)
    return read(path, benchmark(name))


def write(path: Path, content: Any) -> Path:
    path.write_text(json.dumps(content), encoding="utf-8")
    return path
