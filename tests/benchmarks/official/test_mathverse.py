"""MathVerse: versions of one problem, and what its rules can decide without a judge."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.aggregate import slug
from benchmarks.base import DataError, Item, Verdict
from benchmarks.official.mathverse import VERSIONS
from benchmarks.registry import benchmark

DATA = Path(__file__).resolve().parents[3].parent / "shared" / "data" / "mathverse"
published = pytest.mark.skipif(not DATA.is_dir(), reason="no shared/data/mathverse here")
ONE = benchmark("mathverse")


def row(**changed: object) -> dict[str, object]:
    return {
        "sample_index": "1",
        "problem_index": "1",
        "problem_version": "Text Lite",
        "question": "What is the angle?\nChoices:\nA:40°\nB:60°\nC:120°",
        "image": "images_version_1-4/image_1.png",
        "answer": "B",
        "question_type": "multi-choice",
        "metadata": {"subject": "Plane Geometry", "subfield": "Angle"},
    } | changed


def item(**changed: object) -> Item:
    return ONE.item("row", row(**changed), None)  # type: ignore[attr-defined, no-any-return]


def free(answer: str) -> Item:
    return item(answer=answer, question_type="free-form", question="How far?")


def test_the_question_of_each_version() -> None:
    assert item().question == row()["question"]
    shown = "Please answer the question shown in the image."
    assert item(problem_version="Vision Only", question="").question == shown
    assert item(problem_version="Vision Only").question == shown
    assert item(problem_version="Vision Only").cluster == "1"


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"problem_version": "Text"}, "row 1: problem_version 'Text' must be one of"),
        ({"image": ""}, "row 1: has no image under 'image'"),
        ({"image": "no.png"}, r"row 1: picture .*no\.png does not exist"),
        (
            {"metadata": "{'a': ", "image": "", "problem_version": "Text Only"},
            "row 1: 'metadata' is no Python literal",
        ),
        ({"question": None, "image": 5}, "row 1: a picture must be a path or bytes"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, changed, message) -> None:
    (tmp_path / "testmini.json").write_text(json.dumps([row(**changed)]))
    with pytest.raises(DataError, match=message):
        ONE.load(tmp_path)


@pytest.mark.parametrize(
    ("asked", "response", "correct", "status"),
    [
        (item(), r"\boxed{B}", True, "ok"),
        (item(), "The answer is (B) 60°.", True, "ok"),
        (item(), r"\boxed{60^\circ}", True, "ok"),
        (item(), r"\boxed{A}", False, "ok"),
        (item(), r"\boxed{41}", False, "ok"),
        (item(), "Look\nat it", False, "unparsed"),
        (item(answer="(C)"), r"\boxed{C}", True, "ok"),
        (item(answer="C\nD"), r"\boxed{C, D}", True, "ok"),
        (item(answer="C\nD"), r"\boxed{C}", False, "ok"),
        (item(answer="False"), r"\boxed{\text{false}}", True, "ok"),
        (free("2191.7 metres"), r"\boxed{2191.7}", True, "ok"),
        (free(r"Area $=\frac{25 \pi}{4} \mathrm{~mm}^{2}$"), r"\boxed{6.25\pi}", True, "ok"),
        (free(r"S 23.5 ^\circ W"), "Answer: S23.5°W", True, "ok"),
        (free(r"y=-2 x+5"), r"\boxed{y = 5 - 2x}", True, "ok"),
        (free("14"), r"\boxed{15}", False, "ok"),
    ],
)
def test_default_scorer(asked, response, correct, status) -> None:
    verdict = ONE.scorer().score(asked, response)
    assert (verdict.correct, verdict.status) == (correct, status)


def test_quick_match_is_equality_of_texts() -> None:
    quick = ONE.scorer("official")
    assert quick.score(item(), "Extracted Answer: Extracted Answer: B").correct
    assert not quick.score(item(), "The answer is B").correct
    assert quick.score(item(), " ").status == "unparsed"


def test_accuracy_by_version_and_subject() -> None:
    asked = [item(), item(sample_index="2", problem_version="Vision Only")]
    values = ONE.values(asked, [Verdict("1", True), Verdict("2", False)])
    means = {v.metric: v.mean for v in values}
    assert means["mathverse/accuracy"] == 0.5
    assert means["mathverse/version/text_lite"] == 1.0
    assert means["mathverse/version/vision_only"] == 0.0
    assert means["mathverse/subject/plane_geometry"] == 0.5
    assert {v.clusters for v in values if len(v.units) == 2} == {("1", "1")}


def test_text_only_never_enters_the_overall() -> None:
    asked = [item(), item(sample_index="2", problem_version="Text Only", image="")]
    values = ONE.values(asked, [Verdict("1", True), Verdict("2", False)])
    means = {v.metric: (v.mean, len(v.units)) for v in values}
    assert means["mathverse/accuracy"] == (1.0, 1)
    assert means["mathverse/question_type/multi_choice"] == (1.0, 1)
    assert means["mathverse/version/text_only"] == (0.0, 1)
    alone = benchmark("mathverse_text_only").values(asked[1:], [Verdict("2", False)])
    assert {v.metric.partition("/")[0] for v in alone} == {"mathverse_text_only"}
    assert alone[0].metric == "mathverse_text_only/accuracy"


def test_the_overall_is_the_mean_of_the_five_versions() -> None:
    """As the owners report it: the versions have one size."""
    asked = [
        item(sample_index=f"{n}-{version}", problem_index=str(n), problem_version=version)
        for n in range(8)
        for version in VERSIONS
    ]
    values = ONE.values(asked, [Verdict(i.id, hash(i.id) % 3 > 0) for i in asked])
    means = {v.metric: v.mean for v in values}
    versions = [means[f"mathverse/version/{slug(version)}"] for version in VERSIONS]
    assert means["mathverse/accuracy"] == pytest.approx(sum(versions) / 5, abs=1e-12)


@published
def test_the_published_text_only_file() -> None:
    loaded = ONE.load(DATA / "testmini_text_only.json")
    assert len(loaded) == len({i.cluster for i in loaded}) == 788
    kinds = Counter(i.meta["question_type"] for i in loaded)
    assert kinds == {"multi-choice": 436, "free-form": 352}
    assert not any(i.images for i in loaded)
    scorer = ONE.scorer()
    for asked in loaded:
        assert scorer.score(asked, f"So \\boxed{{{asked.answer}}}").correct, asked
        assert not scorer.score(asked, "\\boxed{no idea at all}").correct


@published
def test_the_published_template_of_an_output_file() -> None:
    loaded = ONE.load_text(DATA / "output_testmini.json")
    assert len(loaded) == 5
    assert len({i.cluster for i in loaded}) == 1


@given(st.text(max_size=60), st.sampled_from(["{}", "\\boxed{{{}}}", "Answer: {}"]))
def test_any_response_gets_a_verdict(text, around) -> None:
    for name in ONE.scorers:
        for asked in (item(), free("14 cm")):
            verdict = ONE.scorer(name).score(asked, around.format(text))
            assert verdict.status == "ok" or not verdict.correct
