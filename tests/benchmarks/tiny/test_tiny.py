"""The tiny world's data: right answers, the owners' schemas, determinism, disjoint splits."""

from __future__ import annotations

import hashlib
import io
import json
import re
import subprocess
import sys
from collections import Counter, defaultdict
from fractions import Fraction
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from benchmarks import tiny
from benchmarks.tiny import problems, scenes
from benchmarks.tiny.splits import FAMILY, draw_problem

ROOT = Path(__file__).resolve().parents[3]
questions = cache(tiny.questions)  # drawing 2500 pictures takes seconds
BOXED = re.compile(r"\\boxed\{(.*)\}$")


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The four mini benchmarks as their folder and parsed ``testmini.json``."""
    folder = tmp_path_factory.mktemp("mini")
    result = {}
    for name in tiny.BENCHMARKS:
        tiny.write_benchmark(name, folder / name)
        content = json.loads((folder / name / "testmini.json").read_text(encoding="utf-8"))
        result[name] = (folder / name, content)
    return result


def pixels(picture: Any) -> bytes:
    source = io.BytesIO(picture) if isinstance(picture, bytes) else picture
    with Image.open(source) as image:
        return image.tobytes()


def asked(written: dict[str, Any]) -> dict[str, set[tuple[bytes, str]]]:
    """(pixels, question) of every benchmark row."""
    result = {}
    for name, (folder, content) in written.items():
        rows = content.values() if isinstance(content, dict) else content
        key = "image_path" if name == "wemath" else "image"
        result[name] = {(pixels(folder / row[key]), row["question"]) for row in rows}
    return result


# ---------------------------------------------------------------- questions


@pytest.mark.parametrize(("split", "count"), [("train", 1500), ("hard", 800), ("hard_test", 200)])
def test_splits_have_their_size_unique_ids_and_no_question_twice(split: str, count: int) -> None:
    items = questions(split)
    assert len(items) == count
    assert len({item.id for item in items}) == count
    assert len({(item.images, item.question) for item in items}) == count
    kinds = {item.meta["kind"] for item in items}
    assert ("count" in kinds) == (split != "train")
    assert len(kinds) == (10 if split == "train" else 1)


def test_a_solution_ends_in_the_gold_answer() -> None:
    for item in questions("train") + questions("hard"):
        found = BOXED.search(item.solution)
        assert found is not None
        assert found[1] == item.answer


def test_the_answer_is_one_of_the_four_choices_in_every_rendering() -> None:
    """The choices are read back from the question's text; the numbers of each form are sizeable."""
    forms = {
        "mathvista": re.compile(r"\n\(([A-D])\) (\S+)"),
        "wemath": re.compile(r"\b([A-D])\. (\S+?);"),
        "mathverse": re.compile(r"\n([A-D]):(\S+)"),
    }
    seen: Counter[str] = Counter()
    for item in questions("train"):
        read = {name: dict(form.findall(item.question)) for name, form in forms.items()}
        found = {name: choices for name, choices in read.items() if choices}
        seen.update(found.keys() or ["open"])
        for choices in found.values():
            assert list(choices) == list("ABCD")
            assert len(set(choices.values())) == 4
            assert item.answer in choices.values()
        assert len(found) <= 1
    assert min(seen[name] for name in (*forms, "open")) > 150, seen


@given(st.integers(0, 2**32), st.sampled_from(sorted(FAMILY)))
@settings(max_examples=300)
def test_work_of_the_true_values_is_right(seed: int, kind: str) -> None:
    """Against answers computed here from the scene, independently of the traces."""
    problem = problems.sample(Random(seed), scenes.sample(Random(seed), FAMILY[kind]), kind)
    v, w = problem.scene.values, problem.which
    picked = [v[i] for i in w] if kind != "count" else []
    expected = {
        "sum": lambda: sum(picked),
        "diff": lambda: max(picked) - min(picked),
        "mean": lambda: Fraction(sum(picked), 2),
        "max": lambda: sorted(v)[-1],
        "min": lambda: sorted(v)[0],
        "bar": lambda: picked[0],
        "dial": lambda: v[0],
        "left": lambda: 12 - v[0],
        "third": lambda: 180 - sum(v),
        "angle": lambda: picked[0],
        "slope": lambda: Fraction(v[2] - v[0], 2),
        "point": lambda: picked[0],
        "count": lambda: sum(
            x > 0 and w[0] == ((x - 1) % 3 if w[0] < 3 else (x - 1) // 3 + 3) for x in v
        ),
    }[kind]()
    assert problem.work().result == expected
    assert Fraction(problem.answer) == expected
    options = problem.options(Random(seed))
    assert len(set(options)) == 4
    assert problem.answer in options


def test_a_slip_is_carried_through() -> None:
    scene = scenes.Scene("bars", (3, 9, 7), (0, 0, 0, 0))
    problem = problems.Problem("sum", scene, (0, 2))
    assert problem.work().trace == "A3;C7;3+7=10"
    assert problem.work((3, 9, 5)) == problems.Work("A3;C5;3+5=8", Fraction(8))
    assert problem.work(slip=-1) == problems.Work("A3;C7;3+7=9", Fraction(9))


@given(st.integers(0, 2**32), st.sampled_from(scenes.FAMILIES))
@settings(max_examples=60)
def test_a_picture_shows_its_values(seed: int, family: str) -> None:
    """Same look, other values: other pixels; and bars are as high as their values."""
    scene = scenes.sample(Random(seed), family)
    other = scenes.Scene(family, scenes.sample(Random(seed + 1), family).values, scene.look)
    shown = scene.draw()
    assert shown.shape == (84, 84, 3)
    assert (scene.values == other.values) == bool(np.array_equal(shown, other.draw()))
    if family == "bars":
        paper = shown[0, 0]
        for i, value in enumerate(scene.values):
            height = int((shown[:, 28 * i + 6] != paper).any(axis=1).sum())
            assert abs(height - 8.8 * value) <= 1.5


def test_a_question_in_the_picture_only_adds_bands() -> None:
    problem = draw_problem(Random(0), "sum", held_out=True)
    plain = problem.scene.draw()
    both = problem.scene.draw(problem.header(), problems.footer(("3", "10", "12", "6")))
    assert both.shape == (140, 84, 3)
    assert np.array_equal(both[28:112], plain)
    assert (both[:28] != both[0, 0]).any()
    assert (both[112:] != both[0, 0]).any()


def test_unknown_names_are_refused() -> None:
    with pytest.raises(KeyError, match="hard_test"):
        tiny.questions("test")
    with pytest.raises(KeyError, match="mathverse"):
        tiny.write_benchmark("mathvision", Path("nowhere"))


# ---------------------------------------------------------------- determinism, disjointness


def test_questions_are_the_same_in_another_process() -> None:
    """Nothing depends on hash randomisation or on what was drawn before."""
    code = (
        "import hashlib; from benchmarks import tiny; "
        "print(hashlib.sha256(repr(tiny.questions('hard_test')).encode()).hexdigest())"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    here = hashlib.sha256(repr(tiny.questions("hard_test")).encode()).hexdigest()
    assert run.stdout.strip() == here


def test_the_questions_of_this_version_are_known() -> None:
    """A change to questions or pixels must raise ``tiny.VERSION``: results of different data would
    otherwise be taken for the same."""
    digest = hashlib.sha256()
    for split in tiny.SPLITS:
        for item in questions(split):
            digest.update(f"{item.id}|{item.question}|{item.answer}|{item.solution}".encode())
            for picture in item.images:
                digest.update(pixels(picture))
    assert (tiny.VERSION, digest.hexdigest()[:16]) == (2, "1c4f65a94c8dd9e9")


def test_no_benchmark_picture_is_in_a_training_split(written: dict[str, Any]) -> None:
    trained = {pixels(i.images[0]) for s in ("train", "hard") for i in questions(s)}
    for name, rows in asked(written).items():
        assert not trained & {picture for picture, _ in rows}, name


def test_the_hard_benchmark_is_the_hard_test_split(written: dict[str, Any]) -> None:
    items = {(pixels(i.images[0]), i.question) for i in questions("hard_test")}
    assert asked(written)["hard"] == items


# ---------------------------------------------------------------- the owners' schemas


def test_mathvista_has_the_owners_fields(written: dict[str, Any]) -> None:
    folder, content = written["mathvista"]
    assert list(content) == [str(i) for i in range(1, 301)]
    for pid, row in content.items():
        assert set(row) == {
            *("question", "image", "choices", "unit", "precision", "answer", "question_type"),
            *("answer_type", "pid", "metadata", "query"),
        }
        assert row["pid"] == pid
        assert (folder / row["image"]).is_file()
        meta = row["metadata"]
        assert list(meta) == [
            *("split", "language", "img_width", "img_height", "source", "category", "task"),
            *("context", "grade", "skills"),
        ]
        assert row["query"].endswith(row["question"]) or row["choices"] or row["unit"]
        if row["question_type"] == "multi_choice":
            assert row["answer_type"] == "text"
            assert row["answer"] in row["choices"]
            assert row["query"].count("\n(") == len(row["choices"]) == 4
        elif row["answer_type"] == "float":
            assert type(row["precision"]) is int
            assert row["answer"] == str(round(float(row["answer"]), row["precision"]))
        else:
            assert row["answer_type"] == "integer"
            assert row["answer"] == str(int(row["answer"]))
    types = Counter(row["answer_type"] for row in content.values())
    assert set(types) == {"text", "integer", "float"}
    assert len({row["metadata"]["task"] for row in content.values()}) == 5


def test_wemath_has_complete_groups(written: dict[str, Any]) -> None:
    folder, rows = written["wemath"]
    assert len(rows) == 300
    groups = defaultdict(list)
    for row in rows:
        assert list(row) == [
            *("ID", "split", "knowledge concept", "question", "option", "answer", "image_path"),
            *("key", "question number", "knowledge concept description"),
        ]
        assert (folder / row["image_path"]).is_file()
        choices = dict(re.findall(r"\b([A-D])\. (\S+?);", row["option"]))
        assert row["answer"] in choices
        assert re.fullmatch(
            r"A\. \S+;B\. \S+;C\. \S+;D\. \S+; E\. No correct answer", row["option"]
        )
        groups[row["ID"]].append(row)
    assert [row["question number"] for row in rows] == list(range(1, 301))
    golds = Counter(row["answer"] for row in rows)
    assert min(golds[letter] for letter in "ABCD") > 40, golds
    for name, group in groups.items():
        steps = name.split("_")[0]
        keys = [*range(1, int(steps[0]) + 1), "multi"]
        assert [row["key"] for row in group] == [f"{steps}_{key}" for key in keys]
        concepts = [row["knowledge concept"] for row in group]
        assert concepts[-1] == ";".join(concepts[:-1])
        assert len({pixels(folder / row["image_path"]) for row in group}) == 1
    assert Counter(name.split("_")[0] for name in groups) == {"2steps": 48, "3steps": 39}


def test_mathverse_moves_information_from_text_to_picture(written: dict[str, Any]) -> None:
    folder, rows = written["mathverse"]
    versions = ["Text Dominant", "Text Lite", "Vision Intensive", "Vision Dominant", "Vision Only"]
    assert [row["problem_version"] for row in rows] == versions * 60
    assert [row["sample_index"] for row in rows] == [str(i) for i in range(1, 301)]
    for start in range(0, 300, 5):
        group = rows[start : start + 5]
        assert len({(row["problem_index"], row["answer"]) for row in group}) == 1
        texts = [row["question"] for row in group]
        assert sorted(map(len, texts), reverse=True) == list(map(len, texts))
        assert all(text.endswith(texts[3]) for text in texts[:3])
        assert texts[4] == ""
        assert group[4]["question_for_eval"] == texts[3]
        assert pixels(folder / group[4]["image"]) != pixels(folder / group[3]["image"])
        for row in group:
            assert set(row) == {
                *("sample_index", "problem_index", "problem_version", "question", "image"),
                *("answer", "question_type", "metadata", "query_wo", "query_cot"),
                "question_for_eval",
            }
            assert (row["question_type"] == "multi-choice") == row["answer"].isalpha()
            assert ("Choices:\nA:" in row["question_for_eval"]) == row["answer"].isalpha()
