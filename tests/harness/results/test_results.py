"""Reading a run folder back, whatever state it was left in."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from harness.results import reading as results
from tests.fresh_process import loaded
from tests.harness import synthetic_run


@pytest.fixture
def run(tmp_path: Path) -> Path:
    arms = {name: synthetic_run.ARMS[name] for name in ("base", "mm_upt", "sft")}
    return synthetic_run.make(tmp_path, arms=arms, sweep=False, steps=5)


def status_of(run: Path, trial: str, **changes: object) -> None:
    path = run / "trials" / trial / "status.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_states_and_reasons(run: Path) -> None:
    found = {t.id: (t.state, t.reason) for t in results.load(run).trials}
    assert found["mm_upt-s0"] == ("ok", "")
    assert found["sft-s2"] == ("failed", "train: the loss is not finite at step 12")


def test_a_trial_without_a_folder_is_a_hole(run: Path) -> None:
    for file in (run / "trials" / "mm_upt-s1").iterdir():
        file.unlink()
    trial = next(t for t in results.load(run).trials if t.id == "mm_upt-s1")
    assert (trial.state, trial.reason) == ("missing", "not started")


def test_a_torn_result_is_a_hole(run: Path) -> None:
    (run / "trials" / "mm_upt-s1" / "result.json").write_text('{"status": "ok", "sco')
    trial = next(t for t in results.load(run).trials if t.id == "mm_upt-s1")
    assert trial.state == "missing"
    assert "result.json" in trial.reason


def test_scores_that_left_the_store_are_a_hole(run: Path) -> None:
    (run.parent / "store/score/wemath-mm_upt-s1/values.parquet").unlink()
    trial = next(t for t in results.load(run).trials if t.id == "mm_upt-s1")
    assert trial.state == "missing"
    assert "store/score/wemath-mm_upt-s1" in trial.reason


def test_values_are_in_one_order_of_units(run: Path) -> None:
    """The order of rows in the file is not the order of the pairing."""
    import pyarrow.parquet as pq

    path = run.parent / "store/score/mathvista-mm_upt-s1/values.parquet"
    before = results.load(run).trials[4].scores["mathvista"].metrics["mathvista/accuracy"]
    table = pq.read_table(path)
    order = np.random.default_rng(0).permutation(len(table))
    pq.write_table(table.take(order), path)
    trial = results.load(run).trials[4]
    assert trial.id == "mm_upt-s1"
    after = trial.scores["mathvista"].metrics["mathvista/accuracy"]
    assert list(after.units) == sorted(after.units)
    assert np.array_equal(after.values, before.values)
    assert after.values.mean() == pytest.approx(trial.metrics["mathvista/accuracy"])


def test_conditions_keep_the_order_of_the_plan(run: Path) -> None:
    found = results.load(run).conditions
    assert [c.label for c in found] == ["base", "mm_upt", "sft"]
    assert [t.seed for t in found[1].trials] == [0, 1, 2]


def test_stages_of_a_training_are_one_curve(run: Path) -> None:
    """Steps go on counting over stages; a resumed step counts once, a torn line not at all."""
    first, second = run.parent / "a.jsonl", run.parent / "b.jsonl"
    first.write_text(
        '{"step": 1, "reward": 0}\n{"step": 2, "reward": 9}\n{"step": 2, "reward": 1}\n'
    )
    second.write_text('{"step": 1, "reward": 2}\n{"step": 2, "rew')
    path = run / "trials" / "mm_upt-s0" / "result.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"training": ["a.jsonl", "b.jsonl"]}))
    trial = next(t for t in results.load(run).trials if t.id == "mm_upt-s0")
    assert [(r["step"], r["reward"]) for r in trial.curve()] == [(1, 0), (2, 1), (3, 2)]


def test_a_training_under_way_is_found_in_its_work_folder(run: Path) -> None:
    plan = json.loads((run / "plan.json").read_text())
    for trial in plan["trials"]:
        if trial["id"] == "sft-s2":
            trial["steps"] = [{"kind": "train", "name": "train", "key": "ab" * 32, "label": "x"}]
    (run / "plan.json").write_text(json.dumps(plan))
    live = run.parent / "work" / ("ab" * 8) / "train" / "metrics.jsonl"
    live.parent.mkdir(parents=True)
    live.write_text('{"step": 1, "reward": 0.5}\n')
    trial = next(t for t in results.load(run).trials if t.id == "sft-s2")
    assert trial.training == (live,)
    assert trial.curve() == [{"step": 1, "reward": 0.5}]


def test_a_result_of_other_settings_is_none(run: Path) -> None:
    """A plan that changed, and a run that ended before the trial began: what lies there is of the
    plan before."""
    before = {t.id: t for t in results.load(run).trials}
    plan = json.loads((run / "plan.json").read_text())
    for trial in plan["trials"]:
        if trial["id"] == "mm_upt-s0":
            trial["steps"][0]["key"] = "of another learning rate"
    (run / "plan.json").write_text(json.dumps(plan))
    after = {t.id: t for t in results.load(run).trials}
    stale = after.pop("mm_upt-s0")
    assert before.pop("mm_upt-s0").state == "ok"
    assert (stale.state, stale.metrics, stale.scores) == ("missing", {}, {})
    assert "other settings" in stale.reason
    assert {i: t.metrics for i, t in after.items()} == {i: t.metrics for i, t in before.items()}


def test_a_folder_without_a_plan_is_refused(tmp_path: Path) -> None:
    with pytest.raises(results.ResultsError, match=r"plan\.json"):
        results.load(tmp_path)


def test_reading_and_reporting_wait_with_heavy_imports() -> None:
    """`harness --help` and `harness plan` must not pay for plots and tracking."""
    code = "import harness.results.reading, harness.results.report, harness.results.trackers.mlflow"
    assert not loaded(code, "mlflow", "torch", "matplotlib", "pyarrow")
