"""What a question pool may be called, and what each name comes to."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from pydantic import TypeAdapter

from benchmarks import tiny
from harness.errors import HarnessError, StepError
from harness.store.sources import questions
from harness.store.sources.hashes import Hashes
from harness.store.sources.located import Located
from tests.benchmarks.owners_files import PNG

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def pool(tmp_path: Path) -> Path:
    (tmp_path / "dot.png").write_bytes(PNG)
    path = tmp_path / "pool.jsonl"
    row = {"id": "a", "question": "How many?", "answer": "5", "images": ["dot.png"]}
    path.write_text(json.dumps(row))
    return path


def test_each_kind_has_the_id_that_keys_were_made_of(pool, tmp_path) -> None:
    hashes = Hashes(tmp_path)
    assert questions.locate("tiny/train", hashes).id == f"tiny/train@{tiny.VERSION}"
    hub = f"hub:owner/name@{COMMIT}[train]"
    assert questions.locate(hub, hashes).id == hub
    golden = "sha256:9891482ceab79c12b9e89e8d5fbb39834caa929d92e242ae7e9b73e6cc5242b6"
    assert questions.locate(str(pool), hashes).id == golden


def test_a_trials_spec_gives_back_what_was_located(pool, tmp_path) -> None:
    hashes = Hashes(tmp_path)
    for text in ("tiny/train", str(pool), f"hub:owner/name@{COMMIT}[train]"):
        located = questions.locate(text, hashes)
        again = TypeAdapter(Located).validate_json(located.model_dump_json())
        assert (again, type(again)) == (located, type(located))


def test_a_pool_is_what_its_items_say_and_show(pool, tmp_path) -> None:
    hashes = Hashes(tmp_path)
    located = questions.locate(str(pool), hashes)
    assert [item.answer for item in located.load(hashes)] == ["5"]
    pool.write_text(pool.read_text() + "\n\n")  # says the same
    located.load(hashes)
    (tmp_path / "dot.png").write_bytes(PNG + b"other")
    with pytest.raises(StepError, match=r"question file .*pool\.jsonl changed"):
        located.load(hashes)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("tiny/trian", "did you mean 'tiny/train'"),
        ("hub:a/b@main[train]", "40 hex digits .* because 'main' can move"),
        (f"hub:a/b@{COMMIT}", r"name the split too, as in hub:a/b@.*\[train\]"),
        ("nowhere.jsonl", "'nowhere.jsonl': no such file; expected tiny/train, such a file, or"),
        (".", "not a .jsonl or .parquet file"),
    ],
)
def test_what_is_no_pool_is_refused_with_what_would_be(source, message, tmp_path) -> None:
    with pytest.raises(HarnessError, match=message):
        questions.locate(source, Hashes(tmp_path))
