"""The sweep's study: nothing counted twice, failures never a value, whatever was killed when."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState

from harness.plan.planner import Plan, Trial
from harness.run.sweep import DATABASE, SweepStudy
from harness.store.files import write_json
from tests.harness.examples import EXAMPLE, model_folder, planned

HEADLINE = "mathvista/accuracy"


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    folder = tmp_path_factory.mktemp("search")
    model_folder(folder / "model")
    return planned(EXAMPLE.format(model=folder / "model"), folder)


def swept(plan: Plan, point: dict[str, Any]) -> list[Trial]:
    return [t for t in plan.trials if t.arm == "mm_upt" and t.point == point]


def finish(plan: Plan, run: Path, point: dict[str, Any], *scores: float) -> None:
    for trial, score in zip(swept(plan, point), scores, strict=True):
        folder = run / "trials" / trial.id
        steps = [{"key": step.key} for step in trial.steps]
        write_json(folder / "result.json", {"steps": steps, "metrics": {HEADLINE: score}})
        write_json(folder / "status.json", {"state": "ok"})


def fail(plan: Plan, run: Path, point: dict[str, Any]) -> None:
    trial = swept(plan, point)[1]
    write_json(run / "trials" / trial.id / "status.json", {"state": "failed"})


def trials(run: Path) -> list[optuna.trial.FrozenTrial]:
    storage = f"sqlite:///{run / DATABASE}"
    [name] = optuna.get_all_study_names(storage)
    return optuna.load_study(study_name=name, storage=storage).get_trials()


def begun(plan: Plan, run: Path) -> SweepStudy:
    sweep = SweepStudy(plan, run)
    sweep.begin()
    sweep.update()
    return sweep


ALL: list[dict[str, Any]] = [
    {},
    {"group_size": 4},
    {"group_size": 16},
    {"synthetic_ratio": 0.5},
    {"synthetic_ratio": 1.0},
]


def test_a_points_value_is_the_mean_over_its_seeds(plan: Plan, tmp_path: Path) -> None:
    sweep = begun(plan, tmp_path)
    assert [t.state for t in trials(tmp_path)] == [TrialState.RUNNING] * 5
    finish(plan, tmp_path, {"group_size": 4}, 0.5, 0.6, 0.7)
    sweep.update()
    [done] = [t for t in trials(tmp_path) if t.state == TrialState.COMPLETE]
    assert done.value == pytest.approx(0.6)
    assert done.params == {"group_size": 4, "synthetic_ratio": 0.0}
    assert done.user_attrs["trials"] == [t.id for t in swept(plan, {"group_size": 4})]


def test_a_point_is_no_value_before_all_its_seeds_are_there(plan: Plan, tmp_path: Path) -> None:
    sweep = begun(plan, tmp_path)
    finish(plan, tmp_path, {}, 0.5, 0.6, 0.7)
    trial = swept(plan, {})[2]
    (tmp_path / "trials" / trial.id / "result.json").unlink()
    sweep.update()
    assert not [t for t in trials(tmp_path) if t.state == TrialState.COMPLETE]


def test_a_result_of_other_settings_is_no_value(plan: Plan, tmp_path: Path) -> None:
    sweep = begun(plan, tmp_path)
    finish(plan, tmp_path, {}, 0.5, 0.6, 0.7)
    file = tmp_path / "trials" / swept(plan, {})[0].id / "result.json"
    old = json.loads(file.read_text())
    write_json(file, old | {"steps": [{"key": "of an older plan"}]})
    sweep.update()
    assert not [t for t in trials(tmp_path) if t.state == TrialState.COMPLETE]


def test_a_killed_controller_leaves_no_zombie_and_counts_nothing_twice(
    plan: Plan, tmp_path: Path
) -> None:
    """Whenever it dies, the next one ends with each point complete exactly once."""
    for number, point in enumerate(ALL):
        begun(plan, tmp_path)  # asked, and never told: killed here
        finish(plan, tmp_path, point, 0.1 * number, 0.1 * number, 0.1 * number)
        sweep = SweepStudy(plan, tmp_path)
        sweep.begin()  # killed here, after asking
        sweep = begun(plan, tmp_path)  # told
        (tmp_path / "study.json").unlink(missing_ok=True)  # killed before this was written
    found = trials(tmp_path)
    assert [t.state for t in found] == [TrialState.COMPLETE] * len(ALL)
    assert sorted(t.value for t in found) == pytest.approx([0.0, 0.1, 0.2, 0.3, 0.4])


def test_a_point_that_was_enqueued_but_not_asked_for_is_not_enqueued_again(
    plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(optuna.Study, "ask", killed)
        with pytest.raises(KeyboardInterrupt):
            SweepStudy(plan, tmp_path).begin()
    assert [t.state for t in trials(tmp_path)] == [TrialState.WAITING] * 5
    begun(plan, tmp_path)
    assert [t.state for t in trials(tmp_path)] == [TrialState.RUNNING] * 5


def test_a_failed_point_never_enters_as_finished_and_is_tried_again(
    plan: Plan, tmp_path: Path
) -> None:
    sweep = begun(plan, tmp_path)
    for point in ALL:
        finish(plan, tmp_path, point, 0.5, 0.5, 0.5)
    fail(plan, tmp_path, {"group_size": 16})
    sweep.update()
    states = [t.state for t in trials(tmp_path)]
    assert states.count(TrialState.FAIL) == 1
    assert states.count(TrialState.COMPLETE) == 4
    sweep = SweepStudy(plan, tmp_path)
    write_json(
        tmp_path / "trials" / swept(plan, {"group_size": 16})[1].id / "status.json",
        {"state": "pending"},
    )
    sweep.begin()
    finish(plan, tmp_path, {"group_size": 16}, 0.9, 0.9, 0.9)
    sweep.update()
    states = [t.state for t in trials(tmp_path)]
    assert states.count(TrialState.COMPLETE) == 5
    assert states.count(TrialState.FAIL) == 1
    assert states.count(TrialState.RUNNING) == 0


def test_a_study_that_knows_everything_is_not_opened(
    plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun(plan, tmp_path)
    for point in ALL:
        finish(plan, tmp_path, point, 0.5, 0.5, 0.5)
    begun(plan, tmp_path)
    monkeypatch.setattr(optuna, "create_study", None)
    begun(plan, tmp_path)


def test_other_seeds_or_settings_are_another_study(plan: Plan, tmp_path: Path) -> None:
    fewer = plan.model_copy(update={"trials": tuple(t for t in plan.trials if t.seed < 2)})
    assert SweepStudy(plan, tmp_path).name != SweepStudy(fewer, tmp_path).name
