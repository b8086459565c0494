"""Two arms that differ only in their backend stand side by side, with their speeds."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from harness.results import reading as results
from harness.results import statistics as stats
from harness.results.report import markdown, summary, terminal, text
from harness.results.report.model import Report
from tests.harness import synthetic_run

ARMS = {
    "base": ("none", 0.55, 0.0),
    "mm_upt": ("mm_upt", 0.75, 0.02),
    "mm_upt_trl": ("mm_upt", 0.74, 0.02),
    "grpo": ("grpo", 0.80, 0.01),
}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Steps of mm_upt take 0.1 to 0.5 s by ours and seven times that by TRL."""
    folder = synthetic_run.make(
        tmp_path_factory.mktemp("run"), arms=ARMS, sweep=False, holes=False, steps=5
    )
    plan = json.loads((folder / "plan.json").read_text())
    for trial in plan["trials"]:
        trial["settings"]["backend"] = "trl" if trial["arm"] == "mm_upt_trl" else "deepspeed"
    (folder / "plan.json").write_text(json.dumps(plan))
    for trial in results.load(folder).trials:
        for path in trial.training:
            factor = 7 if trial.arm == "mm_upt_trl" else 1
            rows = [json.loads(line) for line in path.read_text().splitlines()]
            for i, row in enumerate(rows, 1):
                row = {k: v for k, v in row.items() if not k.startswith("seconds_")}
                rows[i - 1] = row | {
                    "seconds_rollout": 0.04 * i * factor,
                    "seconds_update": 0.06 * i * factor,
                }
            path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


@pytest.fixture(scope="module")
def report(run: Path) -> Report:
    return summary.build(results.load(run))


def test_only_arms_that_differ_in_nothing_else_are_paired(run: Path, report: Report) -> None:
    (pair,) = report.pairs
    assert (pair.first, pair.second) == ("mm_upt", "mm_upt_trl")
    assert pair.backends == ("deepspeed", "trl")
    plan = json.loads((run / "plan.json").read_text())
    for trial in plan["trials"]:
        trial["settings"]["lr"] = 1e-5 if trial["arm"] == "mm_upt_trl" else 5e-5
    changed = run.parent / "changed"
    changed.mkdir()
    (changed / "plan.json").write_text(json.dumps(plan))
    assert summary.build(results.load(changed)).pairs == []


def test_the_difference_is_that_of_the_second_to_the_first(run: Path, report: Report) -> None:
    loaded = {t.id: t for t in results.load(run).trials}
    for benchmark in ("mathvista", "wemath", "mathverse"):
        name = f"{benchmark}/accuracy"
        units = {i: t.scores[benchmark].metrics[name] for i, t in loaded.items()}
        paired = np.stack(
            [units[f"mm_upt_trl-s{s}"].values - units[f"mm_upt-s{s}"].values for s in (0, 1, 2)]
        )
        want = stats.interval(paired, units["mm_upt-s0"].clusters)
        found = report.pairs[0].deltas[name]
        assert (found.mean, found.low, found.high) == pytest.approx(
            (want.mean, want.low, want.high)
        )
        assert found.to == "mm_upt"


def test_the_pace_is_the_median_step_over_all_seeds(report: Report) -> None:
    rows = {row.label: row for row in report.rows}
    ours, theirs = rows["mm_upt"].pace, rows["mm_upt_trl"].pace
    assert ours is not None
    assert theirs is not None
    assert (ours.median, ours.low, ours.high, ours.steps) == pytest.approx((0.3, 0.2, 0.4, 15))
    assert theirs.median == pytest.approx(2.1)
    assert rows["base"].pace is None


def test_it_is_printed(report: Report) -> None:
    page = markdown.render(report)
    assert "## One arm, two trainers" in page
    assert "mm_upt_trl (trl) − mm_upt (deepspeed)" in page
    assert "0.3 s (0.2 to 0.4) | 2.1 s (1.4 to 2.8) | 7.00" in page
    console = Console(width=200, record=True)
    terminal.show(report, console)
    shown = console.export_text()
    assert "One arm, two trainers" in shown
    assert "7.00" in shown
    assert text.pace(None) == text.NONE
