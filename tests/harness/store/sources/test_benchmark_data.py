"""What a benchmark's data may be called, its split, and what each name comes to."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import TypeAdapter

from benchmarks import tiny
from harness.errors import HarnessError, StepError
from harness.store.results import Store
from harness.store.sources import benchmark_data
from harness.store.sources.benchmark_data import Data
from harness.store.sources.hashes import Hashes
from harness.store.sources.located import Located
from tests.benchmarks import owners_files as made

COMMIT = "0123456789abcdef0123456789abcdef01234567"
HUB = f"hub:owner/name@{COMMIT}"


@pytest.fixture
def both(tmp_path: Path) -> Path:
    return made.both_splits(tmp_path / "mathvision")


def locate(folder: Path | str, split: str | None = None, name: str = "mathvision") -> Data:
    return benchmark_data.locate(name, str(folder), "", Hashes(Path("none")), split=split)


def test_each_kind_has_the_id_that_keys_were_made_of(both) -> None:
    golden = "sha256:d8492de8060c1c84b4df5a4c36a48b8e04923aa084f7ad42b6f96990f8035c0d"
    assert locate(both).id == golden
    assert locate(HUB).id == HUB
    assert locate(HUB, "testmini").id == f"{HUB}[testmini]"
    assert locate("tiny/hard", name="mathvista").id == f"tiny/hard@{tiny.VERSION}"
    unset = benchmark_data.locate("wemath", None, "tiny", Hashes(Path("none")))
    assert unset == locate("tiny/wemath", name="wemath")


def test_a_trials_spec_and_its_parts_give_back_what_was_located(both) -> None:
    for data in (locate(both, "testmini"), locate(HUB, "testmini"), locate("tiny/hard")):
        again = TypeAdapter(Located).validate_json(data.model_dump_json())
        parts = benchmark_data.reopen(data.id, data.source, data.split)
        assert again == parts == data
        assert type(again) is type(parts) is type(data)
    task = benchmark_data.reopen("sha256:0", "lm_eval:gsm8k?num_fewshot=2")
    assert task.address("lm_eval:gsm8k") == "lm_eval:gsm8k?num_fewshot=2"


@pytest.mark.parametrize(
    ("name", "data", "split", "message"),
    [
        ("mathvision", "DATA", "mini", r"unknown split of mathvision 'mini'.*testmini"),
        ("mathvista", "tiny/mathvista", "test", "unknown split of mathvista 'test'"),
        ("mathvision", "tiny/hard", "testmini", "'tiny/hard' has no split 'testmini'.*'test' only"),
        ("lm_eval:gsm8k", None, "test", "lm_eval:gsm8k asks the split that its definition names"),
        ("plain", "DATA", "test", "plain has no splits; leave out `split: test`"),
    ],
)
def test_a_split_that_nothing_reads_is_refused_by_name(
    name, data, split, message, both, monkeypatch
) -> None:
    monkeypatch.setitem(
        benchmark_data.benchmark.__globals__["BENCHMARKS"], "plain", f"{__name__}:Plain"
    )
    with pytest.raises(HarnessError, match=message):
        benchmark_data.locate(
            name, data and data.replace("DATA", str(both)), "", Hashes(both), split=split
        )


class Plain:
    """A benchmark of one file, which knows no splits."""

    name, splits = "plain", ()


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("mathvista", None, "say where the data of mathvista is: data: <folder of its owners'"),
        ("mathvista", "tiny/mathvsta", "did you mean 'tiny/mathvista'"),
        ("mathvista", "no/such", "no such folder; expected .* tiny/mathvista"),
        ("mathvista", "hub:a/b@main", "40 hex digits"),
        ("mathvista", f"{HUB}[test]", r"leave out \[test\]; a split other than the usual one"),
    ],
)
def test_what_is_no_data_is_refused_with_what_would_be(name, data, message) -> None:
    with pytest.raises(HarnessError, match=message):
        benchmark_data.locate(name, data, "owner/name", Hashes(Path("none")))


def test_the_embedded_world_is_written_into_the_store_once(tmp_path) -> None:
    store = Store(tmp_path)
    data = locate("tiny/wemath", name="wemath")
    folder = data.path(store)
    assert folder.name.startswith("tiny-wemath-")
    assert data.path(store) == folder
    assert len(list(store.results("data"))) == 1


def test_a_split_that_is_not_the_usual_one_is_part_of_what_the_data_is(both) -> None:
    whole, mini = locate(both), locate(both, "testmini")
    assert locate(both, "test") == whole
    assert whole.split is None
    assert mini.split == "testmini"
    assert mini.id == f"{whole.id}[testmini]"
    (both / "test.jsonl").unlink()
    assert locate(both).split == "testmini"  # all that is there, and labelled
    with pytest.raises(HarnessError, match=r"unknown split of mathvision 'mini'.*testmini"):
        locate(both, "mini")
    with pytest.raises(HarnessError, match="holds no split 'test', but 'testmini'"):
        locate(both, "test")


def test_data_that_changes_after_the_plan_stops_the_step(both, tmp_path) -> None:
    table = made.write_tsv("mathvision", made.mathvision(3), tmp_path / "MathVision.tsv")
    for found in (locate(both, "testmini"), locate(table)):
        found.refuse_change("data", Hashes(tmp_path))
    found = [locate(both, "testmini"), locate(table)]
    made.write_json("mathvision", made.mathvision(1), both, "testmini")
    made.write_tsv("mathvision", made.mathvision(2), table)
    for each in found:
        with pytest.raises(StepError, match="changed since the run was planned"):
            each.refuse_change("data", Hashes(tmp_path))


def test_a_single_file_must_hold_its_pictures(both, tmp_path) -> None:
    table = made.write_tsv("mathvision", made.mathvision(3), tmp_path / "MathVision_MINI.tsv")
    found = locate(table)
    assert (found.source, found.split) == (str(table.resolve()), "testmini")
    assert found.path(Store(tmp_path)) == table.resolve()
    with pytest.raises(
        HarnessError,
        match="outside the file; name the folder that holds the file and its pictures, and",
    ):
        locate(both / "testmini.jsonl")
    table.write_text(table.read_text().replace("\timage\n", "\timage_path\n"))
    with pytest.raises(HarnessError, match="outside the file; name the folder"):
        locate(table)
