"""Rows that hold no response, or several: errors are counted, samples are samples."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from benchmarks.base import DataError
from benchmarks.registry import benchmark
from benchmarks.saved.published import read

from .answer_files import MATHVERSE, MATHVISTA, kept, write

FAILED = {k: v for k, v in MATHVISTA.items() if k not in ("response", "extraction", "true_false")}


def test_an_error_in_place_of_a_response_is_an_answer_that_failed(tmp_path: Path) -> None:
    """Where MathVista's script catches an exception it writes the row, the error and nothing
    else; a program that ran has an error beside its response."""
    rows = {
        "1": {**FAILED, "error": "429 Too Many Requests"},
        "2": MATHVISTA,
        "3": {**FAILED, "error": "timeout", "response": None},
        "4": {**MATHVISTA, "error": "None", "execution": "3"},
    }
    found = kept(write(tmp_path / "a.json", rows), "mathvista")
    said = [(a.generation.item, a.generation.text, a.failed) for a in found.answers]
    assert said == [
        ("1", "", True),
        ("2", "There are 3.", False),
        ("3", "", True),
        ("4", "3", False),
    ]
    assert [a.published for a in found.answers] == [None, True, None, True]
    assert found.items is not None
    assert len(found.items) == 4


def test_a_list_of_responses_is_samples_of_the_item(tmp_path: Path) -> None:
    first = {**MATHVISTA, "response": ["3", "4", None], "extraction": ["3", "4", ""]}
    first["true_false"] = [True, False, False]
    error = {**FAILED, "error": "timeout"}
    rows = {"1": first, "2": {**FAILED, "response": ["5", 6, "7"]}, "3": error}
    found = kept(write(tmp_path / "a.json", rows), "mathvista")
    said = [(a.generation.item, a.generation.sample, a.generation.text) for a in found.answers]
    assert said == [
        *(("1", 0, "3"), ("1", 1, "4"), ("1", 2, "")),
        *(("2", 0, "5"), ("2", 1, "6"), ("2", 2, "7")),
        *(("3", 0, ""), ("3", 1, ""), ("3", 2, "")),
    ]
    assert {a.generation.decoding for a in found.answers} == {"sampled"}
    assert [a.extraction for a in found.answers[:4]] == ["3", "4", "", None]
    assert [a.published for a in found.answers[:4]] == [True, False, False, None]
    assert [a.failed for a in found.answers] == [False] * 6 + [True] * 3


def test_a_list_of_one_is_one_response(tmp_path: Path) -> None:
    row = {**MATHVISTA, "response": ["3"], "extraction": ["3"], "true_false": [True]}
    (answer,) = kept(write(tmp_path / "a.json", {"1": row}), "mathvista").answers
    assert (answer.generation.text, answer.generation.decoding) == ("3", "greedy")
    assert (answer.extraction, answer.published) == ("3", True)


@pytest.mark.parametrize(
    ("second", "message"),
    [
        ({"response": ["a", "b"]}, r"row '2': holds 2 responses where .*row '1' holds 3"),
        ({"response": "a"}, r"row '2': holds 1 responses where .*row '1' holds 3"),
        ({"response": []}, "row '2': its list of responses is empty"),
        ({"response": [["a"], "b", "c"]}, r"row '2': a list of responses holds texts.*\['a'\]"),
        ({"response": ["a", "b", "c"], "extraction": "a"}, "row '2': 3 responses, and 'extraction"),
        (
            {"response": ["a", "b", "c"], "true_false": [True]},
            "and 'true_false' is not a list of 3",
        ),
    ],
)
def test_rows_that_do_not_hold_as_many_are_named(
    tmp_path: Path, second: dict[str, Any], message: str
) -> None:
    rows = {"1": {**FAILED, "response": ["a", "b", "c"]}, "2": {**FAILED, **second}}
    with pytest.raises(DataError, match=message):
        read(write(tmp_path / "a.json", rows), benchmark("mathvista"))


def test_an_output_of_mathverses_text_only_is_of_both_its_benchmarks(tmp_path: Path) -> None:
    row = {**MATHVERSE, "problem_version": "Text Only", "question": "Find x.\nChoices:\nA:1\nB:2"}
    path = write(tmp_path / "a.json", [row])
    for name in ("mathverse", "mathverse_text_only"):
        found = read(path, benchmark(name))
        assert found.items is not None
        assert found.items[0].meta["problem_version"] == "Text Only"
    with pytest.raises(DataError, match="row 1: is of version 'Vision Only', which mathverse_text"):
        read(write(path, [MATHVERSE]), benchmark("mathverse_text_only"))
