"""Question files keep what they hold through a round trip, and name the row that is wrong."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.base import DataError, Item
from benchmarks.data.hub import at_hub
from benchmarks.data.questions import (
    is_image,
    json_line,
    load_questions,
    save_questions,
    split_files,
)
from tests.benchmarks.hub_cache import COMMIT, printed
from tests.benchmarks.owners_files import PNG


def write(folder: Path, *rows: object) -> Path:
    path = folder / "pool.jsonl"
    path.write_text("\n".join(r if isinstance(r, str) else json.dumps(r) for r in rows))
    return path


def test_a_saved_pool_is_loaded_as_it_was(tmp_path) -> None:
    picture = tmp_path / "dot.png"
    picture.write_bytes(PNG)
    items = [
        Item("a", "How many?", "5", (PNG, picture), "g", "because", {"level": 1}),
        Item("b", "ünd?\nso", "x"),
    ]
    path = save_questions(items, tmp_path / "pool")
    assert path == tmp_path / "pool" / "questions.jsonl"
    loaded = load_questions(path)
    assert loaded == load_questions(path.parent)
    assert [(i.id, i.question, i.answer, i.cluster, i.solution, i.meta) for i in loaded] == [
        (i.id, i.question, i.answer, i.cluster, i.solution, i.meta) for i in items
    ]
    assert [Path(str(p)).read_bytes() for p in loaded[0].images] == [PNG, PNG]
    assert len(list((path.parent / "images").iterdir())) == 1  # one content, one file


def test_a_disk_that_fills_up_leaves_no_picture_cut_short(
    tmp_path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = Path.write_bytes

    def cut(path: Path, content: bytes) -> int:
        whole(path, content[:20])
        raise OSError(28, "No space left on device")

    items = [Item("a", "How many?", images=(PNG,))]
    monkeypatch.setattr(Path, "write_bytes", cut)
    with pytest.raises(OSError, match="No space"):
        save_questions(items, tmp_path)
    monkeypatch.undo()
    [item] = load_questions(save_questions(items, tmp_path))
    assert Path(str(item.images[0])).read_bytes() == PNG
    files = {p.name for p in tmp_path.rglob("*") if p.is_file()}
    assert files == {"questions.jsonl", Path(str(item.images[0])).name}


def test_half_of_a_surrogate_pair_is_kept_and_other_text_stays_readable(tmp_path) -> None:
    asked = "ünd \ud800? 角 \U0001f600"
    path = save_questions([Item("a", asked, "\udfff", meta={"x\udc00": 1})], tmp_path)
    assert "ünd \\ud800? 角 \U0001f600" in path.read_text(encoding="utf-8")
    (item,) = load_questions(path)
    assert (item.question, item.answer, item.meta) == (asked, "\udfff", {"x\udc00": 1})
    assert json.loads(json_line({"a": "\ud800\\ud800"})) == {"a": "\ud800\\ud800"}


def test_what_cannot_be_written_leaves_no_file(tmp_path) -> None:
    with pytest.raises(TypeError):
        save_questions([Item("a", "q"), Item("b", "q", meta={"x": object()})], tmp_path)
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == []


def test_a_byte_order_mark_is_no_part_of_the_first_line(tmp_path) -> None:
    path = tmp_path / "pool.jsonl"
    path.write_text(json.dumps({"id": "a", "question": "q"}) + "\n", encoding="utf-8-sig")
    assert load_questions(path) == [Item("a", "q")]


@pytest.mark.parametrize(
    "content", [b"<html>404</html>", b"version https://git-lfs.github.com/spec/v1\n", b"png"]
)
def test_a_picture_that_is_none_is_named_with_file_and_row(tmp_path, content) -> None:
    import pyarrow
    import pyarrow.parquet

    (tmp_path / "1.png").write_bytes(content)
    path = write(tmp_path, {"question": "q"}, {"question": "q", "images": ["1.png"]})
    with pytest.raises(DataError, match=r"pool\.jsonl, line 2: picture .*1\.png is not an image"):
        load_questions(path)
    rows = [{"problem": "q", "images": [{"bytes": held, "path": None}]} for held in (PNG, content)]
    path = tmp_path / "pool.parquet"
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    said = rf"pool\.parquet, row 2: its picture is not an image \({len(content)} bytes\)"
    with pytest.raises(DataError, match=said):
        load_questions(path)


def test_every_usual_kind_of_picture_is_one(tmp_path) -> None:
    from PIL import Image

    for kind in ("png", "jpeg", "gif", "webp", "bmp", "tiff"):
        path = tmp_path / f"1.{kind}"
        Image.new("RGB", (2, 2)).save(path)
        assert is_image(path), kind
        assert is_image(path.read_bytes()), kind


def test_aliases_placeholders_numbers_and_row_numbers(tmp_path) -> None:
    path = write(tmp_path, {"problem": " How many?", "answer": 5, "level": 3}, "")
    (item,) = load_questions(path)
    assert item == Item("0", "How many?", "5", meta={"level": 3})


@pytest.mark.parametrize(
    ("text", "pictures", "question"),
    [
        ("<image>How many?", 1, "How many?"),
        ("<image>\n <image>How many?", 2, "How many?"),
        ("How many?", 2, "How many?"),
        ("Is <image> more than <image>?", 2, "Is <image> more than <image>?"),
        ("<image> or <image>?", 2, "<image> or <image>?"),
        ("What does <image> mean in HTML?", 0, "What does <image> mean in HTML?"),
        ("<image>How many?", 0, "<image>How many?"),
    ],
)
def test_a_picture_stands_where_it_is_marked(tmp_path, text, pictures, question) -> None:
    (tmp_path / "1.png").write_bytes(PNG)
    path = write(tmp_path, {"question": text, "images": ["1.png"] * pictures})
    (item,) = load_questions(path)
    assert item.question == question
    saved = save_questions([item], tmp_path / "saved")
    assert [i.question for i in load_questions(saved)] == [question]


@pytest.mark.parametrize(("marks", "pictures"), [(1, 2), (2, 1)])
def test_another_number_of_marks_than_of_pictures_is_named(tmp_path, marks, pictures) -> None:
    (tmp_path / "1.png").write_bytes(PNG)
    row = {"question": "<image>" * marks + "?", "images": ["1.png"] * pictures}
    with pytest.raises(DataError, match=f"line 1: .*{marks} <image> for {pictures} pictures"):
        load_questions(write(tmp_path, row))


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (["{"], "line 1: not JSON"),
        (['{"id": "1", "response": ' + "[" * 100_000], "line 1: not JSON .*recursion"),
        (["[]"], "line 1: must be a JSON object"),
        ([{"id": "a", "question": "q"}, {"id": "b"}], "line 2: 'question' must be a text"),
        ([{"id": "a", "question": "q"}] * 2, "line 2: id 'a' is already taken by .*line 1"),
        ([{"question": "q", "images": ["no.png"]}], "line 1: picture .*no.png does not exist"),
        ([{"question": "q", "images": [5]}], "line 1: a picture must be a path or bytes"),
        ([{"question": "q", "meta": 5}], "line 1: 'meta' must be an object"),
        ([{"question": "q", "answer": ["a"]}], "line 1: 'answer' must be a text or a number"),
        ([""], "holds no questions"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, rows, message) -> None:
    with pytest.raises(DataError, match=message):
        load_questions(write(tmp_path, *rows))


def test_a_file_that_is_missing_or_of_another_kind(tmp_path) -> None:
    with pytest.raises(DataError, match=r"no\.jsonl: no such question file"):
        load_questions(tmp_path / "no.jsonl")
    (tmp_path / "pool.csv").write_text("a,b")
    with pytest.raises(DataError, match=r"ends in \.jsonl or \.parquet"):
        load_questions(tmp_path / "pool.csv")
    (tmp_path / "pool.parquet").write_text("not parquet")
    with pytest.raises(DataError, match="not a readable parquet file"):
        load_questions(tmp_path / "pool.parquet")


def write_parquet(path: Path, first: int, n: int) -> None:
    import pyarrow
    import pyarrow.parquet

    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [
        {
            "id": f"q{i}",
            "problem": f"<image>What is {i}?",
            "answer": str(i),
            "images": [{"bytes": PNG, "path": None}],
        }
        for i in range(first, first + n)
    ]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)


def test_parquet_holds_its_pictures(tmp_path) -> None:
    write_parquet(tmp_path / "pool.parquet", 0, 3)
    items = load_questions(tmp_path / "pool.parquet")
    assert [i.id for i in items] == ["q0", "q1", "q2"]
    assert items[2] == Item("q2", "What is 2?", "2", (PNG,))


def test_a_split_is_found_in_every_usual_layout(tmp_path) -> None:
    for name in ("data/train-00000-of-00002", "data/train-00001-of-00002", "val", "test/0000"):
        write_parquet(tmp_path / f"{name}.parquet", 0, 1)
    assert [p.stem for p in split_files(tmp_path, "train")] == [
        "train-00000-of-00002",
        "train-00001-of-00002",
    ]
    assert split_files(tmp_path, "val") == [tmp_path / "val.parquet"]
    assert split_files(tmp_path, "test") == [tmp_path / "test/0000.parquet"]
    with pytest.raises(DataError, match=r"no parquet file of a split 'dev'; .*train, val"):
        split_files(tmp_path, "dev")


def test_a_hub_source_needs_its_revision() -> None:
    with pytest.raises(DataError, match="owner/name@revision"):
        at_hub("hub:owner/name[train]")


def test_a_hub_source_is_read_from_the_hubs_cache(tmp_path) -> None:
    """The real client, offline, on a cache in its own layout."""
    cached = tmp_path / "hub" / "datasets--owner--pool"
    snapshot = cached / "snapshots" / COMMIT
    write_parquet(snapshot / "data" / "train-00000-of-00002.parquet", 0, 2)
    write_parquet(snapshot / "data" / "train-00001-of-00002.parquet", 2, 1)
    code = (
        "from benchmarks.data.questions import load_questions\n"
        f"print(*(i.id for i in load_questions('hub:owner/pool@{COMMIT}[train]')))"
    )
    assert printed(code, tmp_path / "hub").split() == ["q0", "q1", "q2"]
