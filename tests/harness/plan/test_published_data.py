"""A benchmark's data in an experiment: its split, its single file, its label, its prompts."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from harness.errors import HarnessError
from harness.plan import published_data as data
from harness.results.report.model import BenchmarkRecord
from harness.results.report.text import subset
from harness.store.results import Store
from tests.benchmarks import owners_files as made
from tests.harness.examples import planned


def harness(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "harness.cli", *arguments],
        capture_output=True,
        text=True,
        cwd=Path(__file__).resolve().parents[3],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )


@pytest.fixture
def both(tmp_path: Path) -> Path:
    return made.both_splits(tmp_path / "mathvision")


EXPERIMENT = """\
name: official
model: tiny
arms: {{base: {{method: none, template: {template}}}}}
benchmarks:
  - wemath
  - {{name: mathvision, data: {data}, split: testmini}}
"""


def test_a_plan_names_the_split_and_each_benchmarks_own_prompt(both, tmp_path) -> None:
    plan = planned(EXPERIMENT.format(template="official", data=both), tmp_path)
    assert [b.title for b in plan.benchmarks] == ["mini We-Math", "MathVision (testmini)"]
    asked = [s.spec for s in plan.trials[0].steps if s.kind == "generate"]
    assert [spec["template"] for spec in asked] == ["wemath", "mathvision"]
    assert len({spec["prompt"] for spec in asked}) == 2
    assert asked[1]["data"].endswith("[testmini]")


def test_a_template_that_does_not_fit_is_named_before_anything_runs(both, tmp_path) -> None:
    with pytest.raises(HarnessError, match="'mathvision' does not fit wemath: expected 'we"):
        planned(EXPERIMENT.format(template="mathvision", data=both), tmp_path)
    trained = EXPERIMENT.format(template="official", data=both).replace("none", "mm_upt")
    with pytest.raises(HarnessError, match="'official' asks the items of a benchmark"):
        planned("questions: tiny/train\n" + trained, tmp_path)


@pytest.mark.parametrize(
    ("n", "of", "limit", "said"),
    [
        (1740, 1740, None, "1740"),
        (12, 1740, 12, "12 of 1740, a subset"),
        (1739, 1740, None, "1739 of 1740, a subset"),
        (1741, 1740, None, "1741"),
        (12, None, 12, "12, a subset: limit 12"),
    ],
)
def test_a_part_of_a_benchmark_is_labelled(n, of, limit, said) -> None:
    assert subset(n, of, limit) == said
    assert BenchmarkRecord(name="a", title="A", headline="a/b", n=n, of=of).differences == ()


def test_a_part_of_the_data_is_labelled_from_scoring_to_the_screen(both, tmp_path) -> None:
    """The real chain on three rows that claim to be MathVision."""
    root = tmp_path / "runs"
    done = harness(
        "eval", "--model", "tiny", "--benchmarks", "mathvision", "--data", str(both), "--limit",
        "2", "--template", "official", "--max-tokens", "4", "--root", str(root),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "mathvision: SUBSET of 2 of 3040 items" in done.stdout
    assert "not as published: 3 rows; the owners' test has 3040" in done.stdout
    assert "mathvision is not as published: 3 rows" in done.stderr  # and before it was asked
    assert "prompt mathvision@" in done.stdout
    (score,) = root.glob("store/**/summary.json")
    summary = json.loads(score.read_text())
    assert (summary["n"], summary["of"]) == (2, 3040)
    assert summary["differences"][0].startswith("3 rows")


def test_the_doctor_checks_data(both, tmp_path) -> None:
    picture = both / "images" / "1.png"
    picture.write_bytes(made.PNG[:40])
    done = harness(
        "doctor", "--benchmark", "mathvision", "--data", str(both), "--root", str(tmp_path)
    )
    assert done.returncode == 1
    said = done.stdout
    assert "mathvision, test: 3 items, id sha256:" in said
    assert "3037 rows are missing: 4, 5, 6, 7, 8, ..." in said
    assert "pictures: 3; items with one that cannot be shown: 1" in said
    assert "the picture of 1: " in said
    assert "Traceback" not in done.stdout + done.stderr


def test_prompts_are_listed_with_source_and_hash() -> None:
    done = harness("list", "prompts")
    said = done.stdout
    assert "5a45a52c9d4b" in said
    assert "MM-UPT (arXiv 2505.22453), README: its evaluation" in said
    assert "majority" not in said
    wrong = harness("list", "promts")
    assert wrong.returncode == 2
    assert "did you mean 'prompts'" in wrong.stderr


def test_what_differs_from_the_published_data_is_told_before_anything_is_asked(
    both, tmp_path
) -> None:
    plan = planned(EXPERIMENT.format(template="official", data=both), tmp_path)
    said = list(data.unlike(plan, Store(tmp_path / "runs")))
    assert "mathvision is not as published: 2 rows; the owners' testmini has 304" in said
    assert all(line.startswith("mathvision") for line in said)  # the tiny world's is its own
