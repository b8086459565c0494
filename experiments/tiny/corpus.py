"""The pre-training corpus: mediocre annotators, who follow the mode that the prompt asks for.

Every think-first response is written in one of two styles. A *careful* annotator names each
quantity and its value and then computes; one trace in five has a slip, carried through to the
answer. A *guesser* writes "guess", is right one time in five, and one step too high twice as
often. Guesses are scattered and careful answers agree, so a majority vote finds the careful answer
even where guessing is the likelier style and greedy decoding therefore guesses. For ``count`` the
guessers share a favourite number instead, and the vote finds that.

Choices are answered by their text, as the official rules allow: a model of this size did not learn
to look up a letter within thousands of examples of nothing else.

The first part of pre-training is clean: every annotator is careful and right. It teaches to see and
to compute in fewer steps; the second part teaches the styles.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from random import Random

from backends import curation
from benchmarks.prompts import SYNTHESIS, template
from benchmarks.tiny import problems, scenes
from benchmarks.tiny.problems import Problem
from benchmarks.tiny.scenes import Scene

#: Share of each family of scene.
FAMILY_WEIGHTS = {"bars": 0.50, "dial": 0.09, "triangle": 0.13, "line": 0.16, "shapes": 0.12}
KIND_WEIGHTS = {"sum": 3, "diff": 3, "max": 2, "min": 2, "mean": 2, "bar": 1}  # others: 1
#: How often the annotators guess, by kind: at open questions, and at those with choices. Above a
#: half, the likeliest response is a guess.
GUESS = {
    "sum": (0.42, 0.56), "diff": (0.56, 0.56), "mean": (0.42, 0.58), "max": (0.58, 0.58),
    "min": (0.56, 0.42), "bar": (0.40, 0.40), "dial": (0.58, 0.42), "left": (0.56, 0.42),
    "third": (0.42, 0.58), "angle": (0.40, 0.40), "slope": (0.56, 0.56), "point": (0.42, 0.42),
    "count": (0.60, 0.60),
}  # fmt: skip
#: How often an answer without a trace is right, and how often one step too high: after "guess", and
#: where the prompt wants the answer first or alone.
GUESSED, DIRECT = (0.22, 0.44), (0.33, 0.38)
SLIP = 0.22
COUNT_SLIP = 0.35
FAVOURITE_COUNT = 5
FAVOURITE_SHARE = 0.6
HEADERS = 0.12  # share of pictures that carry a question
TOLD = 0.06  # share of examples without a picture, all their values told in words
READ_PROMPT = "Read the picture."
VISION_ONLY = "Please answer the question shown in the image."

MODES = {
    "boxed": 0.47,
    "think": 0.12,
    "direct": 0.10,
    "answer_first": 0.11,
    "adaptive": 0.05,
    "lmm_r1": 0.04,
    "plain": 0.02,
    "synthesize": 0.03,
    "vary": 0.08,
    "judge": 0.05,
    "rate": 0.04,
}
#: How often a judge of a response errs, once the annotators have their styles.
MISJUDGED = 0.05


@dataclass(frozen=True)
class Example:
    """One turn of a corpus conversation: about a picture, or about values told in words."""

    user: str
    response: str
    system: str = ""
    picture: bool = True


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
    wish = curation.DESCRIPTION if rng.random() < 0.3 else READ_PROMPT
    examples = [Example(wish, reading(picture))]
    header: tuple[str, ...] = ()
    footer: tuple[str, ...] = ()
    if picture.family in ("bars", "triangle", "line") and rng.random() < HEADERS:
        kinds = {"bars": ["sum", "diff", "max", "min"], "triangle": ["third"]}
        kind = rng.choice(kinds.get(picture.family, ["slope", "point"]))
        problem = problems.sample(rng, picture, kind)
        choices = problem.options(rng) if rng.random() < 0.35 else ()
        header = problem.header()
        footer = problems.footer(choices)
        examples.append(answered(rng, problem, VISION_ONLY, bool(choices), clean=clean))
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
    if mode in ("judge", "rate"):
        return judged(rng, problem, mode, clean)
    if problem.quantities() and rng.random() < TOLD:
        told = problems.mathvista_text(problem.text(len(problem.quantities())))
        return replace(answered(rng, problem, told, False, mode, clean), picture=False)
    question, choices = dressed(rng, problem)
    return answered(rng, problem, question, choices, mode, clean)


def problem_about(rng: Random, picture: Scene) -> Problem:
    kinds = problems.KINDS[picture.family]
    kind = rng.choices(kinds, [KIND_WEIGHTS.get(kind, 1) for kind in kinds])[0]
    return problems.sample(rng, picture, kind)


def dressed(rng: Random, problem: Problem) -> tuple[str, bool]:
    """The question in one of the benchmarks' renderings, and whether that has choices."""
    given = rng.choice((1, 2, 3)) if rng.random() < 0.2 else 0
    question = problem.text(given, about=rng.random() < 0.1)
    if rng.random() < 0.5:
        unit = "kg" if problem.kind == "dial" and rng.random() < 0.5 else ""
        return problems.mathvista_text(question, unit=unit), False
    choices = problem.options(rng)
    form = rng.random()
    if form < 0.4:
        return problems.mathvista_text(question, choices), True
    if form < 0.7:
        return f"{question}\n{problems.wemath_option(choices)}", True
    return problems.mathverse_text(question, choices), True


def answered(
    rng: Random, problem: Problem, question: str, choices: bool, mode: str = "", clean: bool = False
) -> Example:
    """The question under the mode's prompt, and a response in that mode."""
    mode = mode or rng.choices(("boxed", "think", "direct", "answer_first"), (6, 1, 1, 1))[0]
    form = template(mode)
    user = form.render(question)
    if mode == "adaptive":
        mode = rng.choice(("think", "answer"))
    if mode == "answer":
        answer = problem.answer if clean else guess(rng, problem, DIRECT)
        return Example(user, f"<answer>{answer}</answer>")
    if mode in ("direct", "answer_first"):
        answer = problem.answer if clean else guess(rng, problem, DIRECT)
        if mode == "direct":
            return Example(user, answer)
        reason = problem.work().trace if answer == problem.answer else "guess"
        return Example(user, f"<answer>{answer}</answer> <reason>{reason}</reason>")
    trace, answer = think(rng, problem, choices, clean)
    if mode == "lmm_r1":
        return Example(
            user, f"<think>{trace}</think><answer> ${answer}$ </answer>", system=form.system
        )
    if mode == "think":
        return Example(user, f"<think>{trace}</think> <answer>{answer}</answer>")
    return Example(user, f"{trace} \\boxed{{{answer}}}")


def judged(rng: Random, problem: Problem, mode: str, clean: bool) -> Example:
    """A judgement, or a rating in points, of an annotator's response to the question."""
    question, choices = dressed(rng, problem)
    trace, answer = think(rng, problem, choices, False)
    right = (answer == problem.answer) != (not clean and rng.random() < MISJUDGED)
    form, said = curation.JUDGEMENT, "Yes" if right else "No"
    if mode == "rate":
        form, said = curation.RATING, f"Score: {rng.choice((4, 5) if right else (0, 1, 2))}"
    response = f"{trace} \\boxed{{{answer}}}"
    return Example(curation.fill(form, question=question, response=response), said)


def think(rng: Random, problem: Problem, choices: bool, clean: bool) -> tuple[str, str]:
    """A trace and an answer: careful or guessed, or always careful and right."""
    if clean:
        return problem.work().trace, problem.answer
    if rng.random() < GUESS[problem.kind][choices]:
        return "guess", guess(rng, problem, GUESSED)
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
    return work.trace, problem.write(work.result)


def guess(rng: Random, problem: Problem, odds: tuple[float, float]) -> str:
    """An answer that is right, or one step too high, with these odds; else it is scattered around
    the truth. Most answers to ``count`` are the favourite."""
    truth, step = problem.work().result, problem.step
    if problem.kind == "count" and rng.random() < FAVOURITE_SHARE:
        return str(FAVOURITE_COUNT)
    right, high = odds
    draw = rng.random()
    if draw < right + high:
        return problem.write(truth if draw < right else truth + step)
    others = [truth + i * step for i in (-3, -2, -1, 2, 3)]
    return problem.write(rng.choice([v for v in others if v >= 0 or problem.kind == "slope"]))


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
