"""MathVision: the owners' published verdicts are reproduced without evaluating model output."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.aggregate import slug
from benchmarks.base import DataError, Item
from benchmarks.official.mathvision import score_extraction
from benchmarks.official.mathvision_rules import is_equal, official_extraction
from benchmarks.registry import benchmark
from tests.benchmarks import owners_files as made

DATA = Path(__file__).resolve().parents[3].parent / "shared" / "data" / "mathvision"
published = pytest.mark.skipif(not DATA.is_dir(), reason="no shared/data/mathvision here")
ONE = benchmark("mathvision")


def row(**changed: object) -> dict[str, object]:
    (first,) = made.mathvision(1)
    own = {
        "question": "How many ducks <image1> weigh one crocodile?\n<image2>",
        "level": 2,
        "subject": "metric geometry - angle",
        "image": "images/1.jpg",
    }
    return first | own | changed


def item(**changed: object) -> Item:
    return ONE.item("row", row(**changed), None)  # type: ignore[attr-defined, no-any-return]


def test_the_question() -> None:
    text = "How many ducks weigh one crocodile?"
    assert item().question == f"{text}\n(A) 1\n(B) 2\n(C) 3\n(D) 4\n(E) 5"
    assert item(options=list("ABCDE")).question == text
    assert item(options=[], answer="3").question == text
    assert item(options=[f"<image{i}>" for i in range(2, 7)]).question == text


def test_what_is_wrong_is_named(tmp_path) -> None:
    path = tmp_path / "testmini.jsonl"
    for wrong, message in [
        (row(answer="7"), "line 1: answer '7' names none of the 5 options"),
        (row(), r"line 1: picture .*1\.jpg does not exist"),
        ({"id": "1"}, "line 1: no field 'options'"),
    ]:
        path.write_text(json.dumps(wrong))
        with pytest.raises(DataError, match=message):
            ONE.load(tmp_path)


@pytest.mark.parametrize(
    ("response", "extraction"),
    [
        ("It must be C.", "c"),
        ("(B)\nbecause", "b"),
        ("The length is 12.5.", "12.5"),
        ("So the answer is 7 cm. Right?", "7cm"),
        (r"First \boxed{1}, then \boxed{x = \frac{1}{2}}", r"\frac{1}{2}"),
        (r"\boxed{\text{(D)}}", "d"),
        (r"\boxed{90^{\circ}}", "90"),
        (r"\boxed{3/4}", r"\frac{3}{4}"),
        ("", ""),
    ],
)
def test_official_extraction(response, extraction) -> None:
    assert official_extraction(response) == extraction


@pytest.mark.parametrize(
    ("a", "b", "equal"),
    [
        ("A", "a", True),
        ("3.0", "3", True),
        (r"\frac{1}{3}", "0.333", True),  # two decimals
        (r"\sqrt{8}", "2.83", True),
        (r"100\pi", "314.159", True),
        ("(1/2,3)", "(0.5,3)", True),
        ("b", "5", False),
        ("", "", False),
        ("__import__('os')", "5", False),
        ("9**9**9", "5", False),
        ("9^{9^{9}}", "5", False),
    ],
)
def test_official_equality(a, b, equal) -> None:
    assert is_equal(a, b) is equal


@pytest.mark.parametrize(
    ("response", "correct", "status"),
    [
        (r"\boxed{C}", True, "ok"),
        (r"\boxed{\text{(C)}}", True, "ok"),
        (r"\boxed{3}", True, "ok"),  # the text of the gold's option
        ("The answer is (C).", True, "ok"),
        (r"\boxed{A}", False, "ok"),
        ("I see ducks\nand more", False, "unparsed"),
    ],
)
def test_default_scorer(response, correct, status) -> None:
    verdict = ONE.scorer().score(item(), response)
    assert (verdict.correct, verdict.status) == (correct, status)


@pytest.mark.parametrize(
    ("response", "rule"),
    [("The answer is C", "gold"), ("The answer is 3", "option"), ("A", "neither"), ("", "empty")],
)
def test_the_rule_of_an_official_verdict_says_what_it_equals(response, rule) -> None:
    assert ONE.scorer("official").score(item(), response).rule == f"official/{rule}"


@published
def test_published_verdicts_and_table() -> None:
    asked = {i.id: i for i in ONE.load_text(DATA / "test.jsonl")}
    rows = [
        json.loads(line) for line in (DATA / "output_LLaVA-v1.5-7B.jsonl").read_text().splitlines()
    ]
    assert len(rows) == len(asked) == 3040
    official = ONE.scorer("official")
    verdicts = []
    for one in rows:
        verdict = score_extraction(asked[one["id"]], one["model_answer"])
        assert verdict.correct == one["correct"], one
        assert official_extraction(one["response"]) == one["model_answer"]
        assert official.score(asked[one["id"]], one["response"]).correct == one["correct"]
        verdicts.append(verdict)
    table = json.loads((DATA / "result_LLaVA-v1.5-7B.json").read_text())
    ours = {
        v.metric: f"{round(sum(v.values))}/{len(v.units)}="
        for v in ONE.values(list(asked.values()), verdicts)
    }
    named = {"-all": "mathvision/accuracy"}
    for i in asked.values():
        level, subject = f"level{i.meta['level']}", i.meta["subject"]
        cell = f"mathvision/level_subject/{i.meta['level']}_{slug(subject)}"
        named[f"-{level}"] = f"mathvision/level/{i.meta['level']}"
        named[subject] = f"mathvision/subject/{slug(subject)}"
        named[f"-{level}_{subject}"] = named[f"{subject}_{level}"] = cell
    assert len(table) == 178
    assert named.keys() == table.keys()
    assert all(table[line].startswith(ours[metric]) for line, metric in named.items())
    assert {*named.values()} == ours.keys()


@published
def test_the_published_files() -> None:
    loaded = ONE.load(DATA / "testmini.jsonl")
    assert len(loaded) == 304
    assert not any("<image" in i.question for i in loaded)
    scorer = ONE.scorer()
    for asked in ONE.load_text(DATA / "test.jsonl"):
        if asked.meta["options"]:
            assert scorer.score(asked, f"\\boxed{{{asked.answer}}}").correct


@given(st.text(max_size=60), st.sampled_from(["{}", "\\boxed{{{}}}", "Answer: {}"]))
def test_any_response_gets_a_verdict(text, around) -> None:
    for name in ONE.scorers:
        verdict = ONE.scorer(name).score(item(), around.format(text))
        assert verdict.status == "ok" or not verdict.correct
