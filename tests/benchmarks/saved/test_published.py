"""Published answer files are recognised by their columns; what is wrong is named with its row."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.base import DataError
from benchmarks.registry import benchmark
from benchmarks.saved.published import benchmark_of, read

from .answer_files import MATHVERSE, MATHVISION, MATHVISTA, WEMATH, kept, write

DATA = Path(__file__).resolve().parents[3].parent / "shared" / "data"
published = pytest.mark.skipif(not DATA.is_dir(), reason="no shared/data beside the repository")


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


def test_a_byte_order_mark_and_the_first_row(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text(json.dumps([MATHVERSE]), encoding="utf-8-sig")
    assert kept(path, "mathverse").answers[0].generation.item == "7"
    lines = tmp_path / "a.jsonl"
    lines.write_text(json.dumps(MATHVISION) + "\n", encoding="utf-8-sig")
    assert kept(lines, "mathvision").answers[0].generation.item == "1"
    for name, content, said in [
        ("b.json", "[5]", "row 1: must be an object"),
        ("b.jsonl", "[]", "line 1: must be a JSON object"),
        ("b.tsv", "index\tprediction\n1\n", "row 1: holds 1 fields"),
    ]:
        (tmp_path / name).write_text(content)
        with pytest.raises(DataError, match=said):
            read(tmp_path / name, benchmark("mathvision"))


def test_of_a_program_its_output_is_the_response(tmp_path: Path) -> None:
    rows = {
        "1": {**MATHVISTA, "response": "print(1 + 2)", "execution": "3"},
        "2": {**MATHVISTA, "response": "print(x)", "execution": None},
    }
    found = kept(write(tmp_path / "a.json", rows), "mathvista")
    assert [answer.generation.text for answer in found.answers] == ["3", "print(x)"]


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
        ("a.jsonl", '{"id": "1", "response": ' + "[" * 100_000, "line 1: not JSON"),
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


@published
@pytest.mark.parametrize(
    ("file", "spoil", "message"),
    [
        ("mathvista/bard/output_bard.json", {"response": ...}, "row '7': no field"),
        ("mathvista/bard/output_bard.json", {"answer_type": "essay"}, "row '7': quest"),
        ("mathvista/bard/output_bard.json", {"pid": "8"}, "row '8': id '8' is already"),
        ("mathverse/output_testmini.json", {"model_answer": ...}, "row 4: no field"),
        ("mathverse/output_testmini.json", {"problem_version": "x"}, "row 4: problem_v"),
        ("mathvision/output_LLaVA-v1.5-7B.jsonl", {"id": ...}, "line 7: no field 'id'"),
        ("mathvision/output_LLaVA-v1.5-7B.jsonl", {"correct": "?"}, "line 7: the publ"),
    ],
)  # fmt: skip
def test_a_bad_row_of_a_real_file_is_named(
    tmp_path: Path, file: str, spoil: dict[str, Any], message: str
) -> None:
    text = (DATA / file).read_text(encoding="utf-8")
    lines = file.endswith(".jsonl")
    rows = [json.loads(line) for line in text.splitlines()] if lines else json.loads(text)
    row = rows["7"] if isinstance(rows, dict) else rows[6] if lines else rows[3]
    for field, value in spoil.items():
        if value is ...:
            del row[field]
        else:
            row[field] = value
    path = tmp_path / Path(file).name
    content = "\n".join(map(json.dumps, rows)) if lines else json.dumps(rows)
    path.write_text(content, encoding="utf-8")
    with pytest.raises(DataError, match=message):
        read(path, benchmark(file.partition("/")[0]))
