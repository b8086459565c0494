"""Prompts say what their owners published, and ask only items that they fit."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.base import DataError, Item
from benchmarks.prompts import OFFICIAL, TEMPLATES, Template, asked, template
from benchmarks.registry import BENCHMARKS, benchmark
from tests.benchmarks import owners_files as made

DATA = Path(__file__).resolve().parents[2].parent / "shared" / "data"
real = pytest.mark.skipif(not DATA.is_dir(), reason="no shared/data here")


def item(name: str, row: made.Row) -> Item:
    return benchmark(name).item("row", row, None)  # type: ignore[attr-defined, no-any-return]


@given(st.text(), st.sampled_from([t for t in TEMPLATES.values() if not t.fields]))
def test_a_plain_template_asks_an_item_as_it_asks_its_question(question, form) -> None:
    """Braces and backslashes of a question are its own."""
    assert form.render_item(Item("a", question)) == form.render(question)
    assert question in form.render(question)


def test_the_hash_is_of_the_wording_alone() -> None:
    assert template("boxed").hash == "5a45a52c9d4b"  # results of earlier runs are stored under it
    assert Template("other", template("boxed").user).hash == template("boxed").hash
    hashes = [form.hash for form in TEMPLATES.values()]
    assert len(set(hashes)) == len(hashes)
    assert all(form.source for form in TEMPLATES.values())


def test_a_template_is_refused_by_what_it_does_not_fit() -> None:
    with pytest.raises(
        ValueError, match="'mathverse' asks the items of a benchmark by their query"
    ):
        template("mathverse").render("How many?")
    with pytest.raises(DataError, match=r"item '1' has no 'query_wo', .*: it is for MathVerse"):
        template("mathverse").render_item(item("mathvision", made.mathvision()[0]))
    with pytest.raises(KeyError, match="did you mean 'mathvista'"):
        template("mathvsta")


@pytest.mark.parametrize("name", BENCHMARKS)
def test_official_is_the_usual_prompt_of_each_benchmark(name) -> None:
    one = benchmark(name)
    assert asked(OFFICIAL, one) is TEMPLATES[one.templates[0]]
    assert asked("boxed", one) is TEMPLATES["boxed"]


def test_mathvisions_prompt() -> None:
    """As models/Qwen-VL.py of mathllm/MATH-V builds it."""
    start = (
        'Please solve the problem step by step and put your answer in one "\\boxed{}". If it is a '
        'multiple choice question, only one letter is allowed in the "\\boxed{}".\n'
        "How many ducks weigh as much?\n<image1>\n"
    )
    choice, free, _ = (item("mathvision", row) for row in made.mathvision())
    form = template("mathvision")
    assert form.render_item(choice) == start + "(A) 1\n(B) 2\n(C) 3\n(D) 4\n(E) 5\n"
    assert form.render_item(free) == start
    lettered = item("mathvision", made.mathvision()[0] | {"options": list("ABCDE")})
    assert form.render_item(lettered) == start


def test_wemaths_prompt() -> None:
    assert template("wemath").render_item(item("wemath", made.wemath()[0])) == (
        "Now, we require you to solve a multiple-choice math question. Please briefly describe "
        "your thought process and provide the final answer(option).\n"
        "Question: How long is it, 1?\n"
        "Option: A. 3 cm; B. 4 cm; C. 12 cm; D. No correct answer\n"
        "Regarding the format, please answer following the template below, and be sure to include "
        "two <> symbols:\n"
        "<Thought process>: <<your thought process>> <Answer>: <<your option>>"
    )


def test_mm_upts_evaluation_has_its_system_prompt() -> None:
    form = template("mm_upt")
    assert form.system == "You are a helpful assistant."
    assert form.user == template("boxed").user
    assert template("mm_upt_train").render("q").startswith("q \\nPlease reason step by step")


@real
def test_mathvistas_prompt_is_the_released_query() -> None:
    """Of 1000 queries as released 10 show other choices than ``choices``, by which letters are
    judged, or in another order; white space at the end of a question is taken off there."""
    path = DATA / "mathvista/bard/output_bard.json"
    rows = json.loads(path.read_text())
    form = template("mathvista")
    items = benchmark("mathvista").load_text(path)
    asked = {one.id: (form.render_item(one).rstrip(), rows[one.id]["query"]) for one in items}
    other = {one: pair for one, pair in asked.items() if pair[0] != pair[1]}
    assert len(asked) == 1000
    assert len(other) == 10
    for ours, theirs in other.values():
        question = ours.partition("\nChoices:\n")[0]
        assert theirs.startswith(question + "\nChoices:\n")


@real
def test_mathverses_prompts_are_the_released_queries() -> None:
    for name in ("testmini_text_only.json", "output_testmini.json"):
        rows = {
            row["sample_index"]: row for row in json.loads((DATA / "mathverse" / name).read_text())
        }
        for one in benchmark("mathverse").load_text(DATA / "mathverse" / name):
            assert template("mathverse").render_item(one) == rows[one.id]["query_wo"]
            assert template("mathverse_cot").render_item(one) == rows[one.id]["query_cot"]


@real
@pytest.mark.parametrize(
    ("name", "source"), [("wemath", "wemath"), ("mathvision", "mathvision/test.jsonl")]
)
def test_every_item_can_be_asked_officially(name, source) -> None:
    one = benchmark(name)
    form = asked(OFFICIAL, one)
    for each in one.load_text(DATA / source):
        assert len(form.render_item(each)) > len(form.user)
