"""VLMEvalKit's tables are recognised, as text and as sheets, and what a sheet does to a text is
undone or named."""

from __future__ import annotations

import csv
import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks.base import DataError
from benchmarks.official.benchmark import OfficialBenchmark
from benchmarks.registry import benchmark
from benchmarks.saved.published import benchmark_of, read
from tests.benchmarks.owners_files import kit_row

from .answer_files import MATHVERSE, kept, write

DATA = Path(__file__).resolve().parents[3].parent / "shared" / "data"
real = pytest.mark.skipif(not DATA.is_dir(), reason="no shared/data beside the repository")


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

    find_x = {"index": 5, "question": "Find x", "answer": "B"}
    verse = find_x | {
        "problem_version": "Text Lite",
        "metadata": "{'subject': 'Functions', 'subfield': 'Property'}",
        "prediction": "B",
    }
    found = kept(write(tmp_path / "verse.json", [verse]), "mathverse")
    assert found.items is not None
    assert found.items[0].meta["question_type"] == "multi-choice"

    choices = {"choices": "['1', '2']", "category": "logic"}
    vision = find_x | choices | {"prediction": None}
    found = kept(write(tmp_path / "vision.json", [vision]), "mathvision")
    assert found.items is not None
    assert found.items[0].meta["options"] == ["1", "2"]
    assert found.answers[0].generation.text == ""


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


def test_choices_of_a_table_are_a_list_or_empty(tmp_path: Path) -> None:
    free = {**VISTA, "choices": ""}
    found = kept(
        write(tmp_path / "a.json", [free, {**free, "index": 6, "choices": " "}]), "mathvista"
    )
    assert found.items is not None
    assert [item.meta["choices"] for item in found.items] == [[], []]
    for wrong in ("A, B", "{'A': 1}", "[" * 9999, "'B'"):
        said = (
            r"row 1: not a row of a VLMEvalKit MathVista file \('choices' must be empty or a list"
        )
        with pytest.raises(DataError, match=said):
            read(write(tmp_path / "b.json", [{**VISTA, "choices": wrong}]), benchmark("mathvista"))


@pytest.mark.parametrize(
    ("question", "unit", "whole", "told"),
    [
        ("How much? (Unit: kg)", None, "How much? (Unit: kg)", "kg"),
        ("How much? (Unit: kg)", "kg", "How much? (Unit: kg)", "kg"),
        ("How much? (Unit: kg)", "cm", "How much? (Unit: kg) (Unit: cm)", "cm"),
        ("How much? (Unit: kg", None, "How much? (Unit: kg", None),
        ("How (Unit: a) (Unit: m/s)", None, "How (Unit: a) (Unit: m/s)", "m/s"),
    ],
)
def test_a_unit_is_in_its_column_or_ends_the_question(
    tmp_path: Path, question: str, unit: str | None, whole: str, told: str | None
) -> None:
    rows = [{**VISTA, "question": question, "unit": unit}]
    found = kept(write(tmp_path / "a.json", rows), "mathvista")
    assert found.items is not None
    assert (found.items[0].question, found.items[0].meta["unit"]) == (whole, told)


@real
def test_the_owners_rows_in_a_table_are_no_other_rows(tmp_path: Path) -> None:
    """MathVista's 1000 rows in VLMEvalKit's columns, with the columns that its code reads and with
    all; the picture's path is none of them."""
    one = benchmark("mathvista")
    rows = json.loads((DATA / "mathvista/bard/output_bard.json").read_text(encoding="utf-8"))
    table = [kit_row("mathvista", row) | {"prediction": "5"} for row in rows.values()]
    for row, owners in zip(table, rows.values(), strict=True):
        row["question"] = owners["query"]
    found = kept(write(tmp_path / "a.json", table), "mathvista")
    assert found.items is not None
    assert isinstance(one, OfficialBenchmark)
    assert one.altered(found.items) == []
    changed = [
        {**table[0], "answer": "1.3"},
        {**table[1], "image_path": "/tmp/2.jpg"},
        *table[2:30],
    ]
    found = kept(write(tmp_path / "b.json", changed), "mathvista")
    assert found.items is not None
    (said,) = one.altered(found.items)
    assert said.startswith("1 rows ask or answer otherwise")
