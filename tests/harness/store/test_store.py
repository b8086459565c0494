"""The store: a folder without a valid manifest does not exist; one process makes a step."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from harness.errors import HarnessError
from harness.store.files import read_json, write_json
from harness.store.keys import SCHEMA
from harness.store.results import MANIFEST, Result, Store
from harness.store.sources import benchmark_data
from harness.store.sources.hashes import Hashes

KEY = "ab" * 32


def make(store: Store, key: str = KEY, text: str = "result") -> Result:
    with store.claim(key) as work:
        (work / "out" / "sub").mkdir(parents=True)
        (work / "out" / "sub" / "data.txt").write_text(text)
        (work / "scratch.txt").write_text("not part of it")
        return store.commit("score", "label", key, {"spec": {"a": 1}, "seconds": 1.0})


def test_a_committed_step_is_found_with_its_manifest_and_its_work_is_gone(tmp_path: Path) -> None:
    store = Store(tmp_path)
    assert store.find("score", KEY) is None
    made = make(store)
    assert made.path == tmp_path / "store" / "score" / f"label-{KEY[:16]}"
    found = Store(tmp_path).find("score", KEY)
    assert found is not None
    assert found.manifest["spec"] == {"a": 1}
    assert set(found.manifest["files"]) == {"sub/data.txt"}
    assert not store.work(KEY).exists()
    assert store.verify(found) == []


def test_looking_creates_nothing(tmp_path: Path) -> None:
    store = Store(tmp_path / "root")
    assert store.find("score", KEY) is None
    assert list(store.results()) == []
    assert not (tmp_path / "root").exists()


def test_a_folder_without_manifest_or_with_files_cut_short_does_not_exist(tmp_path: Path) -> None:
    store = Store(tmp_path)
    folder = make(store).path
    manifest = (folder / MANIFEST).read_text()
    for damage in ("", manifest[: len(manifest) // 2], "[]"):
        (folder / MANIFEST).write_text(damage)
        assert Store(tmp_path).find("score", KEY) is None
    (folder / MANIFEST).write_text(manifest)
    assert Store(tmp_path).find("score", KEY) is not None
    (folder / "sub" / "data.txt").write_text("resul")
    assert Store(tmp_path).find("score", KEY) is None


def test_a_damaged_result_is_made_again_and_put_aside_not_deleted(tmp_path: Path) -> None:
    store = Store(tmp_path)
    (make(store).path / "sub" / "data.txt").unlink()
    make(store, text="again")
    found = store.find("score", KEY)
    assert found is not None
    assert (found.path / "sub" / "data.txt").read_text() == "again"
    assert len(list((tmp_path / "work").glob("*-damaged-*"))) == 1


def test_a_key_that_shares_only_its_first_digits_is_another_key(tmp_path: Path) -> None:
    store = Store(tmp_path)
    make(store)
    other = KEY[:16] + "0" * 48
    assert store.find("score", other) is None


def test_verify_names_a_file_whose_content_changed_at_equal_size(tmp_path: Path) -> None:
    store = Store(tmp_path)
    made = make(store)
    (made.path / "sub" / "data.txt").write_text("rEsult")
    assert store.verify(made) == ["sub/data.txt"]


def test_a_store_tells_that_earlier_results_are_not_met_until_it_holds_one_of_now(tmp_path) -> None:
    store = Store(tmp_path)
    assert store.outdated() == ""
    result = make(store)
    assert (tmp_path / "store" / "FORMAT").read_text().strip() == str(SCHEMA)
    assert store.outdated() == ""
    (tmp_path / "store" / "FORMAT").unlink()  # as before there was one
    assert f"{tmp_path / 'store'} holds results of another version" in store.outdated()
    assert f"'Store format {SCHEMA}'" in store.outdated()
    (tmp_path / "store" / "FORMAT").write_text("1\n")
    assert store.outdated()
    make(store, key="cd" * 32)
    assert store.outdated() == ""
    assert result.path.exists()


def test_data_that_is_written_for_its_readers_says_nothing_of_the_results(tmp_path: Path) -> None:
    store = Store(tmp_path)
    benchmark_data.locate("wemath", "tiny/wemath", "", Hashes(tmp_path)).path(store)
    assert store.outdated() == ""
    assert not (tmp_path / "store" / "FORMAT").exists()


def test_a_store_on_another_disk_is_refused_before_anything_runs(tmp_path: Path) -> None:
    """Else every step would be computed whole, and could then not be moved into it."""
    memory = Path("/dev/shm")
    if not memory.is_dir() or memory.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("no second file system here")
    store = Store(tmp_path / "root")
    store.root.mkdir()
    store.refuse_two_disks()
    with tempfile.TemporaryDirectory(dir=memory) as elsewhere:
        (store.root / "store").symlink_to(elsewhere)
        with pytest.raises(HarnessError, match=r"store is on another disk than .*--root"):
            store.refuse_two_disks()


def test_an_error_leaves_no_result_and_keeps_the_work(tmp_path: Path) -> None:
    store = Store(tmp_path)

    def fail() -> None:
        with store.claim(KEY) as work:
            (work / "out").mkdir(parents=True)
            (work / "out" / "part").write_text("x")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert store.find("score", KEY) is None
    assert (store.work(KEY) / "out" / "part").exists()


def test_a_json_file_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    write_json(file, {"n": 1})
    with pytest.raises(ValueError, match="Out of range"):
        write_json(file, {"n": float("nan")})
    assert read_json(file) == {"n": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]


#: Claims KEY, and unless it is there already, adds a line to ``made`` and commits: slowly, and not
#: before there is a file ``go``.
WORKER = """
import sys, time
from pathlib import Path
from harness.store.results import Store
root, key, delay = Path(sys.argv[1]), sys.argv[2], float(sys.argv[3])
store = Store(root)
with store.claim(key, lambda: print("waits", flush=True)) as work:
    if store.find("score", key) is None:
        print("makes", flush=True)
        out = work / "out"
        out.mkdir(parents=True, exist_ok=True)
        for i in range(20):
            (out / f"{i}.txt").write_text(str(i) * 1000)
            time.sleep(delay / 20)
        while not (root / "go").exists():
            time.sleep(0.01)
        with (root / "made").open("a") as file:
            file.write("x")
        store.commit("score", "label", key, {})
"""


def worker(root: Path, delay: float) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", WORKER, str(root), KEY, str(delay)],
        stdout=subprocess.PIPE,
        text=True,
    )


def test_of_two_processes_one_makes_the_step_and_the_other_waits_for_it(tmp_path: Path) -> None:
    one, other = worker(tmp_path, 0.0), worker(tmp_path, 0.0)
    assert one.stdout is not None
    assert other.stdout is not None
    assert sorted(w.stdout.readline() for w in (one, other)) == ["makes\n", "waits\n"]  # type: ignore[union-attr]
    (tmp_path / "go").touch()
    assert [w.communicate()[0] for w in (one, other)] == ["", ""]
    assert (tmp_path / "made").read_text() == "x"


def test_kill_9_at_any_moment_leaves_nothing_or_a_whole_result(tmp_path: Path) -> None:
    """The lock is the kernel's: the next process never waits for a dead one."""
    draw = random.Random(0)
    for _ in range(4):
        one = worker(tmp_path, 0.5)
        assert one.stdout is not None
        assert one.stdout.readline() == "makes\n"
        time.sleep(draw.uniform(0.0, 0.4))
        os.kill(one.pid, signal.SIGKILL)
        one.communicate()
        assert Store(tmp_path).find("score", KEY) is None
    (tmp_path / "go").touch()
    last = worker(tmp_path, 0.0)
    assert last.communicate()[0] == "makes\n"
    assert last.returncode == 0
    found = Store(tmp_path).find("score", KEY)
    assert found is not None
    assert Store(tmp_path).verify(found) == []
    assert len(found.manifest["files"]) == 20
    assert json.loads((found.path / MANIFEST).read_text())["key"] == KEY
