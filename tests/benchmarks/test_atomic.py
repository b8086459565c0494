"""What is written whole or not at all: a reader never sees a part, a killed writer leaves none."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from benchmarks.atomic import remove_unfinished, whole_file, whole_folder, write_text


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_a_file_is_the_old_one_until_the_block_ends(tmp_path: Path) -> None:
    path = tmp_path / "made" / "a.txt"
    write_text(path, "ölD")
    with whole_file(path, sync=True) as fresh:
        fresh.write_text("half")
        assert path.read_text(encoding="utf-8") == "ölD"
    assert path.read_text() == "half"
    assert names(path.parent) == {"a.txt"}


def test_a_file_whose_writer_fails_stays_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    write_text(path, "old")

    def fail() -> None:
        with whole_file(path) as fresh:
            fresh.write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert path.read_text() == "old"
    assert names(tmp_path) == {"a.txt"}


def test_a_folder_replaces_the_old_one_whole(tmp_path: Path) -> None:
    path = tmp_path / "model"
    for name in ("first", "second"):
        with whole_folder(path) as fresh:
            fresh.mkdir()
            (fresh / name).write_text(name)
            assert name == "first" or names(path) == {"first"}
    assert names(path) == {"second"}
    assert names(tmp_path) == {"model"}


def test_what_killed_writers_left_is_removed_where_one_process_writes(tmp_path: Path) -> None:
    (tmp_path / ".model.1.new").mkdir()
    (tmp_path / ".model.2.old").mkdir()
    (tmp_path / ".other.1.new").write_text("another's")
    with whole_folder(tmp_path / "model") as fresh:
        fresh.mkdir()
    assert names(tmp_path) == {"model", ".other.1.new"}
    remove_unfinished(tmp_path)
    assert names(tmp_path) == {"model"}


def test_what_a_folder_holds_is_on_the_disk_before_it_appears(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And its name behind that: after a power cut it is whole or not there."""
    place = tmp_path / "made"
    synced: list[tuple[int, bool]] = []
    monkeypatch.setattr(
        os, "fsync", lambda file: synced.append((os.fstat(file).st_ino, place.exists()))
    )
    with whole_folder(place) as fresh:
        (fresh / "sub").mkdir(parents=True)
        (fresh / "sub" / "weights").write_bytes(b"1")
    before = {inode for inode, there in synced if not there}
    content = (place, place / "sub", place / "sub" / "weights")
    assert {path.stat().st_ino for path in content} <= before
    assert synced[-1] == (tmp_path.stat().st_ino, True)
