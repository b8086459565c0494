"""Published answer files are recognised by their columns; what is wrong is named with its row."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks import benchmark
from benchmarks.base import DataError
from benchmarks.published import Published, benchmark_of, read

DATA = Path(__file__).resolve().parents[2].parent / "shared" / "data"
published = pytest.mark.skipif(not DATA.is_dir(), reason="no shared/data beside the repository")

MATHVISTA = {
    "question": "How many?",
    "image": "images/1.jpg",
    "choices": None,
    "unit": None,
    "precision": None,
    "answer": "3",
    "question_type": "free_form",
    "answer_type": "integer",
    "metadata": {"task": "t", "skills": []},
    "response": "There are 3.",
    "extraction": "3",
    "true_false": True,
}
WEMATH = {
    "ID": "2steps_1",
    "key": "2steps_multi",
    "question": "Which?",
    "option": "A. 1; B. 2",
    "answer": "B",
    "knowledge concept": "k",
    "image_path": "1.png",
    "response": "<Answer>: <<B>>",
}
MATHVERSE = {
    "sample_index": "7",
    "problem_index": "2",
    "problem_version": "Vision Only",
    "question": "",
    "answer": "B",
    "question_type": "multi-choice",
    "metadata": {"subject": "Plane Geometry", "subfield": "Angle"},
    "model_answer": "It is B.",
    "judgement": "1",
}
MATHVISION = {"id": "1", "response": "C", "model_answer": "c", "correct": False}


def kept(path: Path, name: str) -> Published:
    assert benchmark_of(path) in (None, name)
    return read(path, benchmark(name))


def write(path: Path, content: Any) -> Path:
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def test_owners_files_are_recognised_by_their_columns(tmp_path: Path) -> None:
    found = kept(write(tmp_path / "a.json", {"12": MATHVISTA}), "mathvista")
    (answer,) = found.answers
    assert (answer.generation.item, answer.generation.text) == ("12", "There are 3.")
    assert (answer.extraction, answer.published) == ("3", True)
    assert found.items is not None
    assert found.items[0].answer == "3"

    found = kept(write(tmp_path / "b.json", [WEMATH]), "wemath")
    assert found.answers[0].generation.item == "2steps_1/multi"
    assert found.items is not None
    assert found.items[0].meta["options"] == {"A": "1", "B": "2"}

    found = kept(write(tmp_path / "c.json", [MATHVERSE]), "mathverse")
    assert found.answers[0].published is True
    assert found.answers[0].generation.text == "It is B."

    path = tmp_path / "d.jsonl"
    path.write_text(json.dumps(MATHVISION) + "\n")
    found = kept(path, "mathvision")
    assert found.items is None
    assert (found.answers[0].extraction, found.answers[0].published) == ("c", False)


def test_of_a_program_its_output_is_the_response(tmp_path: Path) -> None:
    rows = {
        "1": {**MATHVISTA, "response": "print(1 + 2)", "execution": "3"},
        "2": {**MATHVISTA, "response": "print(x)", "execution": None},
    }
    found = kept(write(tmp_path / "a.json", rows), "mathvista")
    assert [answer.generation.text for answer in found.answers] == ["3", "print(x)"]


def test_vlmevalkit_tables(tmp_path: Path) -> None:
    row = {
        "index": 3,
        "question": "Which?",
        "answer": "B",
        "A": "1",
        "B": "2",
        "ID": "2steps_1",
        "key": "2steps_1",
        "prediction": "The answer is B",
        "hit": 1,
    }
    columns = list(row)
    table = ["\t".join(columns), "\t".join(str(row[c]) for c in columns)]
    path = tmp_path / "model_WeMath.tsv"
    path.write_text("\n".join(table) + "\n")
    assert benchmark_of(path) == "wemath"
    for file in (path, write(tmp_path / "model_WeMath.json", [row])):
        found = kept(file, "wemath")
        assert found.items is not None
        assert found.items[0].meta["options"] == {"A": "1", "B": "2"}
        (answer,) = found.answers
        assert answer.generation.item == "2steps_1/1"
        assert (answer.generation.text, answer.published) == ("The answer is B", True)

    vista = {
        "index": 5,
        "question": "How much?",
        "answer": "1.25",
        "question_type": "free_form",
        "answer_type": "float",
        "choices": "[]",
        "task": "t",
        "skills": "['s']",
        "prediction": "1.25",
    }
    found = kept(write(tmp_path / "vista.json", [vista]), "mathvista")
    assert found.items is not None
    assert found.items[0].meta["precision"] == 2
    assert found.items[0].meta["skills"] == ["s"]

    verse = {
        "index": 5,
        "question": "Find x",
        "answer": "B",
        "problem_version": "Text Lite",
        "metadata": "{'subject': 'Functions', 'subfield': 'Property'}",
        "prediction": "B",
    }
    found = kept(write(tmp_path / "verse.json", [verse]), "mathverse")
    assert found.items is not None
    assert found.items[0].meta["question_type"] == "multi-choice"

    vision = {
        "index": 5,
        "question": "Find x",
        "answer": "B",
        "choices": "['1', '2']",
        "category": "logic",
        "prediction": None,
    }
    found = kept(write(tmp_path / "vision.json", [vision]), "mathvision")
    assert found.items is not None
    assert found.items[0].meta["options"] == ["1", "2"]
    assert found.answers[0].generation.text == ""


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.json", '{"1": {"response": "x"', r"a\.json: not a readable JSON file"),
        ("a.json", '{"1": {"a": 1}}', r"row '1': no known format of saved answers.*Columns there"),
        ("a.json", '{"1": 5}', r"row '1': must be an object, is int"),
        ("a.json", "[]", "holds no rows"),
        ("a.json", "7", "must hold a list or an object"),
        ("a.csv", "index,prediction\n1\n", r"row 1: holds 1 fields, and the header names 2"),
        ("a.jsonl", '{"id": "1", "response": "x"}\n{"id": "2", "resp', "line 2: not JSON"),
        ("a.txt", "x", r"ends in \.json, \.jsonl"),
        ("a.xlsx", "x", "needs the package openpyxl|not a readable"),
    ],
)  # fmt: skip
def test_a_file_that_is_neither_is_refused(
    tmp_path: Path, name: str, content: str, message: str
) -> None:
    path = tmp_path / name
    path.write_text(content)
    with pytest.raises(DataError, match=message):
        read(path, benchmark("mathvision"))
    with pytest.raises(DataError, match="no such file"):
        read(tmp_path / "nowhere.json", benchmark("mathvision"))


def test_a_row_that_is_wrong_is_named(tmp_path: Path) -> None:
    one = benchmark("mathvista")
    path = tmp_path / "a.json"
    for second, message in [
        (
            {k: v for k, v in MATHVISTA.items() if k != "response"},
            "row '2': no field 'execution or",
        ),
        ({**MATHVISTA, "true_false": "maybe"}, "row '2': the published verdict 'maybe'"),
        ({**MATHVISTA, "answer_type": "essay"}, "row '2': question_type 'free_form'"),
        ({**MATHVISTA, "pid": "1"}, "row '2': id '1' is already taken by .*row '1'"),
    ]:
        write(path, {"1": MATHVISTA, "2": second})
        with pytest.raises(DataError, match=message):
            read(path, one)
    row = json.dumps(MATHVISTA)
    path.write_text(f'{{"1": {row}, "1": {row}}}')
    with pytest.raises(DataError, match="'1' is there twice"):
        read(path, one)
    with pytest.raises(DataError, match="is a We-Math file, not one of mathvista"):
        read(write(path, [WEMATH]), one)


@pytest.mark.skipif(
    importlib.util.find_spec("openpyxl") is not None, reason="openpyxl is installed here"
)
def test_xlsx_without_openpyxl_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "a.xlsx").write_bytes(b"PK")
    with pytest.raises(DataError, match=r"pip install openpyxl.*save the sheet as \.tsv"):
        read(tmp_path / "a.xlsx", benchmark("wemath"))


@published
def test_the_published_files() -> None:
    for file, name, n in [
        ("mathvista/bard/output_bard.json", "mathvista", 1000),
        ("mathvista/llava/output_llava_llama_2_13b.json", "mathvista", 1000),
        ("mathvision/output_LLaVA-v1.5-7B.jsonl", "mathvision", 3040),
        ("mathverse/output_testmini.json", "mathverse", 5),
    ]:
        path = DATA / file
        assert benchmark_of(path) == name
        assert len(read(path, benchmark(name)).answers) == n
