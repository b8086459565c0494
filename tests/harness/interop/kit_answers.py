"""Saved answers to a few items of each benchmark, to hand to VLMEvalKit."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from pathlib import Path

from benchmarks.base import Generation, Item
from benchmarks.registry import benchmark
from benchmarks.saved.answer import Answer
from benchmarks.tiny import write_benchmark
from harness.rescoring.saved import Saved

MATHVISION = [
    {
        "id": "1",
        "question": "How many?\n<image1>",
        "options": ["1", "2", "3", "4", "5"],
        "answer": "B",
        "level": 2,
        "subject": "counting",
    },
    {"id": "2", "question": "<image1>", "options": [], "answer": "8.0", "level": 3, "subject": "x"},
]

#: Ways to say a letter. Constructed, not a model's: right and wrong letters are equally often said.
PHRASES = (
    "<Thought process>: <<We look.>> <Answer>: <<{letter}>>",
    "We compute step by step, so it is \\boxed{{{letter}}}",
    "The answer is {letter}.",
    "**Answer:** ({letter})",
    "<think>Area first.</think><answer>{letter}</answer>",
    "{letter}",
    "Because the sides are equal, choose {letter}",
    "Answer: {letter}. Check: this fits, Answer confirmed.",
    "",
    "None",
    "I cannot tell.",
)


def items_of(name: str, folder: Path) -> list[Item]:
    if name == "mathvision":
        (folder / "test.jsonl").write_text("\n".join(map(json.dumps, MATHVISION)))
        return list(benchmark(name).items("test", [("row", row) for row in MATHVISION]))  # type: ignore[attr-defined]
    write_benchmark(name, folder / name)
    return benchmark(name).load(folder / name)


def answered(name: str, items: Sequence[Item], texts: Sequence[str]) -> Saved:
    said = [
        Answer(Generation(item.id, "greedy", 0, text))
        for item, text in zip(items, texts, strict=True)
    ]
    return Saved(benchmark(name), "test", tuple(items), tuple(said), len(items))


def constructed(items: Sequence[Item]) -> list[str]:
    draw = random.Random(0)
    letters = [item.answer if draw.random() < 0.5 else draw.choice("ABCDE") for item in items]
    return [PHRASES[n % len(PHRASES)].format(letter=letter) for n, letter in enumerate(letters)]
