"""What is read of a training is what its contract tells a trainer to write."""

from __future__ import annotations

import json
from pathlib import Path

from backends.base.metrics import METRICS
from harness.results.report import plots
from harness.run import display


def test_the_curves_of_a_report_are_declared() -> None:
    assert set(plots._CURVES) <= set(METRICS)


def test_the_display_shows_declared_figures(tmp_path: Path) -> None:
    metrics = tmp_path / "out" / "metrics.jsonl"
    metrics.parent.mkdir()
    metrics.write_text(json.dumps(dict.fromkeys(METRICS, 0.25)) + "\n")
    assert display.figures(tmp_path) == "reward 0.25 · label accuracy 0.25"
