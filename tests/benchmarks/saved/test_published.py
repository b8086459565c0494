"""Published answer files are recognised by their columns; what is wrong is named with its row."""

from __future__ import annotations

import csv
import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks.base import DataError
from benchmarks.registry import benchmark
from benchmarks.saved.published import Published, benchmark_of, read

DATA = Path(__file__).resolve().parents[3].parent / "shared" / "data"
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


def test_xlsx_without_openpyxl_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.xlsx").write_bytes(b"PK")
    monkeypatch.setitem(sys.modules, "openpyxl", None)
    with pytest.raises(DataError, match=r"pip install openpyxl.*save the sheet as \.tsv"):
        read(tmp_path / "a.xlsx", benchmark("wemath"))


KIT_WEMATH = {
    "index": 0,
    "ID": "2steps_1",
    "key": "2steps_1",
    "question": "Which sign?",
    "A": ">",
    "B": "=",
    "C": None,
    "answer": "B",
    "knowledge concept": "k",
    "prediction": "B",
}


def sheet(path: Path, rows: list[dict[str, Any]]) -> Path:
    book = pytest.importorskip("openpyxl").Workbook()
    columns = list(dict.fromkeys(column for row in rows for column in row))
    book.active.append(columns)
    for row in rows:
        book.active.append([row.get(column) for column in columns])
    book.save(path)
    return path


def texts(path: Path, name: str) -> dict[str, str]:
    said = [answer.generation for answer in read(path, benchmark(name)).answers]
    return {each.item: each.text for each in said}


def test_a_sheet_keeps_what_the_model_said(tmp_path: Path) -> None:
    """Formulas are text that began with "=", empty cells empty text, and numbers that became
    floats are whole again where they name something."""
    array = pytest.importorskip("openpyxl.worksheet.formula").ArrayFormula("J7", "=1+2")
    said = ["=3+4", 14, None, float("nan"), "a_x0007_b", array, True]
    rows = [
        {**KIT_WEMATH, "index": float(n), "ID": f"2steps_{n}", "prediction": text}
        for n, text in enumerate(said)
    ]
    path = sheet(tmp_path / "model_WeMath.xlsx", rows)
    assert benchmark_of(path) == "wemath"
    assert list(texts(path, "wemath").values()) == [
        "=3+4", "14", "", "", "a\x07b", "{=1+2}", "True",
    ]  # fmt: skip
    found = read(path, benchmark("wemath"))
    assert found.items is not None
    assert found.items[0].meta["options"] == {"A": ">", "B": "="}
    assert found.notes == (
        "responses in empty cells: 2; some writers drop what is too long for one",
    )

    vision = {"question": "Find x", "answer": "B", "choices": "['1', '2']", "category": "logic"}
    rows = [{"index": 7.0, **vision, "prediction": "x" * 32767}]
    found = read(sheet(tmp_path / "v.xlsx", rows), benchmark("mathvision"))
    assert found.answers[0].generation.item == "7"
    assert "fill their cell: 1" in found.notes[0]


def test_a_sheet_that_is_wrong_is_named(tmp_path: Path) -> None:
    one = benchmark("wemath")
    path = tmp_path / "a.xlsx"
    rows = [KIT_WEMATH, {**KIT_WEMATH, "key": "2steps_2"}]
    for second, message in [
        ({"ID": None}, "row 2: no field 'ID'"),
        ({"answer": None}, "row 2: no field 'answer', which a VLMEvalKit We-Math file has"),
        ({"ID": "=A1&A2"}, "row 2: its id is the formula '=A1&A2"),
        ({"key": "2steps_1"}, "row 2: id '2steps_1/1' is already taken by .*row 1"),
    ]:
        with pytest.raises(DataError, match=message):
            read(sheet(path, [rows[0], {**rows[1], **second}]), one)
    book = pytest.importorskip("openpyxl").load_workbook(sheet(path, rows))
    book.active.cell(row=3, column=14).value = "a note beside the table"
    book.save(path)
    with pytest.raises(DataError, match="row 2: holds a cell right of the last named column"):
        read(path, one)
    path.write_bytes(path.read_bytes()[:-600])
    with pytest.raises(DataError, match=r"a\.xlsx: not a readable \.xlsx file"):
        read(path, one)
    with pytest.raises(DataError, match="holds no rows"):
        read(sheet(path, [{}]), one)
    twice = tmp_path / "a.tsv"
    twice.write_text("index\tprediction\tprediction\n1\tA\tB\n")
    with pytest.raises(DataError, match="the column 'prediction' is there twice"):
        read(twice, one)


def test_an_emptied_cell_makes_no_row_and_no_column(tmp_path: Path) -> None:
    openpyxl = pytest.importorskip("openpyxl")
    path = sheet(tmp_path / "a.xlsx", [KIT_WEMATH])
    book = openpyxl.load_workbook(path)
    book.active.cell(row=9, column=14).font = openpyxl.styles.Font(bold=True)
    book.save(path)
    assert texts(path, "wemath") == {"2steps_1/1": "B"}


VISTA = {
    "index": 5,
    "question": "Hint: Please answer the question requiring a floating-point number with two "
    "decimal places and provide the final value, e.g., 1.23, 1.34, 1.45, at the end.\n"
    "Question: How much? (Unit: kg)",
    "answer": "2.5",
    "question_type": "free_form",
    "answer_type": "float",
    "unit": "kg",
    "choices": "[]",
    "task": "t",
    "skills": "['s']",
    "prediction": "2.5",
}
CHOICE = {
    "question": "Which?\nChoices:\n(A) 3\n(B) 5.0",
    "answer": "5",
    "answer_option": "B",
    "question_type": "multi_choice",
    "answer_type": "text",
    "unit": None,
    "choices": "['3', '5.0']",
}


def test_golds_that_a_table_made_numbers_are_the_owners_again(tmp_path: Path) -> None:
    rows = [
        VISTA,
        {**VISTA, "index": 6, "answer": 2.0},
        {**VISTA, "index": 7, "answer": 14.0, "answer_type": "integer"},
        {**VISTA, **CHOICE, "index": 8, "answer": 5.0},
    ]
    for path in (sheet(tmp_path / "a.xlsx", rows), write(tmp_path / "a.json", rows)):
        found = kept(path, "mathvista")
        assert found.items is not None
        assert [item.answer for item in found.items] == ["2.5", "2.0", "14", "5.0"]
        assert [item.meta["precision"] for item in found.items] == [2, 2, None, None]
        assert found.items[0].question == "How much? (Unit: kg)"
        assert found.items[3].question == "Which?\nChoices:\n(A) 3\n(B) 5.0"

    vision = {"index": 1, "question": "x", "choices": "[]", "category": "c", "prediction": "8"}
    golds = {"1": "8.0", "2": 8.0, "3": 8, "4": "8"}
    rows = [{**vision, "index": n, "answer": gold} for n, gold in golds.items()]
    found = kept(write(tmp_path / "v.json", rows), "mathvision")
    assert found.items is not None
    assert [item.answer for item in found.items] == ["8.0", "8", "8", "8"]


@pytest.mark.parametrize(
    ("name", "row", "judged", "extraction", "verdict"),
    [
        ("wemath", KIT_WEMATH, {"hit": 1, "log": "Match Log: B. "}, None, True),
        ("wemath", KIT_WEMATH, {"hit": 0.0, "log": ""}, None, False),
        ("mathvista", VISTA, {"res": "2.5", "log": "Succeed"}, "2.5", None),
        ("mathvista", VISTA, {"verifier_score": False, "verifier_match": 0.0}, None, False),
        (
            "mathverse",
            {k: v for k, v in MATHVERSE.items() if k != "judgement"}
            | {"index": 7, "prediction": "It is B.", "metadata": "{'subject': 'Functions'}"},
            {"extract": "B", "log_extract": "Succeed", "score": True, "log_score": "Succeed"},
            "B",
            True,
        ),
        (
            "mathvision",
            {"index": 1, "question": "x", "answer": "B", "choices": "[1, 2]", "prediction": "b"},
            {"res": "B", "log": "Succeed"},
            "B",
            None,
        ),
    ],
)  # fmt: skip
def test_the_columns_that_vlmevalkit_adds(
    tmp_path: Path,
    name: str,
    row: dict[str, Any],
    judged: dict[str, Any],
    extraction: Any,
    verdict: bool | None,
) -> None:
    """As its scorers write them, in each format that it writes; without them there is nothing."""
    row = {column: value for column, value in row.items() if column != "model_answer"}
    for rows, expected in [([row], (None, None)), ([row | judged], (extraction, verdict))]:
        table = io.StringIO()
        writer = csv.DictWriter(table, list(rows[0]), delimiter="\t", quoting=csv.QUOTE_ALL)
        writer.writeheader()
        writer.writerows(rows)
        (tmp_path / "m.tsv").write_text(table.getvalue(), newline="")
        for path in (
            tmp_path / "m.tsv",
            sheet(tmp_path / "m.xlsx", rows),
            write(tmp_path / "m.json", rows),
        ):
            found = kept(path, name)
            assert benchmark_of(path) == name
            assert found.format.startswith("VLMEvalKit ")
            (answer,) = found.answers
            assert (answer.extraction, answer.published) == expected
            assert answer.generation.text == row["prediction"]


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
