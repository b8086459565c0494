"""Prompts say what their owners published, and ask only items that they fit."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.base import DataError, Item
from benchmarks.prompts import OFFICIAL, Template, asked, read, template, templates, written
from benchmarks.registry import BENCHMARKS, benchmark
from tests.benchmarks import owners_files as made

DATA = Path(__file__).resolve().parents[2].parent / "shared" / "data"
real = pytest.mark.skipif(not DATA.is_dir(), reason="no shared/data here")


def item(name: str, row: made.Row) -> Item:
    return benchmark(name).item("row", row, None)  # type: ignore[attr-defined, no-any-return]


@given(st.text(), st.sampled_from([t for t in templates().values() if not t.fields]))
def test_a_plain_template_asks_an_item_as_it_asks_its_question(question, form) -> None:
    """Braces and backslashes of a question are its own."""
    assert form.render_item(Item("a", question)) == form.render(question)
    assert question in form.render(question)


def test_the_hash_is_of_the_wording_alone() -> None:
    assert Template("other", template("boxed").user).hash == template("boxed").hash
    hashes = [form.hash for form in templates().values()]
    assert len(set(hashes)) == len(hashes)
    assert all(form.source for form in templates().values())


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
    assert asked(OFFICIAL, one) is templates()[one.templates[0]]
    assert asked("boxed", one) is templates()["boxed"]


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


#: Results of earlier runs are stored under these.
PUBLISHED = {
    "plain": "80476ba51397",
    "boxed": "5a45a52c9d4b",
    "mm_upt": "fc7447430107",
    "mm_upt_train": "d0f23858ef15",
    "direct": "8312a7e6ad4d",
    "direct_code": "917c349be598",
    "direct_eval": "e635cbcb6145",
    "think": "3a6c1d1189ec",
    "think_code": "064bf46ba8d5",
    "think_eval": "1c7ac24cd91e",
    "answer_first": "7578eb50cc8f",
    "adaptive": "ad4f7122115c",
    "lmm_r1": "d663cfeecf55",
    "mathvista": "ce39068027e2",
    "wemath": "5a5007a7ca03",
    "mathverse": "ced55121be66",
    "mathverse_cot": "6a2f7ad09208",
    "mathvision": "8da2386a4e19",
}


def test_a_wording_never_changes_under_its_name() -> None:
    assert {name: form.hash for name, form in templates().items()} == PUBLISHED


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("plain", "7"),
        ("direct_eval", "7"),
        ("boxed", "\\boxed{7}"),
        ("mm_upt_train", "\\boxed{7}"),
        ("think_code", "<answer>7</answer>"),
        ("adaptive", "<answer>7</answer>"),
        ("lmm_r1", "<answer> $7$ </answer>"),
    ],
)
def test_a_bare_answer_is_written_as_the_template_asks(name: str, written: str) -> None:
    assert template(name).answered("7") == written


OWN = {"user": "Look. {question} Be short.", "system": "S.", "answer_form": "= {answer}"}


def test_a_template_may_be_written_where_one_is_named() -> None:
    own = read(OWN)
    assert isinstance(own, Template)
    assert (own.render("Why?"), own.answered("7")) == ("Look. Why? Be short.", "= 7")
    assert template(own) is own
    assert read(written(own)) == own
    assert own.hash == Template("any", OWN["user"], OWN["system"]).hash


@pytest.mark.parametrize(
    ("choice", "said"),
    [
        ({}, "needs {question} once"),
        ({"user": "Why?"}, "needs {question} once"),
        ({"user": "{question} {question}"}, "needs {question} once"),
        ({"user": "{question} {hint}"}, "has {hint}, and only {question} is filled in"),
        ({"usr": "{question}"}, "did you mean 'user'"),
        ({"user": 5}, "user of a template is a text, not 5"),
        ({"user": "{question}", "answer_form": "boxed"}, "needs {answer}"),
        (5, "expected the name of a template"),
    ],
)
def test_a_template_that_cannot_be_asked_with_is_refused(choice: object, said: str) -> None:
    with pytest.raises(ValueError, match=re.escape(said)):
        read(choice)
