"""Content ids of files and folders: what a loader reads counts, and is read once."""

from __future__ import annotations

from pathlib import Path

from harness.store.sources.hashes import Hashes


def test_a_linked_folder_counts_by_what_it_leads_to(tmp_path: Path) -> None:
    data, pictures = tmp_path / "data", tmp_path / "pictures"
    (data / "own").mkdir(parents=True)
    pictures.mkdir()
    (data / "own" / "a.txt").write_text("a")
    (pictures / "b.png").write_bytes(b"one")
    (data / "round").symlink_to(data)  # a loader does not go round either
    hashes = Hashes(tmp_path)
    alone = hashes.folder(data)
    (data / "images").symlink_to(pictures)
    linked = hashes.folder(data)
    (pictures / "b.png").write_bytes(b"other")
    assert len({alone, linked, hashes.folder(data)}) == 3
    copy = tmp_path / "copy"
    (copy / "images").mkdir(parents=True)
    (copy / "own").mkdir()
    (copy / "own" / "a.txt").write_text("a")
    (copy / "images" / "b.png").write_bytes(b"other")
    assert hashes.folder(copy) == hashes.folder(data)


def test_what_is_known_of_a_file_is_kept_until_the_file_changes(tmp_path: Path) -> None:
    file = tmp_path / "weights"
    file.write_bytes(b"one")
    hashes = Hashes(tmp_path / "root")
    before = hashes.content(file)
    hashes.save()
    again = Hashes(tmp_path / "root")
    assert again.content(file) == before
    file.write_bytes(b"other")
    assert again.content(file) != before
