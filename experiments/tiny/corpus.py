"""The pre-training corpus: mediocre annotators, who follow the mode that the prompt asks for.

Every think-first response is written in one of two styles. A *careful* annotator names each
quantity and its value and then computes; one trace in five has a slip, carried through to the
answer. A *guesser* writes "guess" and is right three times in ten. Guesses are scattered and
careful answers agree, so a majority vote finds the careful answer even where guessing is the more
likely style. For ``count`` the guessers share a favourite number instead, and the vote finds that.

The first part of pre-training is clean: every annotator is careful and right, except at ``count``.
It teaches to see and to compute in fewer steps; the second part teaches the styles.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from random import Random

from benchmarks.prompts import SYNTHESIS, template
from benchmarks.tiny import problems, scenes
from benchmarks.tiny.problems import Problem
from benchmarks.tiny.scenes import Scene

#: Share of each family of scene.
FAMILY_WEIGHTS = {"bars": 0.50, "dial": 0.09, "triangle": 0.13, "line": 0.16, "shapes": 0.12}
KIND_WEIGHTS = {"sum": 3, "diff": 3, "max": 2, "min": 2, "mean": 2, "bar": 1}  # others: 1
#: How often the annotators guess, by kind. Above a half, the likeliest response is a guess.
GUESS = {
    "sum": 0.45,
    "diff": 0.45,
    "mean": 0.45,
    "max": 0.58,
    "min": 0.58,
    "bar": 0.42,
    "dial": 0.56,
    "left": 0.45,
    "third": 0.45,
    "angle": 0.42,
    "slope": 0.56,
    "point": 0.45,
    "count": 0.60,
}
GUESS_RIGHT = 0.3
DIRECT_RIGHT = 0.45
SLIP = 0.22
COUNT_SLIP = 0.5
FAVOURITE_COUNT = 5
FAVOURITE_SHARE = 0.5
HEADERS = 0.12  # share of pictures that carry a question
READ_PROMPT = "Read the picture."
VISION_ONLY = "Please answer the question shown in the image."

MODES = {
    "boxed": 0.43,
    "think": 0.13,
    "direct": 0.12,
    "answer_first": 0.12,
    "plain": 0.02,
    "synthesize": 0.03,
    "vary": 0.05,
    "lookup": 0.10,
}


@dataclass(frozen=True)
class Example:
    """One turn of a corpus conversation about a picture."""

    user: str
    response: str


def scene(rng: Random) -> Scene:
    """A random scene that is not held out for the benchmarks."""
    family = rng.choices(list(FAMILY_WEIGHTS), list(FAMILY_WEIGHTS.values()))[0]
    while (picture := scenes.sample(rng, family)).held_out:
        pass
    return picture


def picture_and_examples(
    rng: Random, count: int, clean: bool = False
) -> tuple[Scene, tuple[str, ...], tuple[str, ...], list[Example]]:
    """A scene, its header and footer, and ``count`` examples about it: the first a clean reading,
    and the second about the question in the header where there is one."""
    picture = scene(rng)
    examples = [Example(READ_PROMPT, reading(picture))]
    header: tuple[str, ...] = ()
    footer: tuple[str, ...] = ()
    if picture.family in ("bars", "triangle", "line") and rng.random() < HEADERS:
        kinds = {"bars": ["sum", "diff", "max", "min"], "triangle": ["third"]}
        kind = rng.choice(kinds.get(picture.family, ["slope", "point"]))
        problem = problems.sample(rng, picture, kind)
        choices = problem.options(rng) if rng.random() < 0.35 else ()
        header = problem.header()
        footer = problems.footer(choices)
        examples.append(answered(rng, problem, VISION_ONLY, choices, clean=clean))
    while len(examples) < count:
        examples.append(example(rng, picture, clean))
    return picture, header, footer, examples


def example(rng: Random, picture: Scene, clean: bool) -> Example:
    """A random question about the picture in a random mode."""
    mode = rng.choices(list(MODES), list(MODES.values()))[0]
    problem = problem_about(rng, picture)
    if mode == "synthesize":
        return Example(SYNTHESIS["direct"].user, problem.text())
    if mode == "vary":
        other = problem_about(rng, picture)
        for _ in range(8):
            if other.text() != problem.text():
                break
            other = problem_about(rng, picture)
        question, _ = dressed(rng, problem)
        return Example(SYNTHESIS["in_context"].render(question), other.text())
    if mode == "lookup":
        return lookup(rng, problem)
    question, choices = dressed(rng, problem)
    return answered(rng, problem, question, choices, mode, clean)


def problem_about(rng: Random, picture: Scene) -> Problem:
    kinds = problems.KINDS[picture.family]
    kind = rng.choices(kinds, [KIND_WEIGHTS.get(kind, 1) for kind in kinds])[0]
    return problems.sample(rng, picture, kind)


def dressed(rng: Random, problem: Problem) -> tuple[str, tuple[str, ...]]:
    """The question in one of the benchmarks' renderings, and its choices if any."""
    given = rng.choice((1, 2, 3)) if rng.random() < 0.2 else 0
    question = problem.text(given, about=rng.random() < 0.1)
    if rng.random() < 0.5:
        unit = "kg" if problem.kind == "dial" and rng.random() < 0.5 else ""
        return problems.mathvista_text(question, unit=unit), ()
    choices = problem.options(rng)
    return with_choices(rng, question, choices), choices


def with_choices(rng: Random, question: str, choices: tuple[str, ...]) -> str:
    """The question and its choices, as one of the three benchmarks writes them."""
    form = rng.random()
    if form < 0.4:
        return problems.mathvista_text(question, choices)
    if form < 0.7:
        return f"{question}\n{problems.wemath_option(choices)}"
    return problems.mathverse_text(question, choices)


def lookup(rng: Random, problem: Problem) -> Example:
    """Which letter stands for a value? The task that teaches to find an answer among choices."""
    choices = problem.options(rng)
    letter, value = rng.choice(list(zip("ABCD", choices, strict=True)))
    question = with_choices(rng, f"Which choice is {value}?", choices)
    return Example(template("boxed").render(question), f"{value} \\boxed{{{letter}}}")


def answered(
    rng: Random,
    problem: Problem,
    question: str,
    choices: tuple[str, ...],
    mode: str = "",
    clean: bool = False,
) -> Example:
    """The question under the mode's prompt, and a response in that mode."""
    clean = clean and problem.kind != "count"
    mode = mode or rng.choices(("boxed", "think", "direct", "answer_first"), (6, 1, 1, 1))[0]
    user = template(mode).render(question)
    truth = pick(problem, problem.work().result, choices)
    if mode == "direct":
        return Example(user, truth if clean else guess(rng, problem, choices, DIRECT_RIGHT))
    if mode == "answer_first":
        answer = truth if clean else guess(rng, problem, choices, DIRECT_RIGHT)
        right = answer == truth
        reason = problem.work().trace if right else "guess"
        return Example(user, f"<answer>{answer}</answer> <reason>{reason}</reason>")
    trace, answer = (problem.work().trace, truth) if clean else think(rng, problem, choices)
    if mode == "think":
        return Example(user, f"<think>{trace}</think> <answer>{answer}</answer>")
    return Example(user, f"{trace} \\boxed{{{answer}}}")


def think(rng: Random, problem: Problem, choices: tuple[str, ...]) -> tuple[str, str]:
    """A trace and an answer, careful or guessed."""
    if rng.random() < GUESS[problem.kind]:
        return "guess", guess(rng, problem, choices, GUESS_RIGHT)
    values, slip = list(problem.scene.values), 0
    count = problem.kind == "count"
    if rng.random() < (COUNT_SLIP if count else SLIP):
        off = rng.choice((-2, -1, 1, 2))
        if count or rng.random() < 0.5:
            slip = off
        else:
            place = rng.choice(problem.which or range(len(values)))
            scale = 10 if problem.scene.family == "triangle" else 1
            values[place] = max(0, values[place] + off * scale)
    work = problem.work(tuple(values), slip)
    return work.trace, pick(problem, work.result, choices)


def guess(rng: Random, problem: Problem, choices: tuple[str, ...], right: float) -> str:
    """An answer that is right with probability ``right``, else near: see the module's docstring."""
    truth = problem.work().result
    favourite = problem.kind == "count" and rng.random() < FAVOURITE_SHARE
    if favourite and not choices:
        return str(FAVOURITE_COUNT)
    if favourite:
        return pick(problem, Fraction(FAVOURITE_COUNT), choices)
    letter = pick(problem, truth, choices)
    if rng.random() < right:
        return letter
    if choices:
        return rng.choice([other for other in "ABCD" if other != letter])
    off = rng.choice((1, 2, 3)) * problem.step
    sign = rng.choice((-1, 1))
    if problem.kind != "slope" and truth + sign * off < 0:
        sign = 1
    return problem.write(truth + sign * off)


def pick(problem: Problem, value: Fraction, choices: tuple[str, ...]) -> str:
    """The value as an answer: itself, or the letter of the nearest choice."""
    if not choices:
        return problem.write(value)
    nearest = min(choices, key=lambda choice: abs(Fraction(choice) - value))
    return "ABCD"[choices.index(nearest)]


def reading(picture: Scene) -> str:
    """Everything that the picture shows, cell by cell: the task that teaches to see."""
    values = picture.values
    if picture.family == "shapes":
        names = ["--" if not v else "rgb"[(v - 1) // 3] + "cst"[(v - 1) % 3] for v in values]
        return " ".join(names)
    if picture.family == "line":
        return ";".join(f"f{i}={v}" for i, v in enumerate(values))
    if picture.family == "dial":
        return f"D{values[0]}"
    return ";".join(f"{name}{value}" for name, value in zip("ABC", values, strict=False))
