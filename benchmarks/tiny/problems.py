"""What is asked about a scene: kinds of question, their answers, worked traces and options.

A trace names a quantity before its value ("A3;C7;3+7=10"), and is a function of the values that its
writer *perceived*: a misread value or a slip in the result is carried through to the answer.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from random import Random

from benchmarks.tiny.scenes import SHAPE_COLOURS, SHAPES, Scene

#: The kinds of question by family of scene.
KINDS: dict[str, tuple[str, ...]] = {
    "bars": ("sum", "diff", "max", "min", "mean", "bar"),
    "dial": ("dial", "left"),
    "triangle": ("third", "angle"),
    "line": ("slope", "point"),
    "shapes": ("count",),
}
_ABOUT = {
    "bars": "The picture shows three bars.",
    "dial": "The picture shows a dial.",
    "triangle": "The picture shows a triangle.",
    "line": "The picture shows a line.",
    "shapes": "The picture shows shapes.",
}


@dataclass(frozen=True)
class Work:
    """A worked solution: the trace before the answer, and the answer as a number."""

    trace: str
    result: Fraction


@dataclass(frozen=True)
class Problem:
    """One question of ``kind`` about a scene. ``which`` picks the quantities it is about: bars by
    index, a point of the line, or for ``count`` the index of a shape (0-2) or colour (3-5)."""

    kind: str
    scene: Scene
    which: tuple[int, ...] = ()

    @property
    def step(self) -> Fraction:
        """The distance between neighbouring answers of this kind."""
        return {"mean": Fraction(1, 2), "third": Fraction(10), "angle": Fraction(10)}.get(
            self.kind, Fraction(1)
        )

    @property
    def answer(self) -> str:
        return self.write(self.work().result)

    def write(self, value: Fraction) -> str:
        """A value as this kind writes its answers: means with one decimal, the rest as integers."""
        return f"{float(value):.1f}" if self.kind == "mean" else str(int(value))

    def text(self, given: int = 0, about: bool = False) -> str:
        """The question in words. ``given`` of the needed values are told in words too; ``about``
        adds what the picture shows."""
        values = list(self.quantities().items())[:given]
        told = " and ".join(f"{name} is {value}" for name, value in values)
        if told.startswith("angle"):
            told = told.replace("angle", "Angle", 1)
        parts = (_ABOUT[self.scene.family] if about else "", f"{told}." if told else "", _ask(self))
        return " ".join(filter(None, parts))

    def quantities(self) -> dict[str, int]:
        """The values that help with the question, by the name they have in words."""
        values = self.scene.values
        if self.kind in ("bar", "angle"):
            return {}
        if self.scene.family == "bars":
            return {"ABC"[i]: values[i] for i in self.which or (0, 1, 2)}
        if self.scene.family == "triangle":
            return {f"angle {'AB'[i]}": values[i] for i in (0, 1)}
        if self.scene.family == "line":
            points = [i for i in range(3) if i not in self.which][:2]
            return {f"f({i})": values[i] for i in points}
        return {}

    def header(self) -> tuple[str, str, str]:
        """The question in three cells, for pictures that carry their question."""
        if self.kind in ("sum", "diff"):
            a, b = ("ABC"[i] for i in self.which)
            return (a, "+" if self.kind == "sum" else "-", b)
        if self.kind == "point":
            return ("f(", f"{self.which[0]})", "=?")
        return _HEADERS[self.kind]

    def work(self, values: tuple[int, ...] | None = None, slip: int = 0) -> Work:
        """The worked solution for these perceived ``values`` (default: the true ones), its result
        off by ``slip`` steps."""
        return _WORK[self.kind](self, values or self.scene.values, slip * self.step)

    def options(self, rng: Random, count: int = 4) -> tuple[str, ...]:
        """``count`` different answers in random order, one of them right."""
        right = self.work().result
        lowest = -3 if self.kind == "slope" else 0
        near = [right + i * self.step for i in (-4, -3, -2, -1, 1, 2, 3, 4)]
        wrong = rng.sample([value for value in near if value >= lowest], count - 1)
        chosen = [right, *wrong]
        rng.shuffle(chosen)
        return tuple(self.write(value) for value in chosen)


_HEADERS = {
    "max": ("M", "A", "X"),
    "min": ("M", "I", "N"),
    "third": ("C", "=", "?"),
    "slope": ("sl", "op", "e?"),
}


def sample(rng: Random, scene: Scene, kind: str | None = None) -> Problem:
    """A random problem about the scene, of this kind or of any that its family has."""
    kind = kind or rng.choice(KINDS[scene.family])
    if kind in ("sum", "diff", "mean"):
        pairs = [(0, 1), (0, 2), (1, 2)]
        if kind == "diff":  # a difference of 0 would leave the guesser's noise one-sided
            pairs = [p for p in pairs if scene.values[p[0]] != scene.values[p[1]]] or pairs
        return Problem(kind, scene, rng.choice(pairs))
    if kind == "count":
        return Problem(kind, scene, (rng.randrange(6),))
    if kind in ("bar", "point", "angle"):
        return Problem(kind, scene, (rng.randrange(len(scene.values)),))
    return Problem(kind, scene)


def _ask(problem: Problem) -> str:
    which = problem.which
    if problem.kind in ("sum", "mean", "diff", "bar"):
        names = " and ".join("ABC"[i] for i in which)
        noun = {"sum": "sum", "mean": "mean", "diff": "difference", "bar": "value"}[problem.kind]
        return f"What is the {noun} of {names}?"
    if problem.kind == "angle":
        return f"What is angle {'AB'[which[0]]}?"
    if problem.kind == "point":
        return f"What is f({which[0]})?"
    if problem.kind == "count":
        what = SHAPES[which[0]] if which[0] < 3 else f"{SHAPE_COLOURS[which[0] - 3]} shape"
        return f"How many {what}s are there?"
    return {
        "max": "What is the largest value?",
        "min": "What is the smallest value?",
        "dial": "What does the dial show?",
        "left": "How much is missing to 12 on the dial?",
        "third": "What is angle C?",
        "slope": "What is the slope of the line?",
    }[problem.kind]


_Values = tuple[int, ...]


def _pair(problem: Problem, v: _Values, slip: Fraction) -> Work:
    i, j = problem.which
    read = f"{'ABC'[i]}{v[i]};{'ABC'[j]}{v[j]};"
    if problem.kind == "sum":
        result = v[i] + v[j] + slip
        return Work(f"{read}{v[i]}+{v[j]}={result}", result)
    if problem.kind == "mean":
        result = Fraction(v[i] + v[j], 2) + slip
        return Work(f"{read}{v[i] + v[j]}/2={float(result):.1f}", result)
    high, low = max(v[i], v[j]), min(v[i], v[j])
    result = abs(high - low + slip)
    return Work(f"{read}{high}-{low}={result}", result)


def _extreme(problem: Problem, v: _Values, slip: Fraction) -> Work:
    result = (max(v) if problem.kind == "max" else min(v)) + slip
    read = ";".join(f"{name}{value}" for name, value in zip("ABC", v, strict=True))
    return Work(f"{read};{problem.kind}={result}", result)


def _read(problem: Problem, v: _Values, slip: Fraction) -> Work:
    if problem.kind == "dial":
        return Work(f"D{v[0] + slip}", v[0] + slip)
    i = problem.which[0]
    result = v[i] + slip
    return Work(f"f{i}={result}" if problem.kind == "point" else f"{'ABC'[i]}{result}", result)


def _left(problem: Problem, v: _Values, slip: Fraction) -> Work:
    result = abs(12 - v[0] + slip)
    return Work(f"D{v[0]};12-{v[0]}={result}", result)


def _third(problem: Problem, v: _Values, slip: Fraction) -> Work:
    result = 180 - v[0] - v[1] + slip
    return Work(f"A{v[0]};B{v[1]};180-{v[0] + v[1]}={result}", result)


def _slope(problem: Problem, v: _Values, slip: Fraction) -> Work:
    result = v[1] - v[0] + slip
    return Work(f"f0={v[0]};f1={v[1]};{v[1]}-{v[0]}={result}", result)


def _count(problem: Problem, v: _Values, slip: Fraction) -> Work:
    target = problem.which[0]

    def hit(value: int) -> bool:
        colour, shape = divmod(value - 1, 3)
        return value > 0 and target == (shape if target < 3 else colour + 3)

    rows = [sum(map(hit, v[i : i + 3])) for i in (0, 3, 6)]
    result = abs(sum(rows) + slip)
    return Work(f"{rows[0]}+{rows[1]}+{rows[2]}={result}", result)


_WORK: dict[str, Callable[[Problem, _Values, Fraction], Work]] = {
    "sum": _pair,
    "diff": _pair,
    "mean": _pair,
    "max": _extreme,
    "min": _extreme,
    "bar": _read,
    "dial": _read,
    "angle": _read,
    "point": _read,
    "left": _left,
    "third": _third,
    "slope": _slope,
    "count": _count,
}


def mathvista_text(question: str, choices: tuple[str, ...] = (), unit: str = "") -> str:
    """The question as the MathVista loader puts it: unit, then choices as ``(A) x`` lines."""
    lines = [f"({letter}) {choice}" for letter, choice in zip("ABCD", choices, strict=False)]
    tail = "\nChoices:\n" + "\n".join(lines) if lines else ""
    return question + (f" (Unit: {unit})" if unit else "") + tail


def wemath_option(choices: tuple[str, ...]) -> str:
    """We-Math's ``option`` field: four choices, and the owners' fifth."""
    a, b, c, d = choices
    return f"A. {a};B. {b};C. {c};D. {d}; E. No correct answer"


def mathverse_text(question: str, choices: tuple[str, ...] = ()) -> str:
    """The question as MathVerse writes it: choices inside it, as ``A:x`` lines."""
    lines = [f"{letter}:{choice}" for letter, choice in zip("ABCD", choices, strict=False)]
    return question + ("\nChoices:\n" + "\n".join(lines) if lines else "")


def footer(choices: tuple[str, ...]) -> tuple[str, ...]:
    """The choices as short strings, for pictures that carry their question."""
    return tuple(f"{letter} {choice}" for letter, choice in zip("ABCD", choices, strict=False))
