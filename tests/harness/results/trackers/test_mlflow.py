"""The mirror in MLflow: complete, repeatable, and never in the way of a run."""

from __future__ import annotations

import json
import logging
import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from harness.results.trackers import mlflow_client
from harness.results.trackers.base import TrackingError
from harness.results.trackers.mlflow import MlflowTracker
from harness.testing.trackers import TrackerContract
from tests.harness import synthetic_run

# MLflow's own, on import and in SQLAlchemy sessions that it leaves to the garbage collector.
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning:mlflow.*"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:pydantic.*"),
    pytest.mark.filterwarnings("ignore::FutureWarning:mlflow.*"),
    pytest.mark.filterwarnings("ignore:unclosed database:ResourceWarning"),
]


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty migrated database: its migrations take seconds, a copy takes none."""
    root = tmp_path_factory.mktemp("mlflow")
    mlflow_client.connect(f"sqlite:///{root / 'mlflow.db'}")
    return root / "mlflow.db"


CONNECT = (
    "import sys; from harness.results.trackers.mlflow_client import connect; connect(sys.argv[1])"
)


def usable(uri: str) -> bool:
    return bool(mlflow_client.connect(uri).search_experiments())


def test_a_kill_while_the_database_is_made_leaves_nothing_in_the_way(tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    process = subprocess.Popen([sys.executable, "-c", CONNECT, uri])
    while not any(made.stat().st_size for made in tmp_path.glob(".mlflow.db.*.new")):
        assert process.poll() is None
    process.kill()
    process.wait()
    assert not (tmp_path / "mlflow.db").exists()
    assert usable(uri)
    assert {path.name for path in tmp_path.iterdir()} == {"mlflow.db", ".mlflow.db.lock"}


def test_a_database_that_another_version_left_unfinished_is_put_aside(
    tmp_path: Path, database: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "mlflow.db"
    shutil.copy(database, path)
    with closing(sqlite3.connect(path)) as unfinished:
        unfinished.execute("DROP TABLE alembic_version")
        unfinished.commit()
    assert usable(f"sqlite:///{path}")
    (aside,) = tmp_path.glob("mlflow.db-unfinished-*")
    assert aside.name in caplog.text


@pytest.mark.slow
def test_two_that_begin_together_make_one_database(tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    both = [subprocess.Popen([sys.executable, "-c", CONNECT, uri]) for _ in range(2)]
    assert [process.wait() for process in both] == [0, 0]


def test_the_address_is_the_files_else_the_environments_else_a_file_of_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert MlflowTracker(tmp_path, tmp_path).uri == f"sqlite:///{tmp_path / 'mlflow.db'}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://nowhere:5000")
    assert MlflowTracker(tmp_path, tmp_path).uri == "http://nowhere:5000"
    assert MlflowTracker(tmp_path, tmp_path, "http://here:5000").uri == "http://here:5000"


def test_a_password_in_the_address_is_in_no_message(run: Path) -> None:
    with pytest.raises(TrackingError) as told:
        MlflowTracker(run, run.parent, "nosuchscheme://me:secret@x").sync()
    assert "secret" not in str(told.value)
    assert "nosuchscheme://***@x" in str(told.value)


class TestContract(TrackerContract):
    @pytest.fixture(autouse=True)
    def _empty(self, database: Path) -> None:
        self.database = database

    def make(self, run_folder: Path, root: Path) -> MlflowTracker:
        if not (root / "mlflow.db").exists():
            shutil.copy(self.database, root / "mlflow.db")
        return MlflowTracker(run_folder, root)

    def make_dead(self, run_folder: Path, root: Path) -> MlflowTracker:
        return MlflowTracker(run_folder, root, "nosuchscheme://x")

    def mirrored(self, run_folder: Path, root: Path) -> dict[str, Any]:
        api = client(run_folder)
        return {
            name: (
                found.info.run_name,
                found.info.status,
                found.data.params,
                found.data.metrics,
                found.data.tags.get("harness.reason"),
                [
                    (m.step, m.value)
                    for m in api.get_metric_history(found.info.run_id, "train/reward")
                ],
            )
            for name, found in runs(run_folder).items()
        }


def make(root: Path, database: Path) -> Path:
    """Three arms with two seeds each; one trial of sft failed."""
    arms = {name: synthetic_run.ARMS[name] for name in ("base", "mm_upt", "sft")}
    shutil.copy(database, root / "mlflow.db")
    return synthetic_run.make(root, arms=arms, seeds=(1, 2), sweep=False, steps=5)


@pytest.fixture
def run(tmp_path: Path, database: Path) -> Path:
    return make(tmp_path, database)


@pytest.fixture(scope="module")
def mirrored(tmp_path_factory: pytest.TempPathFactory, database: Path) -> Path:
    """A run with its mirror, for tests that only read."""
    folder = make(tmp_path_factory.mktemp("mirrored"), database)
    mirror(folder)
    return folder


def client(run: Path) -> Any:
    return mlflow_client.connect(f"sqlite:///{run.parent / 'mlflow.db'}")


def runs(run: Path, condition: str = "") -> dict[str, Any]:
    found = client(run).search_runs([state(run)["experiment"]], condition)
    return {r.data.tags.get("harness.run.trial", "study"): r for r in found}


def state(run: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((run / "mlflow.json").read_text())
    return found


def mirror(run: Path) -> MlflowTracker:
    found = MlflowTracker(run, run.parent)
    found.start()
    for planned in json.loads((run / "plan.json").read_text())["trials"]:
        found.update(planned["id"])
    found.finish()
    return found


def test_a_study_and_its_trials(mirrored: Path) -> None:
    found = runs(mirrored)
    assert len(found) == 7
    study = found.pop("study")
    assert study.info.run_name == "tiny-ablation · 10d9af6"
    assert study.info.status == "FAILED"  # one trial did
    assert study.data.tags["harness.trials.ok"] == "5"
    assert "MathVista (tiny)<br>accuracy" in study.data.tags["mlflow.note.content"]
    for one in found.values():
        assert one.data.tags["mlflow.parentRunId"] == study.info.run_id
    good, bad = found["mm_upt-s1"], found["sft-s2"]
    assert good.info.run_name == "mm_upt · seed 1"
    assert good.info.status == "FINISHED"
    assert good.info.end_time - good.info.start_time == 60_000
    assert good.data.params["kl.beta"] == "0.01"
    assert good.data.params["seed"] == "1"
    assert bad.info.status == "FAILED"
    assert bad.data.tags["harness.reason"] == "train: the loss is not finite at step 12"
    artifacts = client(mirrored).list_artifacts(study.info.run_id, "report")
    assert "report/training.png" in {a.path for a in artifacts}


def test_curves_scores_data_and_checkpoint(mirrored: Path) -> None:
    one = runs(mirrored)["mm_upt-s1"]
    history = client(mirrored).get_metric_history(one.info.run_id, "train/reward")
    rows = (mirrored.parent / "store/train/mm_upt-s1/metrics.jsonl").read_text().splitlines()
    assert [m.step for m in history] == [1, 2, 3, 4, 5]
    assert [m.value for m in history] == [json.loads(r)["reward"] for r in rows]
    # Step 3 was not a number: left out, not stored as 1.8e308.
    norms = client(mirrored).get_metric_history(one.info.run_id, "train/grad_norm")
    assert [m.step for m in norms] == [1, 2, 4, 5]
    result = json.loads((mirrored / "trials/mm_upt-s1/result.json").read_text())
    for name, value in result["metrics"].items():
        assert one.data.metrics[name] == pytest.approx(value)
    assert {d.dataset.name for d in one.inputs.dataset_inputs} == {
        "mathvista", "wemath", "mathverse"
    }  # fmt: skip
    model = client(mirrored).get_logged_model(one.data.tags["harness.model_id"])
    assert model.tags["harness.checkpoint"].endswith("store/train/mm_upt-s1/checkpoint")
    assert model.source_run_id == one.info.run_id


def test_mirroring_twice_changes_nothing(mirrored: Path) -> None:
    before = {k: (r.info.run_id, len(r.data.metrics)) for k, r in runs(mirrored).items()}
    mirror(mirrored)
    assert {k: (r.info.run_id, len(r.data.metrics)) for k, r in runs(mirrored).items()} == before


def test_nothing_new_does_not_import_mlflow(mirrored: Path) -> None:
    script = (
        "import sys; from pathlib import Path\n"
        "from harness.results.trackers.mlflow import MlflowTracker\n"
        f"m = MlflowTracker(Path({str(mirrored)!r}), Path({str(mirrored.parent)!r})); m.start()\n"
        "m.update('mm_upt-s2'); m.finish()\n"
        "assert 'mlflow' not in sys.modules, 'imported'"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def test_a_training_is_followed_while_it_runs(run: Path) -> None:
    """New rows are added to the curve; what was logged is not logged again."""
    live = run.parent / "store/train/mm_upt-s2/metrics.jsonl"
    rows = live.read_text().splitlines(keepends=True)
    live.write_text("".join(rows[:2]))
    found = MlflowTracker(run, run.parent)
    found.start()
    found.update("mm_upt-s2")
    live.write_text("".join(rows))
    found.update("mm_upt-s2")
    history = client(run).get_metric_history(runs(run)["mm_upt-s2"].info.run_id, "train/kl")
    assert [m.step for m in history] == [1, 2, 3, 4, 5]


def test_a_failed_trial_that_is_repaired_goes_on_in_its_run(run: Path) -> None:
    mirror(run)
    before = runs(run)["sft-s2"].info.run_id
    status = run / "trials/sft-s2/status.json"
    status.write_text(json.dumps(json.loads(status.read_text()) | {"state": "ok"}))
    good = json.loads((run / "trials/sft-s1/result.json").read_text())
    good |= {"seed": 2, "steps": [good["steps"][0] | {"key": "sft-s2"}]}
    (run / "trials/sft-s2/result.json").write_text(json.dumps(good))
    mirror(run)
    after = runs(run)["sft-s2"]
    assert after.info.run_id == before
    assert after.info.status == "FINISHED"
    assert runs(run)["study"].info.status == "FINISHED"


def test_other_settings_under_the_same_name_make_another_run(run: Path) -> None:
    """Params are written once, so a changed arm cannot go on in the old run."""
    mirror(run)
    before = runs(run)["mm_upt-s2"].info.run_id
    plan = json.loads((run / "plan.json").read_text())
    for planned in plan["trials"]:
        if planned["id"] == "mm_upt-s2":
            planned["settings"]["lr"] = 1e-4
    (run / "plan.json").write_text(json.dumps(plan))
    mirror(run)
    after = runs(run)["mm_upt-s2"]
    assert after.info.run_id != before
    assert after.data.params["lr"] == "0.0001"


def test_a_changed_experiment_gets_its_own_runs_and_the_old_ones_stay(run: Path) -> None:
    """Nothing of the settings changed, but the model: no curve may hold points of both."""
    mirror(run)
    before = {r.info.run_id: r for r in client(run).search_runs([state(run)["experiment"]])}
    spec = json.loads((run / "spec.json").read_text())
    (run / "spec.json").write_text(json.dumps(spec | {"model": "other"}))
    mirror(run)
    found = client(run).search_runs([state(run)["experiment"]])
    parents = [r.info.run_id for r in found if r.data.tags["harness.role"] == "study"]
    assert len(parents) == 2
    new = [r for r in found if r.info.run_id not in before]
    assert len(found) == 2 * len(before) == 2 * len(new)
    study = next(r for r in new if r.data.tags["harness.role"] == "study")
    assert study.data.params["model"] == "other"
    own = {r.data.tags["mlflow.parentRunId"] for r in new if r is not study}
    assert own == {study.info.run_id}
    (run / "spec.json").write_text(json.dumps(spec))  # and back again, to the first parent
    mirror(run)
    assert state(run)["parent"] in before
    assert len(client(run).search_runs([state(run)["experiment"]])) == len(found)


def test_other_steps_under_the_same_settings_make_another_run(run: Path) -> None:
    mirror(run)
    before = {k: r.info.run_id for k, r in runs(run).items()}
    plan = json.loads((run / "plan.json").read_text())
    for planned in plan["trials"]:
        if planned["id"] == "mm_upt-s2":
            planned["steps"] = [{"kind": "train", "name": "train", "key": "ab" * 32}]
    (run / "plan.json").write_text(json.dumps(plan))
    mirror(run)
    after = {k: r.info.run_id for k, r in runs(run).items()}
    assert {k for k in after if after[k] != before[k]} == {"mm_upt-s2"}


def test_sync_rebuilds_a_lost_database(run: Path, database: Path) -> None:
    mirror(run)
    before = {k: dict(r.data.metrics) for k, r in runs(run).items()}
    (run.parent / "mlflow.db").unlink()
    other = run.parent / "again.db"
    shutil.copy(database, other)
    MlflowTracker(run, run.parent, f"sqlite:///{other}").sync()
    found = mlflow_client.connect(f"sqlite:///{other}").search_runs([state(run)["experiment"]])
    after = {r.data.tags.get("harness.run.trial", "study"): dict(r.data.metrics) for r in found}
    assert after == before


def test_sync_finds_runs_again_without_its_memory(run: Path) -> None:
    mirror(run)
    before = {k: r.info.run_id for k, r in runs(run).items()}
    (run / "mlflow.json").unlink()
    MlflowTracker(run, run.parent).sync()
    after = runs(run)
    assert {k: r.info.run_id for k, r in after.items()} == before
    history = client(run).get_metric_history(after["mm_upt-s1"].info.run_id, "train/reward")
    assert [m.step for m in history] == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("uri", ["nosuchscheme://x", "http://127.0.0.1:9"])
def test_a_wrong_address_stops_the_run_at_its_start(
    run: Path, uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(TrackingError, match="MLflow cannot be used at"):
        MlflowTracker(run, run.parent, uri).start()


def test_a_mirror_that_breaks_later_costs_one_warning(
    run: Path, caplog: pytest.LogCaptureFixture
) -> None:
    found = MlflowTracker(run, run.parent)
    found.start()
    found.update("base-s1")
    for end in ("", "-wal", "-shm"):
        (run.parent / f"mlflow.db{end}").unlink(missing_ok=True)
    (run.parent / "mlflow.db").mkdir()
    found._client = None
    with caplog.at_level(logging.WARNING, logger="harness.results.trackers.mlflow"):
        for _ in range(3):
            found.update("mm_upt-s2")
            found.update("mm_upt-s1")
        found.finish()
    warnings = [r for r in caplog.records if r.name == "harness.results.trackers.mlflow"]
    assert len(warnings) == 1
    assert "harness sync" in warnings[0].getMessage()


def test_names_are_made_legal() -> None:
    assert mlflow_client.legal("mathvista/pass@1") == "mathvista/pass_at_1"
    assert mlflow_client.legal("kl (k3), %") == "kl _k3__ _"


def test_the_page_is_served_from_this_root_only_to_this_machine(tmp_path: Path) -> None:
    command = mlflow_client.ui_command(tmp_path)
    assert command[command.index("--backend-store-uri") + 1] == f"sqlite:///{tmp_path}/mlflow.db"
    assert os.path.isabs(command[0])
    assert command[command.index("--host") + 1] == "127.0.0.1"
