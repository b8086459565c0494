"""The house keeps its shape: floors, sizes, one purpose a room, tests that mirror them."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("harness", "backends", "benchmarks")
MAX_FILES, MAX_LINES = 15, 450

ROOMS = sorted(
    folder
    for package in PACKAGES
    for folder in [ROOT / package, *(ROOT / package).rglob("*")]
    if (folder / "__init__.py").is_file()
)
SOURCES = sorted(
    p for top in (*PACKAGES, "tests", "experiments") for p in (ROOT / top).rglob("*.py")
)


def lint(tree: Path) -> subprocess.CompletedProcess[str]:
    """The import contracts of ``pyproject.toml``, over the packages of ``tree``."""
    return subprocess.run(
        [sys.executable, "-c", "from importlinter.cli import lint_imports_command as c; c()"],
        cwd=tree,
        env={**os.environ, "COLUMNS": "300"},  # it wraps its report
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize("room", ROOMS, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_a_room_says_what_it_is_for_and_is_not_crowded(room: Path) -> None:
    text = ast.get_docstring(ast.parse((room / "__init__.py").read_text()))
    assert text, "its __init__.py has no docstring"
    files = [p.name for p in room.iterdir() if p.is_file() and p.name != "py.typed"]
    assert len(files) <= MAX_FILES, sorted(files)


def test_no_file_is_longer_than_a_reader_takes_in() -> None:
    lines = {p.relative_to(ROOT).as_posix(): p.read_text().count("\n") for p in SOURCES}
    assert {name: n for name, n in lines.items() if n > MAX_LINES} == {}


def test_tests_lie_in_the_rooms_that_they_test() -> None:
    folders = {p.parent.relative_to(ROOT / "tests") for p in (ROOT / "tests").rglob("test_*.py")}
    known = {Path(), Path("perf")} | {room.relative_to(ROOT) for room in ROOMS}
    assert folders - known == set()
    crowded = {
        f.as_posix()
        for f in folders
        if sum(p.is_file() for p in (ROOT / "tests" / f).iterdir()) > MAX_FILES
    }
    assert crowded == set()


#: A file, and an import in it that goes up.
UPWARD = {
    "benchmarks/plugins.py": "harness.errors",
    "benchmarks/base.py": "benchmarks.judge",
    "backends/models/folders.py": "backends.training.ranks",
    "backends/trl/common.py": "backends.deepspeed.loop",
    "harness/store/keys.py": "harness.plan.step",
}


def test_an_import_that_goes_up_is_told_and_breaks_the_contracts(tmp_path: Path) -> None:
    for package in PACKAGES:
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("*.png"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    assert lint(tmp_path).returncode == 0
    for file, upward in UPWARD.items():
        with (tmp_path / file).open("a") as source:
            source.write(f"\nimport {upward}\n")
    done = lint(tmp_path)
    assert done.returncode == 1, done.stdout + done.stderr
    for file, upward in UPWARD.items():
        module = file.removesuffix(".py").replace("/", ".")
        assert f"{module} -> {upward}" in done.stdout, f"{file} may import {upward}"
