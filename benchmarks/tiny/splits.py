"""The splits: fixed lists of questions, drawn from fixed seeds.

``train`` and ``hard`` show only scenes outside the held-out quarter, every other split only scenes
inside it, so no benchmark shows a picture of a training split or of the pre-training corpus.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from random import Random

from benchmarks.base import Item
from benchmarks.tiny import problems, scenes
from benchmarks.tiny.draw import png
from benchmarks.tiny.problems import KINDS, Problem

FAMILY = {kind: family for family, kinds in KINDS.items() for kind in kinds}
UNIT = "kg"

#: How many questions of each kind a split has.
TRAIN = {
    "sum": 300,
    "diff": 300,
    "max": 170,
    "min": 170,
    "mean": 120,
    "bar": 60,
    "dial": 90,
    "left": 80,
    "third": 110,
    "slope": 100,
}
#: Questions whose values are all told in words, for training without pictures.
TEXT = {"sum": 240, "diff": 240, "max": 120, "min": 120, "third": 80}
COUNT = {"count": 800}
HARD_TEST = {"count": 200}
MATHVISTA = {
    "sum": 60,
    "diff": 60,
    "max": 35,
    "min": 35,
    "mean": 20,
    "bar": 15,
    "dial": 20,
    "left": 15,
    "third": 20,
    "slope": 20,
}


@dataclass(frozen=True)
class Asked:
    """A problem as a split asks it: the rendering of its text, its choices and its unit.

    ``given`` of its values are told in words.
    """

    problem: Problem
    form: str  # "mathvista", "wemath" or "mathverse"
    choices: tuple[str, ...] = ()
    unit: str = ""
    given: int = 0

    @property
    def question(self) -> str:
        """The text that a model is asked."""
        text = self.problem.text(self.given)
        if self.form == "wemath":
            return f"{text}\n{problems.wemath_option(self.choices)}"
        if self.form == "mathverse":
            return problems.mathverse_text(text, self.choices)
        return problems.mathvista_text(text, self.choices, self.unit)

    @property
    def letter_or_value(self) -> str:
        """The gold as We-Math and MathVerse write it: the letter of a choice, else the value."""
        answer = self.problem.answer
        return "ABCD"[self.choices.index(answer)] if self.choices else answer


def draw_problem(rng: Random, kind: str, held_out: bool) -> Problem:
    """A random problem of this kind about a scene inside or outside the held-out quarter."""
    while True:
        scene = scenes.sample(rng, FAMILY[kind])
        problem = problems.sample(rng, scene, kind)
        # A difference of 0 cannot be sampled around: see problems.sample.
        if scene.held_out == held_out and not (kind == "diff" and problem.answer == "0"):
            return problem


def draw(
    seed: str, kinds: Mapping[str, int], held_out: bool, forms: tuple[str, ...], choice_share: float
) -> list[Asked]:
    """Shuffled questions, ``kinds[kind]`` of each kind, no picture asked the same thing twice."""
    rng = Random(f"tiny world: {seed}")
    asked: list[Asked] = []
    for kind, count in kinds.items():
        seen: set[tuple[scenes.Scene, str]] = set()
        while len(seen) < count:
            problem = draw_problem(rng, kind, held_out)
            if (problem.scene, problem.text()) in seen:
                continue
            seen.add((problem.scene, problem.text()))
            form = rng.choice(forms)
            choices = problem.options(rng) if rng.random() < choice_share else ()
            if form == "wemath" and not choices:
                form = "mathvista"
            plain = form == "mathvista" and not choices
            unit = UNIT if kind == "dial" and plain and rng.random() < 0.5 else ""
            helped = problem.scene.family == "bars" and kind not in ("max", "min")
            given = 1 if helped and form == "mathvista" and rng.random() < 0.15 else 0
            given = min(given, len(problem.quantities()))
            asked.append(Asked(problem, form, choices, unit, given))
    rng.shuffle(asked)
    return asked


@cache
def split(name: str) -> tuple[Asked, ...]:
    """The questions of a split by name; ``mathvista`` is what the mini MathVista is made of."""
    every = ("mathvista", "wemath", "mathverse")
    if name == "train":
        return tuple(draw("train", TRAIN, False, every, 0.45))
    if name == "text":
        asked = draw("text", TEXT, False, ("mathvista",), 0.0)
        return tuple(replace(a, given=len(a.problem.quantities())) for a in asked)
    if name == "hard":
        return tuple(draw("hard", COUNT, False, ("mathvista",), 0.0))
    if name == "hard_test":
        return tuple(draw("hard_test", HARD_TEST, True, ("mathvista",), 0.0))
    if name == "mathvista":
        return tuple(draw("mathvista", MATHVISTA, True, ("mathvista",), 0.45))
    raise KeyError(f"unknown split {name!r}; known: train, text, hard, hard_test")


def item(name: str, number: int, asked: Asked) -> Item:
    """The question as an item; its solution is a careful response under the ``boxed`` template.

    Where there are choices, the answer is the text of the right one, as in MathVista.
    """
    problem = asked.problem
    return Item(
        id=f"tiny-{name}-{number}",
        question=asked.question,
        answer=problem.answer,
        images=() if name == "text" else (png(problem.scene.draw()),),
        cluster=f"tiny-{name}-{number}",
        solution=f"{problem.work().trace} \\boxed{{{problem.answer}}}",
        meta={"kind": problem.kind},
    )
