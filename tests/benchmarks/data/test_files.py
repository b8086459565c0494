"""A benchmark is the same from every source; a damaged source is an error or a labelled part."""

from __future__ import annotations

import base64
import os
import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.base import DataError, Item
from benchmarks.official.benchmark import OfficialBenchmark
from benchmarks.registry import benchmark
from tests.benchmarks import owners_files as made
from tests.benchmarks.hub_cache import COMMIT, printed

NAMES = tuple(made.ROWS)
#: What VLMEvalKit's table of a benchmark does not say.
UNSAID = {
    "mathvista": {"split", "language", "img_width", "img_height", "source", "category", "context",
                  "grade"},
    "wemath": set(),
    "mathverse": {"query_wo"},
    "mathvision": {"level"},
}  # fmt: skip


def official(name: str) -> OfficialBenchmark:
    one = benchmark(name)
    assert isinstance(one, OfficialBenchmark)
    return one


def split(name: str) -> str:
    return made.SPLIT.get(name, "testmini")


def said(item: Item, without: frozenset[str] | set[str] = frozenset()) -> tuple[object, ...]:
    meta = {key: value for key, value in item.meta.items() if key not in without}
    return item.id, item.question, item.answer, meta, len(item.images)


@pytest.mark.parametrize("name", NAMES)
def test_every_source_gives_the_same_items(name, tmp_path) -> None:
    one, rows = official(name), made.ROWS[name]()
    made.write_json(name, rows, tmp_path, split(name))
    owners = one.load(tmp_path)
    assert [said(item) for item in owners] == [said(item) for item in one.load(tmp_path)]
    assert all(Path(str(p)).read_bytes() == made.PNG for i in owners for p in i.images)

    shard = f"data/{split(name)}-00000-of-00001-725687bf7a18d64b.parquet"
    made.write_parquet(name, rows, tmp_path / "hub" / shard)
    hub = one.load(tmp_path / "hub")
    assert [said(item) for item in hub] == [said(item) for item in owners]
    assert {p for i in hub for p in i.images} == {made.PNG}

    kit = one.load(made.write_tsv(name, rows, tmp_path / "any.tsv"))
    without = UNSAID[name]
    assert [said(item, without) for item in kit] == [said(item, without) for item in owners]
    assert {p for i in kit for p in i.images} == {made.PNG}


@pytest.mark.parametrize("name", NAMES)
def test_the_golds_are_right_from_every_source(name, tmp_path) -> None:
    one, rows = official(name), made.ROWS[name]()
    made.write_json(name, rows, tmp_path, split(name))
    sources = [
        tmp_path,
        made.write_parquet(name, rows, tmp_path / "hub" / f"{split(name)}.parquet").parent,
        made.write_tsv(name, rows, tmp_path / "any.tsv"),
    ]
    for source in sources:
        for item in one.load(source):
            assert one.scorer().score(item, f"\\boxed{{{item.answer}}}").correct, (source, item)


def test_parquet_goes_before_json_and_json_before_a_table(tmp_path) -> None:
    one = official("mathvista")
    made.write_tsv("mathvista", made.mathvista(1), tmp_path / "MathVista_MINI.tsv")
    assert len(one.load(tmp_path)) == 1
    made.write_json("mathvista", made.mathvista(2), tmp_path)
    assert len(one.load(tmp_path)) == 2
    made.write_parquet("mathvista", made.mathvista(3), tmp_path / "data" / "testmini.parquet")
    assert len(one.load(tmp_path)) == 3


def test_a_split_is_chosen_and_the_usual_one_is_the_default(tmp_path) -> None:
    one = official("mathvision")
    made.write_json("mathvision", made.mathvision(1), tmp_path, "testmini")
    assert one.files(tmp_path).split == "testmini"  # all that is there
    with pytest.raises(DataError, match="holds no split 'test', but 'testmini'"):
        one.load(tmp_path, "test")
    made.write_json("mathvision", made.mathvision(3), tmp_path, "test")
    assert one.files(tmp_path).split == "test"
    assert [len(one.load(tmp_path, which)) for which in (None, "test", "testmini")] == [3, 3, 1]
    assert one.files(tmp_path / "testmini.jsonl").split == "testmini"
    with pytest.raises(DataError, match="unknown split of mathvision 'dev'"):
        one.load(tmp_path, "dev")


def test_text_only_is_a_benchmark_of_its_own(tmp_path) -> None:
    rows = [r for r in made.mathverse() if r["problem_version"] == "Text Dominant"]
    rows = [r | {"problem_version": "Text Only", "image": ""} for r in rows]
    made.write_json("mathverse", rows, tmp_path, "testmini_text_only")
    with pytest.raises(DataError, match=r"Expected a folder with testmini\.json"):
        official("mathverse").load(tmp_path)
    made.write_json("mathverse", made.mathverse(), tmp_path, "testmini")
    assert len(official("mathverse").load(tmp_path)) == 10
    alone = official("mathverse_text_only").load(tmp_path)
    assert [i.images for i in alone] == [(), ()]


def test_a_missing_part_of_a_parquet_split_is_an_error(tmp_path) -> None:
    made.write_parquet("wemath", made.wemath(), tmp_path / "testmini-00001-of-00002.parquet")
    with pytest.raises(DataError, match=r"in 2 parts, and part 00000 of 00002 is missing"):
        official("wemath").load(tmp_path)


def test_a_pinned_hub_revision_is_read_from_the_hubs_cache(tmp_path) -> None:
    """The real client, offline, on a cache as ``snapshot_download`` leaves it: links to blobs."""
    cached = tmp_path / "hub" / "datasets--MathLLMs--MathVision"
    for which, rows in (("test", made.mathvision(3)), ("testmini", made.mathvision(2))):
        blob = made.write_parquet("mathvision", rows, cached / "blobs" / which)
        link = cached / "snapshots" / COMMIT / "data" / f"{which}-00000-of-00001.parquet"
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(os.path.relpath(blob, link.parent))
    (cached / "refs").mkdir()
    (cached / "refs" / "main").write_text(COMMIT)
    source = f"hub:MathLLMs/MathVision@{COMMIT}"
    code = (
        "from benchmarks.registry import benchmark\n"
        "one = benchmark('mathvision')\n"
        f"print(len(one.load({source!r})), len(one.load({source!r}, 'testmini')))\n"
        "from pathlib import Path\n"
        "from harness.store.sources import benchmark_data\n"
        "from harness.store.sources.hashes import Hashes\n"
        "from harness.store.results import Store\n"
        f"found = benchmark_data.locate('mathvision', {source!r}, '', "
        f"Hashes(Path({str(tmp_path)!r})), split='testmini')\n"
        f"folder = found.path(Store(Path({str(tmp_path)!r})))\n"
        "print(found.id, len(one.load(folder, found.split)))\n"
    )
    assert printed(code, tmp_path / "hub").splitlines() == ["3 2", f"{source}[testmini] 2"]


# ------------------------------------------------------------------------------------ VLMEvalKit


def test_a_table_may_hold_a_picture_once_and_refer_to_it(tmp_path) -> None:
    own = base64.b64encode(made.PNG).decode()
    rows = made.mathverse(1)
    path = made.write_tsv(
        "mathverse", rows, tmp_path / "a.tsv", ["3", repr([own]), own, "3.0", "5"]
    )
    with pytest.raises(DataError, match="row 5: its image is that of row '5', which holds none"):
        official("mathverse").load(path)
    path = made.write_tsv(
        "mathverse", rows, tmp_path / "a.tsv", ["3", repr([own]), own, "3.0", "2"]
    )
    assert {item.images for item in official("mathverse").load(path)} == {(made.PNG,)}


def test_a_cell_may_be_longer_than_the_csv_modules_limit(tmp_path) -> None:
    large = made.PNG + bytes(300_000)
    cells = [base64.b64encode(large).decode()] * 2
    path = made.write_tsv("mathvision", made.mathvision(2), tmp_path / "a.tsv", cells)
    assert len(cells[0]) > 131_072
    assert [item.images for item in official("mathvision").load(path)] == [(large,)] * 2


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        ("!" * 80, "row 1: its image is no base64"),
        ("9", "row 1: its image is that of row '9', which holds none"),
        ("['" + "A" * 80 + "', '" + "A" * 80 + "']", "row 1: holds 2 images; expected one"),
        ("[" + "A" * 80, "row 1: its image is no list"),
        ("", "row 1: holds neither 'image' nor 'image_path'"),
    ],
)
def test_what_is_wrong_with_a_picture_is_named(cell, message, tmp_path) -> None:
    path = made.write_tsv("mathvision", made.mathvision(1), tmp_path / "a.tsv", [cell])
    with pytest.raises(DataError, match=message):
        official("mathvision").load(path)


def test_a_table_of_something_else_is_refused(tmp_path) -> None:
    path = tmp_path / "a.tsv"
    path.write_text("index\tquestion\tanswer\n1\tHow?\t3\n")
    for name in ("mathvista", "wemath", "mathverse"):
        with pytest.raises(DataError, match="row 1: no field"):
            official(name).load(path)


# --------------------------------------------------------------------------------------- damage


def broken(one: OfficialBenchmark, source: Path, whole: list[Item]) -> None:
    """A damaged source raises DataError, gives all rows, or is labelled as a part."""
    try:
        items = one.load_text(source)
    except DataError:
        return
    differences = one.check(source, items)
    assert len(items) == len(whole) or f"{len(items)} rows; the owners'" in differences[0]


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_a_cut_file_is_never_taken_for_the_whole(name, data, tmp_path_factory) -> None:
    folder = tmp_path_factory.mktemp(name)
    one, rows = official(name), made.ROWS[name]()
    writers = {
        "json": lambda: made.write_json(name, rows, folder, split(name)),
        "tsv": lambda: made.write_tsv(name, rows, folder / "any.tsv"),
        "parquet": lambda: made.write_parquet(name, rows, folder / "any.parquet"),
    }
    path = writers[data.draw(st.sampled_from(sorted(writers)))]()
    content = path.read_bytes()
    whole = one.load_text(path)
    path.write_bytes(content[: data.draw(st.integers(0, len(content) - 1))])
    broken(one, path, whole)
    if path.suffix == ".json" and path.read_bytes().rstrip() != content.rstrip():
        with pytest.raises(DataError):
            one.load_text(path)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", ["json", "tsv"])
def test_garbled_bytes_are_an_error_or_rows(name, kind, tmp_path) -> None:
    """Random bytes over random places: a message, never another exception."""
    one, rows = official(name), made.ROWS[name]()
    if kind == "json":
        path = made.write_json(name, rows, tmp_path, split(name))
    else:
        path = made.write_tsv(name, rows, tmp_path / "any.tsv")
    content = path.read_bytes()
    whole = one.load_text(path)
    rng = random.Random(f"{name} {kind}")
    for _ in range(150):
        garbled = bytearray(content)
        for _ in range(rng.randint(1, 4)):
            place = rng.randrange(len(garbled))
            garbled[place : place + rng.randint(0, 3)] = rng.randbytes(rng.randint(0, 3))
        path.write_bytes(bytes(garbled))
        broken(one, path, whole)
