"""MathVista: its owners' published verdicts and tables are reproduced; loading names mistakes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.aggregate import slug
from benchmarks.base import DataError
from benchmarks.official.mathvista import score_extraction
from benchmarks.registry import benchmark
from tests.benchmarks import owners_files as made

DATA = Path(__file__).resolve().parents[3].parent / "shared" / "data" / "mathvista"
published = pytest.mark.skipif(not DATA.is_dir(), reason="no shared/data/mathvista here")
MODELS = {"bard": "bard", "llava": "llava_llama_2_13b"}
ONE = benchmark("mathvista")


def row(**changed: object) -> dict[str, object]:
    (first,) = made.mathvista(1)
    metadata = "{'task': 'figure question answering', 'skills': ['arithmetic reasoning']}"
    return first | {"question": "Which is longer?", "metadata": metadata} | changed


def number(answer: str, answer_type: str, precision: float | None = None) -> dict[str, object]:
    return row(
        choices=None,
        answer=answer,
        question_type="free_form",
        answer_type=answer_type,
        precision=precision,
        unit="cm",
    )


def write(folder: Path, *rows: dict[str, object]) -> Path:
    (folder / "images").mkdir()
    (folder / "images" / "1.png").write_bytes(made.PNG)
    content = {str(n): r | {"pid": str(r.get("pid", n))} for n, r in enumerate(rows)}
    (folder / "testmini.json").write_text(json.dumps(content))
    return folder


def items(folder: Path, *rows: dict[str, object]):
    return ONE.load(write(folder, *(r | {"pid": str(n)} for n, r in enumerate(rows))))


def test_questions_are_rendered_with_unit_and_choices(tmp_path) -> None:
    choice, free = items(tmp_path, row(), number("3", "integer"))
    assert choice.question == "Which is longer?\nChoices:\n(A) red bar\n(B) blue\n(C) both"
    assert free.question == "Which is longer? (Unit: cm)"
    assert choice.images == (tmp_path / "images" / "1.png",)
    assert choice.cluster == "images/1.png"
    assert choice.meta["task"] == "figure question answering"


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"image": "images/2.png"}, r"row '0': picture .*2\.png does not exist"),
        ({"question_type": "essay"}, "row '0': question_type 'essay'"),
        ({"choices": None}, "row '0': a multi_choice question with 0 choices"),
        ({"metadata": "__import__('os')"}, "row '0': 'metadata' is no Python literal"),
        ({"metadata": "[1]"}, r"row '0': 'metadata' must be an object, is \[1\]"),
        ({"metadata": {"skills": "abc"}}, "row '0': 'skills' must be a list of texts, is 'abc'"),
        ({"choices": "abc", "answer": "a"}, "row '0': 'choices' must be a list of texts, is 'abc'"),
        (
            {"choices": [1, 2], "answer": "1"},
            r"row '0': 'choices' must be a list of texts, is '\[1",
        ),
        (
            {"choices": list(map(str, range(40)))},
            "row '0': a multi_choice question with 40 choices",
        ),
        ({"choices": ["1", "2"]}, "row '0': answer 'blue' is none of its choices '1', '2'"),
        ({"answer": ""}, "row '0': answer '' is none of its choices 'red bar', 'blue', 'both'"),
        ({"precision": 1e9}, "row '0': precision 1000000000.0 must be a number of decimals"),
        ({"precision": 1.5}, "row '0': precision 1.5 must be a number of decimals"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, changed, message) -> None:
    with pytest.raises(DataError, match=message):
        ONE.load(write(tmp_path, row(**changed)))


@pytest.mark.parametrize(
    ("answer", "answer_type", "precision"),
    [("14.0", "integer", None), ("x", "integer", None), ("1.23", "float", 1), ("1", "float", 1)],
)
def test_a_gold_that_no_answer_can_equal_is_refused(
    tmp_path, answer, answer_type, precision
) -> None:
    with pytest.raises(
        DataError, match=f"row '0': answer '{answer}' must be written as the scorer"
    ):
        ONE.load(write(tmp_path, number(answer, answer_type, precision)))


def test_a_file_of_something_else_is_refused(tmp_path) -> None:
    with pytest.raises(DataError, match=r"row '1': id '1' is already taken by .*row '0'"):
        ONE.load(write(tmp_path, row(), row()))
    (tmp_path / "testmini.json").write_text('[{"question": "q"}]')
    with pytest.raises(DataError, match="row 1: no field 'question_type'"):
        ONE.load(tmp_path)
    with pytest.raises(DataError, match=r"Expected a folder with testmini\.json"):
        ONE.load(tmp_path / "nowhere")


def test_parquet_with_float_precision_is_the_same_benchmark(tmp_path) -> None:
    """The hub's parquet stores precision as 1.0, on which round() fails."""
    import pyarrow
    import pyarrow.parquet

    rows = [row(), number("1.2", "float", 1.0) | {"pid": "2"}]
    rows = [r | {"decoded_image": {"bytes": made.PNG, "path": None}} for r in rows]
    path = tmp_path / "data" / "testmini-00000-of-00001.parquet"
    path.parent.mkdir()
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    choice, free = ONE.load(tmp_path)
    assert choice.images == (made.PNG,)
    assert ONE.scorer().score(free, r"\boxed{1.23}").correct


@pytest.mark.parametrize(
    ("asked", "response", "correct", "status"),
    [
        (row(), "The answer is B", True, "ok"),
        (row(), r"\boxed{\text{(b)}}", True, "ok"),
        (row(), "Answer: blue.", True, "ok"),
        (row(), r"\boxed{bluee}", True, "ok"),  # nearest by edit distance, as the owners do
        (row(), "A", False, "ok"),
        (row(), "", False, "unparsed"),  # the shortest choice is right, and not credited
        (row(), r"\boxed{}", False, "unparsed"),
        (row(), "I look at the picture\nand wonder", False, "unparsed"),
        (number("14", "integer"), "The answer is 14 cm.", True, "ok"),
        (number("1000", "integer"), r"\boxed{1,000}", True, "ok"),
        (number("14", "integer"), "14.9", True, "ok"),  # truncated, as the owners do
        (number("14", "integer"), "fourteen", True, "ok"),
        (number("1.2", "float", 1), r"\boxed{1.23\text{ cm}}", True, "ok"),
        (number("0.5", "float", 1), r"\boxed{\frac{1}{2}}", True, "ok"),
        (number("1.2", "float", 1), r"\boxed{1.3}", False, "ok"),
        (number("[1, 2]", "list"), r"\boxed{[1, 2]}", True, "ok"),
    ],
)
def test_official_extract(tmp_path, asked, response, correct, status) -> None:
    (item,) = items(tmp_path, asked)
    verdict = ONE.scorer("official+extract").score(item, response)
    assert (verdict.correct, verdict.status) == (correct, status)


def test_official_rules_credit_an_empty_answer_and_leave_text_to_a_model(tmp_path) -> None:
    choice, free = items(tmp_path, row(), number("3", "integer"))
    official = ONE.scorer("official")
    assert official.score(choice, "").correct  # "blue" is the shortest choice
    assert official.score(choice, 'The answer is "C.".').correct  # no letter: "blue" is nearest
    assert official.score(choice, 'The answer is "(B)".').correct
    assert official.score(free, "3").correct
    assert official.score(free, "The answer is 3").status == "unparsed"
    assert score_extraction(free, "3.0", "official").correct
    assert not score_extraction(free, "3.0", "official-2023").correct


@pytest.mark.parametrize(
    ("asked", "response", "rule"),
    [
        (row(), "", "empty"),
        (row(), "both", "choice"),
        (row(), 'The answer is "(B)".', "quick/letter"),
        (row(), 'The answer is "C.".', "quick/nearest"),
        (row(), 'The answer is "".', "quick/empty"),
        (row(), "B", "left to a model"),
        (number("3", "integer"), "3", "integer"),
        (number("3", "integer"), 'The answer is "3 cm".', "quick/no integer"),
        (number("1.2", "float", 1), "1.23", "float"),
        (number("[1]", "list"), 'The answer is "[1]".', "quick/list"),
    ],
)
def test_the_rule_of_an_official_verdict_says_how_it_was_read(
    tmp_path, asked, response, rule
) -> None:
    (item,) = items(tmp_path, asked)
    for name in ("official", "official-2023"):
        assert ONE.scorer(name).score(item, response).rule == f"{name}/{rule}"


def test_an_extraction_is_read_by_letter_text_or_nearness(tmp_path) -> None:
    choice, free = items(tmp_path, row(), number("3", "integer"))
    said = {"C": "letter", "(c) both": "letter", "both": "choice", "boths": "nearest", "": "empty"}
    for extraction, how in said.items():
        assert score_extraction(choice, extraction).rule == f"official/{how}"
    assert score_extraction(free, "3.0").rule == "official/integer"
    assert score_extraction(free, "3.0", "official-2023").rule == "official-2023/no integer"


def test_the_rule_of_2023_says_when_its_verdicts_were_published() -> None:
    assert ONE.scorer("official-2023").id == "mathvista/official-2023@2023-10-03"


@published
@pytest.mark.parametrize("model", MODELS)
def test_published_verdicts_and_tables(model) -> None:
    path = DATA / model / f"output_{MODELS[model]}.json"
    rows = json.loads(path.read_text())
    asked = ONE.load_text(path)
    verdicts = [score_extraction(i, rows[i.id]["extraction"], "official-2023") for i in asked]
    assert [v.correct for v in verdicts] == [rows[v.item]["true_false"] for v in verdicts]

    table = json.loads((DATA / model / f"scores_{MODELS[model]}.json").read_text())
    ours = {v.metric: (round(sum(v.values)), len(v.units)) for v in ONE.values(asked, verdicts)}
    expected = {"mathvista/accuracy": table.pop("average")}
    for facet, entries in table.items():
        name = "skill" if facet == "skills" else facet
        expected |= {f"mathvista/{name}/{slug(k)}": entry for k, entry in entries.items()}
    assert ours == {k: (int(e["correct"]), int(e["total"])) for k, e in expected.items()}


ASKED = [
    ONE.item("fuzz", r, None)  # type: ignore[attr-defined]
    for r in (row(), number("3", "integer"), number("0.5", "float", 1), number("[1]", "list"))
]


@given(st.text(max_size=80), st.sampled_from(["{}", "\\boxed{{{}}}", "The answer is {}"]))
def test_any_response_gets_a_verdict(text, around) -> None:
    for name in ONE.scorers:
        for item in ASKED:
            verdict = ONE.scorer(name).score(item, around.format(text))
            assert verdict.item == item.id
            assert verdict.status == "ok" or not verdict.correct
