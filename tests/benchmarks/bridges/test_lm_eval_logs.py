"""Sample logs that lm-eval itself writes, read as answers to a benchmark."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("lm_eval")

from benchmarks.registry import benchmark
from benchmarks.saved.published import benchmark_of, read
from tests.benchmarks import owners_files as made
from tests.benchmarks.lm_eval_task import QUIET, write_log, write_task

pytestmark = QUIET

ASKED = """\
doc_to_text: "{{question}}"
doc_to_target: "{{answer}}"
generation_kwargs: {until: [], do_sample: false}
metric_list:
  - {metric: exact_match, aggregation: mean, higher_is_better: true}
metadata: {version: 1.0}
"""
JUDGE = "def judge(doc, results):\n    return {'exact_match': int(doc['answer'] in results[0])}\n"
FILTERS = """\
repeats: 3
filter_list:
  - {name: whole, filter: [{function: take_first}]}
  - {name: upper, filter: [{function: take_first}, {function: lowercase}]}
"""


def test_the_owners_rows_in_a_log_are_the_items(tmp_path: Path) -> None:
    """Two filters and three responses to a document: twice as many rows, the same samples."""
    rows = made.mathvista()
    write_task(tmp_path, "vista", ASKED + FILTERS, JUDGE, *rows)
    log = write_log(tmp_path, "vista", tmp_path / "out")
    assert len(log.read_text().splitlines()) == 2 * len(rows)
    assert benchmark_of(log) == "mathvista"
    found = read(log, benchmark("mathvista"))
    assert found.format == "lm-eval log"
    made.write_json("mathvista", rows, tmp_path / "data")
    assert found.items == tuple(benchmark("mathvista").load_text(tmp_path / "data"))
    said = [(a.generation.item, a.generation.sample, a.generation.text) for a in found.answers]
    assert said == [
        (row["pid"], sample, str(3 * n + sample + 1))
        for n, row in enumerate(rows)
        for sample in range(3)
    ]
    assert {a.generation.decoding for a in found.answers} == {"sampled"}
    assert {a.published for a in found.answers} == {None}  # two filters, two verdicts


def test_one_response_is_the_greedy_one_with_the_tasks_verdict(tmp_path: Path) -> None:
    rows = made.mathvision(4)
    write_task(tmp_path, "vision", ASKED, JUDGE, *rows)
    found = read(write_log(tmp_path, "vision", tmp_path / "out"), benchmark("mathvision"))
    assert [(a.generation.text, a.generation.decoding) for a in found.answers] == [
        (str(n), "greedy") for n in (1, 2, 3, 4)
    ]
    assert [a.published for a in found.answers] == [False, False, False, False]
    rows[1]["answer"] = "2"
    write_task(tmp_path, "vision", ASKED, JUDGE, *rows)
    found = read(write_log(tmp_path, "vision", tmp_path / "again"), benchmark("mathvision"))
    assert [a.published for a in found.answers] == [False, True, False, False]


def test_documents_without_an_id_are_found_by_their_question(tmp_path: Path) -> None:
    """The log is of the last four of eight rows."""
    rows = made.mathvista(8)
    kept = ("question", "answer", "query")
    asked = [{k: row[k] for k in kept} | {"number": n} for n, row in enumerate(rows[4:])]
    write_task(tmp_path, "bare", ASKED, JUDGE, *asked)
    log = write_log(tmp_path, "bare", tmp_path / "out")
    assert benchmark_of(log) is None
    made.write_json("mathvista", rows, tmp_path / "data")
    one = benchmark("mathvista")
    found = read(log, one, one.load_text(tmp_path / "data"))
    assert [a.generation.item for a in found.answers] == ["5", "6", "7", "8"]
    assert found.notes == ()
