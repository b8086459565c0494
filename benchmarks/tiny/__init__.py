"""The tiny world: small visual-mathematics questions, and a model that a laptop can train.

Pictures of 84 x 84 pixels, questions in the schemas of MathVista, We-Math and MathVerse, and a
base model with the real Qwen2.5-VL architecture and 0.6 million weights. It goes through the same
code as a 7B model.

What it shows, and what it does not. The base was pre-trained (``experiments/tiny``) on annotators
who sometimes work carefully and sometimes guess. So it is mediocre but agrees with itself: a
majority of its samples is right more often than one sample, and training on that majority makes it
better. **This gain is, by construction, a selection among the base's own styles**: it elicits a
skill that the base has and teaches no new one. On the ``hard`` split (counting) the base's guesses
agree on a wrong answer, and the same training makes it worse while its reward rises.
"""

from __future__ import annotations

from pathlib import Path

from benchmarks.base import Item
from benchmarks.tiny import export, splits

#: Rises with every change to the questions, the pictures or the base model.
VERSION = 2

SPLITS = ("train", "text", "hard", "hard_test")
BENCHMARKS = ("mathvista", "wemath", "mathverse", "hard")


def checkpoint() -> Path:
    """The folder of the base model, in Hugging Face layout."""
    return Path(__file__).parent / "base"


def questions(split: str) -> list[Item]:
    """The questions of a split: ``train`` (1500, voting helps), ``text`` (800, told in words,
    without pictures), ``hard`` (800, voting collapses) or ``hard_test`` (200, held-out pictures).
    Raises KeyError on any other name."""
    if split not in SPLITS:
        raise KeyError(f"unknown split {split!r}; known: {', '.join(SPLITS)}")
    return [splits.item(split, i, asked) for i, asked in enumerate(splits.split(split))]


def write_benchmark(name: str, folder: Path) -> None:
    """Write a mini benchmark of 300 items (``hard``: the 200 of ``hard_test``, as a MathVista) into
    ``folder``: ``testmini.json`` and pictures, in the owners' schema. Raises KeyError on a name
    that is not in ``BENCHMARKS``."""
    export.write(name, folder)
