"""Sample logs of lmms-eval, in the shapes that its releases write.

The package is not installed here: the rows are made by :func:`logged`, which was written from the
source of its evaluator and its tracker (github:EvolvingLMMs-Lab/lmms-eval, 75571cf and the releases
before). Logs that lm-eval itself wrote are in ``tests/benchmarks/bridges``.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from benchmarks.base import DataError, Item
from benchmarks.bridges.rows import RowBenchmark
from benchmarks.registry import benchmark
from benchmarks.saved.answer import Published
from benchmarks.saved.published import benchmark_of, read
from tests.benchmarks import owners_files as made

PICTURES = ("image_path", "decoded_image")


def logged(
    number: int, doc: dict[str, Any], texts: Sequence[str], release: str = "0.7", **made_of_it: Any
) -> dict[str, Any]:
    """The row of one document: its responses ``texts`` passed ``take_first``."""
    shown = {key: value for key, value in doc.items() if key not in PICTURES}
    prompt = f"{doc['question']}\nAnswer the question."
    row: dict[str, Any] = {"doc_id": number, "target": str(doc["answer"]), "doc_hash": "0" * 64}
    row |= made_of_it | {"input": prompt}
    first = texts[0]
    if release == "0.3":
        arguments = {"0": "max_new_tokens", "1": "temperature"}
        return (
            row
            | {"doc": shown, "arguments": arguments, "resps": [list(texts)]}
            | {"filtered_resps": [first]}
        )
    if release == "0.5":
        return row | {"filtered_resps": [first]} | ({"resps": [list(texts)]} if texts[1:] else {})
    return (
        row
        | {"filtered_resps": first, "token_counts": [None]}
        | ({"resps": list(texts)} if texts[1:] else {})
    )


def written(path: Path, rows: Sequence[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    return path


def texts(found: Published) -> dict[str, list[str]]:
    said: dict[str, list[str]] = {}
    for answer in found.answers:
        said.setdefault(answer.generation.item, []).append(answer.generation.text)
    return said


def data(name: str, folder: Path) -> list[Item]:
    made.write_json(name, made.ROWS[name](), folder, made.SPLIT.get(name, "testmini"))
    return benchmark(name).load_text(folder)


@pytest.mark.parametrize("name", sorted(made.ROWS))
def test_a_log_with_documents_is_a_file_of_their_benchmark(tmp_path: Path, name: str) -> None:
    """As of release 0.3: the owners' rows with their golds, and nothing else is needed."""
    rows = made.ROWS[name]()
    log = [logged(n, row, [f"said {n}"], "0.3") for n, row in enumerate(rows)]
    path = written(tmp_path / "1231_2359_samples_task.jsonl", log)
    assert benchmark_of(path) == name
    found = read(path, benchmark(name))
    assert found.format == "lmms-eval log"
    items = data(name, tmp_path / "data")
    assert found.items is not None
    assert [(i.id, i.answer) for i in found.items] == [(i.id, i.answer) for i in items]
    assert texts(found) == {item.id: [f"said {n}"] for n, item in enumerate(items)}
    assert found.notes == ()


@pytest.mark.parametrize("release", ["0.3", "0.5", "0.7"])
def test_several_responses_are_samples(tmp_path: Path, release: str) -> None:
    rows = made.mathvision()
    log = [logged(n, row, [f"{n}a", f"{n}b"], release) for n, row in enumerate(rows)]
    items = data("mathvision", tmp_path / "data")
    found = read(written(tmp_path / "a.jsonl", log), benchmark("mathvision"), items)
    assert texts(found) == {i.id: [f"{n}a", f"{n}b"] for n, i in enumerate(items)}
    assert {a.generation.decoding for a in found.answers} == {"sampled"}
    log[1] = logged(1, rows[1], ["alone"], release)
    with pytest.raises(DataError, match=r"line 2: holds 1 responses where .*line 1 holds 2"):
        read(written(tmp_path / "a.jsonl", log), benchmark("mathvision"), items)


def test_reasoning_that_was_stripped_is_judged_as_it_was_said(tmp_path: Path) -> None:
    """Where reasoning tags are stripped, ``resps`` is the whole text and no list."""
    row = logged(0, made.mathvision()[0], ["C"]) | {"resps": "<think>hm</think> C"}
    items = data("mathvision", tmp_path / "data")
    found = read(written(tmp_path / "a.jsonl", [row]), benchmark("mathvision"), items)
    assert texts(found) == {"1": ["<think>hm</think> C"]}


def test_without_documents_the_task_names_the_item(tmp_path: Path) -> None:
    """Since release 0.4: MathVista's task names the item and what it extracted, but not its whole
    row; those of MathVerse and We-Math hold the row."""
    vista = made.mathvista()
    log = []
    for n, row in enumerate(vista):
        same = ("query", "choices", "answer", "question_type", "answer_type", "precision")
        result = {"question_id": row["pid"], "extraction": "B", "true_false": n == 0}
        result |= {key: row[key] for key in same}
        log.append(logged(n, row, ["It is B."], llm_as_judge_eval=result, submission=result))
    path = written(tmp_path / "a.jsonl", log[::-1])
    items = data("mathvista", tmp_path / "data")
    found = read(path, benchmark("mathvista"), items)
    assert [a.generation.item for a in found.answers] == [i.id for i in items[::-1]]
    assert [a.published for a in found.answers] == [False, False, False, True]
    assert {a.extraction for a in found.answers} == {"B"}
    assert read(path, benchmark("mathvista")).items is None  # their questions are elsewhere

    verse = made.mathverse()
    log = [
        logged(n, row, ["B"], gpt_eval_score=1, submission={k: row[k] for k in row if k != "image"})
        for n, row in enumerate(verse)
    ]
    found = read(written(tmp_path / "b.jsonl", log), benchmark("mathverse"))
    assert found.items is not None
    assert [item.id for item in found.items] == [row["sample_index"] for row in verse]

    math = made.wemath()
    log = [
        logged(
            n, row, ["C"], acc_score=1.0, wemath_loose={k: row[k] for k in row if k != "image_path"}
        )
        for n, row in enumerate(math)
    ]
    path = written(tmp_path / "c.jsonl", log)
    assert benchmark_of(path) == "wemath"
    found = read(path, benchmark("wemath"))
    assert texts(found).keys() == {f"{r['ID']}/{r['key'].partition('_')[2]}" for r in math}
    assert {a.published for a in found.answers} == {True}


def test_without_any_id_the_question_tells_the_item(tmp_path: Path) -> None:
    """MathVision's task leaves no id: rows in another order, one question asked twice, and one
    that is a part of another."""
    rows = made.mathvision(4)
    questions = ["How many ducks?\n<image1>", "How many ducks? Or geese?", "Why?", "Why?"]
    golds = ["C", "3", "C", "3"]
    for row, question, gold in zip(rows, questions, golds, strict=True):
        row |= {"question": question, "answer": gold}
    made.write_json("mathvision", rows, tmp_path / "data", "test")
    one = benchmark("mathvision")
    items = one.load_text(tmp_path / "data")
    order = [1, 0, 3, 2]
    log = [
        logged(n, rows[i], [f"of {i}"], mathvision_standard_eval={}) for n, i in enumerate(order)
    ]
    found = read(written(tmp_path / "a.jsonl", log), one, items)
    assert texts(found) == {rows[i]["id"]: [f"of {i}"] for i in order}

    strange = logged(0, {**rows[0], "question": "How many geese?"}, ["x"])
    said = "line 1: which item of MathVision .test. it answers is not told: .* that of no items"
    with pytest.raises(DataError, match=said):
        read(written(tmp_path / "a.jsonl", [strange]), one, items)
    rows[3]["answer"] = "C"
    made.write_json("mathvision", rows, tmp_path / "data", "test")
    unclear = logged(99, rows[2], ["x"])
    with pytest.raises(DataError, match="its question is that of 2 items"):
        read(written(tmp_path / "a.jsonl", [unclear]), one, one.load_text(tmp_path / "data"))
    asked_third = logged(3, rows[3], ["x"])  # its number in the split tells
    found = read(
        written(tmp_path / "a.jsonl", [asked_third]), one, one.load_text(tmp_path / "data")
    )
    assert texts(found) == {"4": ["x"]}


def test_a_log_of_a_task_of_ours_tells_benchmark_and_item(tmp_path: Path) -> None:
    items = data("wemath", tmp_path / "data")
    log = [
        {
            "doc_id": n,
            "doc": {"id": item.id, "benchmark": "wemath", "question": "?", "answer": item.answer},
            "target": item.answer,
            "arguments": {"gen_args_0": {"arg_0": "?", "arg_1": {"until": []}}},
            "resps": [[f"said {n}"]],
            "filtered_resps": [f"said {n}"],
            "filter": "none",
            "accuracy": float(n == 0),
        }
        for n, item in enumerate(items)
    ]
    path = written(tmp_path / "samples_harness_wemath.jsonl", log)
    assert benchmark_of(path) == "wemath"
    assert read(path, benchmark("wemath")).items is None  # it holds no row of the owners'
    found = read(path, benchmark("wemath"), items)
    assert texts(found) == {item.id: [f"said {n}"] for n, item in enumerate(items)}
    assert [a.published for a in found.answers] == [n == 0 for n in range(len(items))]


def test_a_row_of_another_gold_is_noted(tmp_path: Path) -> None:
    items = data("mathvista", tmp_path / "data")
    rows = made.mathvista()
    rows[2]["answer"] = "9.9"
    log = [logged(n, row, ["x"], "0.3") for n, row in enumerate(rows)]
    found = read(written(tmp_path / "a.jsonl", log), benchmark("mathvista"), items)
    assert found.notes == ("1 rows of a.jsonl state another gold than the data: 3",)


def test_what_is_no_log_of_responses_is_named(tmp_path: Path) -> None:
    one, rows = benchmark("mathvision"), made.mathvision()
    likelihoods = logged(0, rows[0], ["x"], "0.3") | {"resps": [[["-1.2", "False"]]]}
    with pytest.raises(
        DataError, match="line 1: its responses are no texts; only logs of tasks th"
    ):
        read(written(tmp_path / "a.jsonl", [likelihoods]), one)
    twice = [logged(0, rows[0], ["x"], "0.3"), logged(0, rows[0], ["y"], "0.3")]
    with pytest.raises(DataError, match=r"line 2: document 0 is answered otherwise in .*line 1"):
        read(written(tmp_path / "a.jsonl", twice), one)
    same = [logged(0, rows[0], ["x"], "0.3"), logged(1, rows[0], ["y"], "0.3")]
    with pytest.raises(DataError, match=r"line 2: .*(answers|taken by)"):
        read(written(tmp_path / "a.jsonl", same), one)
    lacking = [logged(0, rows[0], ["x"]), {"doc_id": 1, "target": "C"}]
    with pytest.raises(DataError, match="line 2: no field 'filtered_resps', which a sample log"):
        read(written(tmp_path / "a.jsonl", lacking), one)


class Ducks(RowBenchmark):
    name, version, files = "ducks", "1", {"test": "rows.jsonl"}


def test_a_benchmark_of_a_package_is_joined_by_id_or_by_question(tmp_path: Path) -> None:
    rows = [{"id": f"d{n}", "question": f"How many ducks in {n}?", "answer": "3"} for n in range(3)]
    written(tmp_path / "rows.jsonl", rows)
    items = Ducks().load(tmp_path)
    for log in (
        [logged(n, row, [f"{n}"], "0.3") for n, row in enumerate(rows)],
        [
            logged(n, {k: v for k, v in row.items() if k != "id"}, [f"{n}"], "0.3")
            for n, row in enumerate(rows)
        ],
    ):
        found = read(written(tmp_path / "log.jsonl", log), Ducks(), items)
        assert texts(found) == {f"d{n}": [f"{n}"] for n in range(3)}
