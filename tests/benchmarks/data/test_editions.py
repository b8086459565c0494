"""A benchmark's data against what its owners published: the real files, and copies that differ."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.data import vlmevalkit_tsv
from benchmarks.data.editions import fingerprint, published
from benchmarks.official.benchmark import OfficialBenchmark
from benchmarks.official.golds import failures, gold_exceptions
from benchmarks.registry import BENCHMARKS, benchmark
from tests.benchmarks import owners_files as made

DATA = Path(__file__).resolve().parents[3].parent / "shared" / "data"
real = pytest.mark.skipif(not DATA.is_dir(), reason="no shared/data here")

MATHVISTA = "data/testmini.json of lupantech/MathVista"
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
        ("mathvista", "rules"): 4,
        ("mathverse_text_only", "official"): 8,
        ("mathverse_text_only", "rules"): 1,
        ("mathvision", "official+extract"): 6,
        ("mathvision", "official"): 6,
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
    one = official("wemath")
    item = one.item("row", made.wemath()[0], None)

    def mark(**changed: object) -> str:
        return fingerprint(replace(item, **changed), one.judged)  # type: ignore[arg-type]

    assert mark(question=item.question.replace("\n", "\r\n  ")) == mark()
    other = [
        mark(answer="D"),
        mark(question="How wide?"),
        mark(question="\ud800"),
        mark(cluster=""),
    ]
    assert len({mark(), *other}) == 5


@real
@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("answer_type", "float"),
        ("question_type", "multi_choice"),
        ("precision", 2),
        ("unit", "km"),
        ("choices", ["1", "2"]),
    ],
)
def test_whatever_a_mathvista_verdict_depends_on_is_compared(field, value) -> None:
    one, source = official("mathvista"), DATA / "mathvista/bard/output_bard.json"
    items = one.load_text(source)
    at = next(n for n, item in enumerate(items) if item.meta["answer_type"] == "integer")
    items[at] = replace(items[at], meta=items[at].meta | {field: value})
    said = one.check(source, items)
    assert f"1 rows ask or answer otherwise than {MATHVISTA}: {items[at].id}" in said


@real
@pytest.mark.parametrize("name", ["wemath", "mathvision"])
def test_a_picture_that_is_another_is_told(name) -> None:
    """The owners' rows, two of which show each other's picture."""
    one, split = official(name), "testmini"
    items = one.load(DATA / name, split)
    assert one.check(DATA / name, items, split) == []
    assert one.compared(DATA / name, items, split).endswith("each picture")
    swapped = [replace(items[0], images=items[-1].images), *items[1:-1]]
    swapped.append(replace(items[-1], images=items[0].images))
    (line,) = one.check(DATA / name, swapped, split)
    assert line.startswith("2 pictures have other bytes than those of ")
    assert line.endswith(f": {items[0].id}, {items[-1].id}")


def test_every_published_row_has_a_fingerprint_of_its_own_id() -> None:
    for name in BENCHMARKS:
        for edition in official(name).editions:
            rows = published(name, edition.split)
            assert len(rows) in (0, edition.n)
            assert all(len(mark) == 12 for mark, _ in rows.values())
            shown = {len(picture) for _, picture in rows.values()}
            at_hand = {("wemath", "testmini"), ("mathvision", "testmini")}
            assert shown in (set(), {12 if (name, edition.split) in at_hand else 0})


def test_where_no_rows_were_at_hand_only_numbers_are_compared_and_it_is_said(tmp_path) -> None:
    made.write_json("mathverse", made.mathverse(), tmp_path)
    one = official("mathverse")
    items = one.load(tmp_path)
    said = one.compared(tmp_path, items)
    assert said == "numbers of rows; no fingerprints known of mathverse testmini"
    made.write_json("mathvista", made.mathvista(), tmp_path / "vista")
    one = official("mathvista")
    said = one.compared(tmp_path / "vista", one.load(tmp_path / "vista"))
    assert said == f"numbers of rows; each row with {MATHVISTA}; no picture's fingerprint known"


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
    expected = "; VLMEvalKit names f199b98e178e5a2a20e7048f5dcb0464 for MathVista_MINI.tsv"
    assert lines[1].endswith(expected)
    renamed = (tmp_path / "MathVista_MINI.tsv").rename(tmp_path / "mine.tsv")
    lines = one.check(renamed, one.load(renamed))
    assert lines[1].startswith("mine.tsv has md5 ")
    assert lines[1].endswith(expected)
    assert not any("language" in line for line in lines)  # the table has no such column


VERSIONS = {
    "text_dominant": ("Text Dominant", "MathVerse_MINITDom"),
    "text_lite": ("Text Lite", "MathVerse_MINITLite"),
    "vision_intensive": ("Vision Intensive", "MathVerse_MINIVInt"),
    "vision_dominant": ("Vision Dominant", "MathVerse_MINIVDom"),
    "vision_only": ("Vision Only", "MathVerse_MINIVOnly"),
}


@pytest.mark.parametrize("split", VERSIONS)
def test_a_version_of_mathverse_alone_is_788_problems(split, tmp_path, monkeypatch) -> None:
    version, remote = VERSIONS[split]
    rows = [row for row in made.mathverse(3) if row["problem_version"] == version]
    one, underscored = official("mathverse"), version.replace(" ", "_")
    for name in (f"MathVerse_MINI_{underscored}", f"MathVerse_MINI_{underscored}_cot", remote):
        folder = tmp_path / name
        folder.mkdir()
        table = made.write_tsv("mathverse", rows, folder / f"{name}.tsv")
        for source in (folder, table):
            items = one.load(source)
            assert one.files(source).split == split
            lines = one.check(source, items)
            assert lines[0] == f"3 rows; the owners' {split} has 788"
            assert lines[1].endswith(f" for MathVerse_MINI_{underscored}.tsv")
            assert "3 groups; the owners have 788" in lines
            assert f"3 rows of version {version!r}; the owners have 788" in lines
    renamed = table.rename(tmp_path / "mine.tsv")
    assert one.files(renamed).split == ""
    assert one.edition(renamed, one.load(renamed)).split == split  # by its rows
    same = hashlib.md5(renamed.read_bytes()).hexdigest()
    monkeypatch.setitem(vlmevalkit_tsv.MD5, f"MathVerse_MINI_{underscored}.tsv", same)
    assert one.files(renamed).split == split  # by its md5
    assert not any("md5" in line for line in one.check(renamed, one.load(renamed)))


def test_every_table_of_vlmevalkit_has_its_md5() -> None:
    kits = [edition.kit for name in BENCHMARKS for edition in official(name).editions]
    assert sorted(kit[0] for kit in kits if kit) == sorted(vlmevalkit_tsv.MD5)
    assert len({name for kit in kits for name in kit}) == sum(len(kit) for kit in kits)
    assert len(set(vlmevalkit_tsv.MD5.values())) == len(vlmevalkit_tsv.MD5) == 10


@real
def test_numbers_by_kind_are_the_owners(tmp_path) -> None:
    for name, split, source, _ in REAL:
        one = official(name)
        items = one.load_text(DATA / source, split)
        edition = one.edition(DATA / source, items, split)
        there = Counter(pair for item in items for pair in one.counted(item))
        assert {pair: there[pair] for pair in edition.counts} == edition.counts
        facets = {facet for facet, _ in edition.counts}
        expected = {
            "mathvista": {"question_type", "answer_type", "language", "category", "task"},
            "wemath": {"key"},
            "mathverse_text_only": {"version", "question_type", "subject", "subfield"},
            "mathvision": {"level", "subject"},
        }[name]
        assert facets == expected
    five = official("mathverse").editions[0].counts
    assert sum(n for (facet, _), n in five.items() if facet == "subject") == 3940
