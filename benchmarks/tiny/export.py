"""Mini benchmarks in their owners' schemas: the files that the official loaders read.

Same field names, types and file layout as the owners'; the figures and their names are ours. Each
figure is a scene of the held-out quarter.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

from benchmarks.tiny.draw import png
from benchmarks.tiny.problems import Problem, footer, mathverse_text, mathvista_text, wemath_option
from benchmarks.tiny.splits import Asked, draw_problem, split

Row = dict[str, Any]

_VISTA = {  # family: task, context, grade, category, skills
    "bars": (
        "figure question answering",
        "bar chart",
        "elementary school",
        "math-targeted-vqa",
        ["statistical reasoning", "arithmetic reasoning"],
    ),
    "dial": (
        "textbook question answering",
        "scientific figure",
        "daily life",
        "general-vqa",
        ["scientific reasoning", "numeric commonsense"],
    ),
    "triangle": (
        "geometry problem solving",
        "geometry diagram",
        "high school",
        "math-targeted-vqa",
        ["geometry reasoning", "algebraic reasoning"],
    ),
    "line": (
        "figure question answering",
        "function plot",
        "college",
        "math-targeted-vqa",
        ["algebraic reasoning"],
    ),
    "shapes": (
        "visual question answering",
        "synthetic scene",
        "elementary school",
        "general-vqa",
        ["numeric commonsense", "arithmetic reasoning"],
    ),
}
_HINTS = {
    "text": "and provide the correct option letter, e.g., A, B, C, D, at the end.",
    "integer": "requiring an integer answer and provide the final value, e.g., 1, 2, 3, "
    "at the end.",
    "float": "requiring a floating-point number with one decimal place and provide the final "
    "value, e.g., 1.2, 1.3, 1.4, at the end.",
}


def write(name: str, folder: Path) -> None:
    """Write ``testmini.json`` and its pictures. Raises KeyError on an unknown name."""
    if name not in _WRITERS:
        raise KeyError(f"no mini benchmark {name!r}; known: {', '.join(_WRITERS)}")
    folder.mkdir(parents=True, exist_ok=True)
    content = _WRITERS[name](folder)
    text = json.dumps(content, indent=1, ensure_ascii=False) + "\n"
    (folder / "testmini.json").write_text(text, encoding="utf-8")


def _picture(folder: Path, path: str, problem: Problem, *bands: tuple[str, ...]) -> str:
    file = folder / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(png(problem.scene.draw(*bands)))
    return path


def _mathvista(folder: Path, name: str) -> dict[str, Row]:
    numbered = enumerate(split(name), start=1)
    return {str(i): _mathvista_row(folder, str(i), asked) for i, asked in numbered}


def _mathvista_row(folder: Path, pid: str, asked: Asked) -> Row:
    problem = asked.problem
    family = problem.scene.family
    task, context, grade, category, skills = _VISTA[family]
    if problem.kind == "bar":
        task = "visual question answering"
    elif asked.given:
        task = "math word problem"
    answer_type = "text" if asked.choices else "float" if problem.kind == "mean" else "integer"
    question = problem.text(asked.given)
    height, width = problem.scene.draw().shape[:2]
    shown = mathvista_text(question, asked.choices, asked.unit)
    return {
        "question": question,
        "image": _picture(folder, f"images/{pid}.png", problem),
        "choices": list(asked.choices) or None,
        "unit": asked.unit or None,
        "precision": 1 if answer_type == "float" else None,
        "answer": problem.answer,
        "question_type": "multi_choice" if asked.choices else "free_form",
        "answer_type": answer_type,
        "pid": pid,
        "metadata": {
            "split": "testmini",
            "language": "english",
            "img_width": width,
            "img_height": height,
            "source": f"Tiny {family}",
            "category": category,
            "task": task,
            "context": context,
            "grade": grade,
            "skills": list(skills),
        },
        "query": f"Hint: Please answer the question {_HINTS[answer_type]}\nQuestion: {shown}",
    }


_READ_BARS = "Reading a Bar Chart"
_CONCEPTS = {  # composite kind: the concepts of its steps, in order
    "sum": (_READ_BARS, "Addition of Two Numbers"),
    "diff": (_READ_BARS, "Subtraction of Two Numbers"),
    "third": ("Understanding and Representing Angles", "Sum of Interior Angles of Triangles"),
    "mean": (_READ_BARS, "Comparing Two Bars", "Mean of Two Numbers"),
    "slope": ("Finding Positions Based on Ordered Pairs", "Points of a Line", "Slope of a Line"),
}
_DESCRIPTIONS = {
    _READ_BARS: "The height of a bar is its value.",
    "Addition of Two Numbers": "The sum of a and b is a + b.",
    "Subtraction of Two Numbers": "The difference of a and b is the larger minus the smaller.",
    "Understanding and Representing Angles": "An angle is measured in degrees.",
    "Sum of Interior Angles of Triangles": "The three angles of a triangle add up to 180 degrees.",
    "Comparing Two Bars": "Two bars of one chart share its scale.",
    "Mean of Two Numbers": "The mean of a and b is (a + b) / 2.",
    "Finding Positions Based on Ordered Pairs": "(x, y) lies x to the right and y up.",
    "Points of a Line": "A line has one height above each x.",
    "Slope of a Line": "The slope is the change in height over one step to the right.",
}
_GROUPS: dict[str, tuple[str, ...]] = {"2steps": ("sum",) * 18 + ("diff",) * 18 + ("third",) * 12}
_GROUPS["3steps"] = ("mean",) * 20 + ("slope",) * 19


def _wemath(folder: Path) -> list[Row]:
    """48 two-step and 39 three-step groups: 300 rows, numbered key by key as the owners do."""
    rng = Random("tiny world: wemath")
    rows: list[Row] = []
    for steps, kinds in _GROUPS.items():
        order = list(kinds)
        rng.shuffle(order)
        for number, kind in enumerate(order, start=1):
            rows += _wemath_group(folder, rng, f"{steps}_{number}", kind)
    keys = list(dict.fromkeys(sorted((row["key"] for row in rows), key=lambda k: (k[0], k[-5:]))))
    rows.sort(key=lambda row: keys.index(row["key"]))
    for number, row in enumerate(rows, start=1):
        row["question number"] = number
    return rows


def _wemath_group(folder: Path, rng: Random, group: str, kind: str) -> list[Row]:
    composite = draw_problem(rng, kind, held_out=True)
    scene, concepts = composite.scene, _CONCEPTS[kind]
    reading = {"bars": "bar", "triangle": "angle", "line": "point"}[scene.family]
    places = composite.which or (0, 1)
    reads = [Problem(reading, scene, (place,)) for place in places[: len(concepts) - 1]]
    steps = [(problem, 0) for problem in reads] + [(composite, len(reads))]
    keys = [str(i) for i in range(1, len(steps) + 1)]
    named = zip(keys, steps, concepts, strict=True)
    rows = [_wemath_row(folder, rng, group, key, *step, (name,)) for key, step, name in named]
    return [*rows, _wemath_row(folder, rng, group, "multi", composite, 0, concepts)]


def _wemath_row(
    folder: Path,
    rng: Random,
    group: str,
    key: str,
    problem: Problem,
    given: int,
    concepts: tuple[str, ...],
) -> Row:
    steps, number = group.split("_")
    described = (f"{concept}:\n1. {_DESCRIPTIONS[concept]}" for concept in concepts)
    asked = Asked(problem, "wemath", problem.options(rng), given=given)
    return {
        "ID": group,
        "split": "testmini",
        "knowledge concept": ";".join(concepts),
        "question": problem.text(given),
        "option": wemath_option(asked.choices),
        "answer": asked.letter_or_value,
        "image_path": _picture(folder, f"{steps}/image/{number}-{key}.png", problem),
        "key": f"{steps}_{key}",
        "question number": 0,
        "knowledge concept description": "\n".join(described),
    }


#: Version, how many of the needed values are told in words, whether words say what is shown.
_VERSIONS = (
    ("Text Dominant", 3, True),
    ("Text Lite", 3, False),
    ("Vision Intensive", 1, False),
    ("Vision Dominant", 0, False),
)
_VERSE = {"third": 20, "slope": 12, "point": 8, "sum": 7, "diff": 7, "max": 3, "min": 3}
_SUBJECTS = {
    "third": ("Plane Geometry", "Angle"),
    "slope": ("Functions", "Property"),
    "point": ("Functions", "Coordinate"),
}
_FINAL = {
    "multi-choice": "provide the correct option letter, e.g., A, B, C, D",
    "free-form": "provide the final value, e.g., 1, 2.5, 300",
}


def _mathverse(folder: Path) -> list[Row]:
    """60 problems in five versions: from all values in words to the question in the picture."""
    rng = Random("tiny world: mathverse")
    kinds = [kind for kind, count in _VERSE.items() for _ in range(count)]
    rng.shuffle(kinds)
    rows: list[Row] = []
    for index, kind in enumerate(kinds, start=1):
        problem = draw_problem(rng, kind, held_out=True)
        choices = problem.options(rng) if index % 3 == 0 else ()
        asked = Asked(problem, "mathverse", choices)
        image = _picture(folder, f"images_version_1-4/image_{index}.png", problem)
        path = f"images_version_6/image_{index}.png"
        last = _picture(folder, path, problem, problem.header(), footer(choices))
        questions = [mathverse_text(problem.text(n, about), choices) for _, n, about in _VERSIONS]
        for version, question in zip(_VERSIONS, questions, strict=True):
            rows.append(_mathverse_row(asked, index, version[0], question, image, question))
        rows.append(_mathverse_row(asked, index, "Vision Only", "", last, questions[-1]))
    for number, row in enumerate(rows, start=1):
        row["sample_index"] = str(number)
    return rows


def _mathverse_row(
    asked: Asked, index: int, version: str, question: str, image: str, for_eval: str
) -> Row:
    kind = "multi-choice" if asked.choices else "free-form"
    subject, subfield = _SUBJECTS.get(asked.problem.kind, ("Plane Geometry", "Length"))
    if question:
        direct = f"Please directly answer the question and {_FINAL[kind]}.\nQuestion: {question}"
        first = "Please first conduct reasoning, and then answer the question"
        reasoned = f"{first} and {_FINAL[kind]}, at the end.\nQuestion: {question}"
    else:
        shown = "According to the question shown in the image, please"
        direct = f"{shown} directly answer the question and {_FINAL[kind]}."
        reasoned = f"{shown} first conduct reasoning, and then answer the question and "
        reasoned += f"{_FINAL[kind]}, at the end."
    return {
        "sample_index": "",
        "problem_index": str(index),
        "problem_version": version,
        "question": question,
        "image": image,
        "answer": asked.letter_or_value,
        "question_type": kind,
        "metadata": {
            "split": "testmini",
            "source": "Tiny world",
            "subject": subject,
            "subfield": subfield,
        },
        "query_wo": direct,
        "query_cot": reasoned,
        "question_for_eval": for_eval,
    }


_WRITERS: dict[str, Callable[[Path], dict[str, Row] | list[Row]]] = {
    "mathvista": lambda folder: _mathvista(folder, "mathvista"),
    "hard": lambda folder: _mathvista(folder, "hard_test"),
    "wemath": _wemath,
    "mathverse": _mathverse,
}
