"""The scripts that measure run whole, at their smallest."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest


def run(script: str, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name(script)), *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@pytest.mark.slow
def test_a_step_beside_trl() -> None:
    pytest.importorskip("trl")
    arguments = "--shapes smallest --blocks 1 --steps 1 --threads 2 --peak-tflops 0.1"
    lines = run("grpo_step.py", *arguments.split()).splitlines()
    rows = {line[:28].strip(): line[28:].split() for line in lines if line.startswith("  ")}
    for phase in ("generation", "reference", "update", "step"):
        ours, theirs = (float(rows[phase][i][:-1]) for i in (0, 2))
        rounding = 0.0005  # a phase may take a few milliseconds
        lowest, highest = (theirs - rounding) / (ours + rounding), (theirs + rounding) / ours
        assert lowest - 0.01 < float(rows[phase][4]) < highest / (1 - rounding / ours) + 0.01
    assert rows["step"][1] == rows["step"][3] == "100%"
    ours, theirs = map(float, rows["TFLOP of the update"])
    assert 1.5 < theirs / ours < 2  # two responses: prompt and picture twice
    assert all(0 < float(used[:-1]) < 100 for used in rows["MFU of the update"])


def test_beside_math_verify(tmp_path: Path) -> None:
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "test_pairs.py").write_text(
        "import pytest\nraise SystemExit('this file is read, not run')\n"
        "@pytest.mark.parametrize('gold,pred,expected', [\n"
        "    ('$4$', r'so it is $\\boxed{2^2}$', 1),\n"
        "    ('$4$', r'$\\boxed{5}$', 0),\n"
        "    ('$4$', '$5$', 1),\n"
        "    (str(4), '$4$', 1),\n"
        f"    ('{'9' * 300}', '4', 0),\n"
        "])\ndef test_pairs(gold, pred, expected): ...\n"
    )
    lines = run("math_verify_pairs.py", str(tmp_path)).splitlines()
    assert lines[0].startswith("| 3 pairs |")
    rows = {cells[1].strip(): cells[2:5] for cells in (line.split("|") for line in lines[2:6])}
    assert rows.keys() == {"equality", "rules", "accuracy", "math-verify"}
    assert {tuple(map(str.strip, cells)) for cells in rows.values()} == {("66.7%", "0", "1")}
    assert sum("'$5$'" in line for line in lines) == 2


@pytest.mark.slow
def test_how_a_step_grows(tmp_path: Path) -> None:
    printed = run("scaling.py", "--steps", "1", "--questions", "2", "--out", str(tmp_path))
    rows = [line.split("|") for line in printed.splitlines() if line.startswith("|")][2:]
    assert len(rows) == 5 + 4 + 4 + 2
    assert (tmp_path / "step_cost.png").stat().st_size > 20_000
