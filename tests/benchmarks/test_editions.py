"""A benchmark's data against what its owners published: the real files, and copies that differ."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import BENCHMARKS, benchmark
from benchmarks.editions import fingerprint, published
from benchmarks.golds import failures, gold_exceptions
from benchmarks.official import OfficialBenchmark
from tests.benchmarks import owners_files as made

DATA = Path(__file__).resolve().parents[2].parent / "shared" / "data"
real = pytest.mark.skipif(not DATA.is_dir(), reason="no shared/data here")

#: Benchmark, split, source below shared/data, rows.
REAL = [
    ("mathvista", None, "mathvista/bard/output_bard.json", 1000),
    ("wemath", "testmini", "wemath", 1740),
    ("mathverse_text_only", "testmini_text_only", "mathverse", 788),
    ("mathvision", "test", "mathvision", 3040),
    ("mathvision", "testmini", "mathvision", 304),
]


def official(name: str) -> OfficialBenchmark:
    one = benchmark(name)
    assert isinstance(one, OfficialBenchmark)
    return one


@real
@pytest.mark.parametrize(("name", "split", "source", "n"), REAL)
def test_the_owners_files_are_as_published(name, split, source, n) -> None:
    one = official(name)
    items = one.load_text(DATA / source, split)
    assert len(items) == n == one.edition(DATA / source, items, split).n
    assert one.check(DATA / source, items, split) == []


@real
@pytest.mark.parametrize(("name", "split", "source", "n"), REAL)
def test_a_gold_is_right_by_every_scorer_but_for_the_listed_ones(name, split, source, n) -> None:
    one = official(name)
    items = one.load_text(DATA / source, split)
    there = {item.id for item in items}
    for scorer in one.scorers:
        expected = {item for item in gold_exceptions(name, scorer) if item in there}
        assert set(failures(one, items, scorer)) == expected, scorer


def test_every_exception_has_its_reason_and_is_of_known_scorers() -> None:
    counts = {
        (name, scorer): len(gold_exceptions(name, scorer))
        for name in BENCHMARKS
        for scorer in benchmark(name).scorers
    }
    assert {key: n for key, n in counts.items() if n} == {
        ("mathvista", "official+extract"): 2,
        ("mathvista", "official"): 4,
        ("mathvista", "official-2023"): 4,
        ("mathvista", "rules"): 3,
        ("mathverse_text_only", "official"): 8,
        ("mathvision", "official+extract"): 1,
        ("mathvision", "official"): 5,
    }
    assert all(reason for name in BENCHMARKS for reason in gold_exceptions(name).values())


@real
def test_another_model_of_the_same_owners_differs_by_the_rows_that_were_garbled() -> None:
    """One of the published answer files has lost the letters beyond ASCII of 62 questions."""
    source = DATA / "mathvista/llava/output_llava_llama_2_13b.json"
    one = official("mathvista")
    (line,) = one.check(source, one.load_text(source))
    assert line.startswith("62 rows ask or answer otherwise than data/testmini.json")
    assert line.endswith(": 6, 30, 33, 59, 79, ...")


@real
def test_what_a_copy_of_wemath_lacks_or_adds_is_told_by_id(tmp_path) -> None:
    rows = json.loads((DATA / "wemath" / "testmini.json").read_text())
    extra = dict(rows[0], ID="2steps_9999")
    changed = dict(rows[5], answer="A" if rows[5]["answer"] != "A" else "B")
    (tmp_path / "testmini.json").write_text(json.dumps([*rows[3:5], changed, *rows[6:], extra]))
    one = official("wemath")
    lines = one.check(tmp_path, one.load_text(tmp_path))
    assert lines[0] == "1738 rows; the owners' testmini has 1740"
    names = [f"{row['ID']}/{row['key'].partition('_')[2]}" for row in rows]
    assert lines[1] == f"3 rows are missing: {', '.join(names[:3])}"
    assert lines[2] == "1 rows are not the owners': 2steps_9999/1"
    assert lines[3].endswith(f"testmini.json of We-Math/We-Math: {names[5]}")
    assert lines[4:] == [
        "526 groups; the owners have 525",
        "358 rows of key '2steps_1'; the owners have 360",
    ]


def test_white_space_is_no_difference_and_a_gold_is() -> None:
    item = official("wemath").item("row", made.wemath()[0], None)
    spaced = replace(item, question=item.question.replace("\n", "\r\n  "))
    assert fingerprint(spaced) == fingerprint(item)
    assert fingerprint(replace(item, answer="D")) != fingerprint(item)
    assert fingerprint(replace(item, question="How wide?")) != fingerprint(item)


def test_every_published_row_has_a_fingerprint_of_its_own_id() -> None:
    for name in BENCHMARKS:
        for edition in official(name).editions:
            rows = published(name, edition.split)
            assert len(rows) in (0, edition.n)
            assert all(len(mark) == 6 for mark in rows.values())
    assert not published("mathverse", "testmini")  # its rows were not at hand


def test_numbers_of_a_mathverse_that_lacks_a_version(tmp_path) -> None:
    rows = [r for r in made.mathverse(3) if r["problem_version"] != "Text Lite"]
    made.write_json("mathverse", rows, tmp_path)
    one = official("mathverse")
    lines = one.check(tmp_path, one.load(tmp_path))
    assert lines[0] == "12 rows; the owners' testmini has 3940"
    assert "3 groups; the owners have 788" in lines
    assert "0 rows of version 'Text Lite'; the owners have 788" in lines


def test_a_published_table_of_vlmevalkit_is_known_by_its_md5(tmp_path) -> None:
    made.write_tsv("mathvista", made.mathvista(), tmp_path / "MathVista_MINI.tsv")
    one = official("mathvista")
    lines = one.check(tmp_path, one.load(tmp_path))
    assert lines[1].startswith("MathVista_MINI.tsv has md5 ")
    assert lines[1].endswith("; VLMEvalKit names f199b98e178e5a2a20e7048f5dcb0464")
