"""The runner: nothing is lost, nothing is made twice, and every failure has a reason.

Trials are real processes; the backend is a plug-in that needs no torch (``steady.py``).
"""

from __future__ import annotations

import errno
import io
import json
import os
import random
import signal
import time
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest
from rich.console import Console

from backends.base.resources import Resources
from harness.commands.status import show
from harness.run import status, trial
from harness.run.display import Lines, LiveTable
from harness.run.executors.local import LocalExecutor, alive
from harness.run.job import Job
from harness.run.runner import Runner
from harness.store.files import write_json
from harness.store.results import Store
from tests.harness.examples import EXAMPLE, model_folder, planned, question_file, read

from .place import TEXT, Place

HERE = Path(__file__).parent
IDS = [f"{arm}-s{seed}" for arm in ("vote", "same") for seed in (0, 1)]


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, plugin: Path) -> Place:
    """A run that nothing disturbed: what every other one must come to."""
    here = Place(tmp_path_factory.mktemp("undisturbed"))
    here.environment = {"PYTHONPATH": str(plugin), "CUDA_VISIBLE_DEVICES": ""}
    code, out, error = here.run()
    assert code == 0, out + error
    return here


def test_a_run_leaves_the_layout_that_reports_read(undisturbed: Place) -> None:
    run = undisturbed.root / "test"
    for name in ("experiment.yaml", "spec.json", "plan.json", "environment.json", "events.jsonl"):
        assert (run / name).is_file()
    text = (undisturbed.folder / "test.yaml").read_text()
    assert (run / "experiment.yaml").read_text() == text
    environment = json.loads((run / "environment.json").read_text())
    assert environment["versions"]["torch"]
    for name in IDS:
        assert undisturbed.state(name)["state"] == "ok"
        result = undisturbed.result(name)
        assert {"trial", "arm", "point", "seed", "status", "steps", "metrics", "training"} <= set(
            result
        )
        [curve] = result["training"]  # type: ignore[misc]
        assert len((undisturbed.root / curve).read_text().splitlines()) == 8
    assert len(json.loads((run / "plan.json").read_text())["trials"]) == len(IDS)


def test_arms_that_train_the_same_train_it_once(undisturbed: Place) -> None:
    assert sorted(line.split()[2] for line in undisturbed.lines("end")) == ["0", "1"]
    assert undisturbed.weights("vote-s0") == undisturbed.weights("same-s0")
    assert undisturbed.weights("vote-s0") != undisturbed.weights("vote-s1")


def test_no_result_holds_a_path_of_this_machine(undisturbed: Place) -> None:
    """A store can be copied to another machine: manifests and results name relative paths."""
    for file in undisturbed.root.glob("store/*/*/manifest.json"):
        assert str(undisturbed.folder) not in file.read_text()
    for name in IDS:
        assert str(undisturbed.folder) not in json.dumps(undisturbed.result(name))


def test_a_second_run_does_nothing_and_loads_nothing_heavy(undisturbed: Place) -> None:
    before = undisturbed.log.read_text()
    times = {p: p.stat().st_mtime_ns for p in undisturbed.root.rglob("*.json")}
    code, out, _ = undisturbed.run()
    assert code == 0
    assert out.strip() == "loaded []"
    assert undisturbed.log.read_text() == before
    assert {p: p.stat().st_mtime_ns for p in undisturbed.root.rglob("*.json")} == times


def test_kill_9_of_runner_and_trials_at_any_moment_changes_nothing_in_the_end(
    place: Place, undisturbed: Place
) -> None:
    draw = random.Random(1)
    for attempt in range(4):
        begun = len(place.lines("begin"))
        process = place.start(STEADY_SECONDS="0.4")
        place.wait_for("begin", begun + 1)
        time.sleep(draw.uniform(0.0, 0.7))
        if attempt % 2:
            while not place.saved():
                time.sleep(0.02)
            pids = [place.state(name).get("pid") for name in IDS]
            for pid in [p for p in pids if isinstance(p, int)]:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
    code, out, error = place.run()
    assert code == 0, out + error
    for name in IDS:
        assert place.weights(name) == undisturbed.weights(name)
        [curve] = place.result(name)["training"]  # type: ignore[misc]
        rows = (place.root / curve).read_text().splitlines()
        assert [json.loads(row)["step"] for row in rows] == list(range(1, 9))
    assert len(place.lines("end")) == 2, "a finished step was made again"
    assert any(line.split()[1] != "0" for line in place.lines("begin")), "nothing was resumed"
    store = Store(place.root)
    found = list(store.results("train"))
    assert len(found) == 2
    assert not any(store.verify(result) for result in found)


def test_trials_die_with_their_runner(place: Place) -> None:
    process = place.start(STEADY_GATE=str(place.folder / "go"))
    place.wait_for("begin", 2)
    pids = [p for name in IDS if isinstance(p := place.state(name).get("pid"), int)]
    assert len(pids) == 2
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    while any(alive(pid) for pid in pids):
        time.sleep(0.05)
    assert not place.lines("end"), "a trial outlived its runner"
    assert {place.state(name)["state"] for name in IDS} == {"interrupted", "pending"}


def test_ctrl_c_ends_the_trials_and_says_how_to_go_on(place: Place) -> None:
    process = place.start(STEADY_GATE=str(place.folder / "go"))
    place.wait_for("begin", 2)
    pids = [p for name in IDS if isinstance(p := place.state(name).get("pid"), int)]
    process.send_signal(signal.SIGINT)
    _, error = process.communicate()
    assert process.returncode == 130
    said = f"Interrupted. What is done is in {place.root}; the same command goes on from there."
    assert error.splitlines() == ["", said]
    assert "Traceback" not in error
    assert not any(alive(pid) for pid in pids)
    assert {place.state(name)["state"] for name in IDS} == {"pending"}
    code, out, error = place.run()
    assert code == 0, out + error


def test_a_second_runner_in_the_same_folder_is_sent_away(place: Place) -> None:
    first = place.start(STEADY_GATE=str(place.folder / "go"))
    place.wait_for("begin")
    code, _, error = place.run()
    assert code == 2
    assert "another `harness run` is at work" in error
    assert "Traceback" not in error
    (place.folder / "go").touch()
    first.communicate()
    assert first.returncode == 0


def test_two_runs_on_one_store_make_each_step_once(place: Place) -> None:
    place.write("other")
    runs = [place.start(name, STEADY_SECONDS="0.1") for name in ("test", "other")]
    for process in runs:
        process.communicate()
        assert process.returncode == 0
    assert len(place.lines("end")) == 2
    assert all(place.weights(name) == place.weights(name, "other") for name in IDS)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ("raise", "train: the gradient is not finite in three steps on end"),
        ("crash", "train: killed by signal 6"),
        ("vanish", "train: "),
        ("disk full", "train: the disk is full"),
    ],
)
def test_a_failed_trial_has_a_reason_stops_no_other_and_is_tried_again(
    place: Place, undisturbed: Place, wrong: str, said: str
) -> None:
    code, out, error = place.run(STEADY_WRONG=f"{wrong} seed 1")
    assert code == 1, out + error
    for name in IDS:
        state = place.state(name)
        assert state["state"] == ("failed" if name.endswith("s1") else "ok")
        if name.endswith("s1"):
            assert said in str(state["reason"])
            assert not (place.trial(name) / "result.json").exists()
    # `same-s1` needs the very step that failed in `vote-s1`: it is not made to fail once more.
    assert "needs a step that failed: vote-s1" in str(place.state("same-s1")["reason"])
    assert len(place.lines("begin 0 1")) == 1
    assert len(list(Store(place.root).results("train"))) == 1
    code, out, error = place.run()
    assert code == 0, out + error
    assert all(place.weights(name) == undisturbed.weights(name) for name in IDS)


def test_a_failure_shows_its_traceback_in_the_log_only(place: Place) -> None:
    _, out, error = place.run(STEADY_WRONG="raise")
    assert "Traceback" not in out + error
    assert "TrainingError" in (place.trial("vote-s0") / "log.txt").read_text()


class Broken:
    """An observer that cannot show anything."""

    def begin(self, *shown: object) -> None:
        raise ValueError("nothing can be shown")

    changed = tick = end = begin


def test_neither_a_full_disk_nor_what_shows_a_run_takes_the_runner_down(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(self: LocalExecutor, folder: Path) -> Job:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder / "log.txt"))

    model_folder(tmp_path / "model")
    question_file(tmp_path)
    text = TEXT.replace("backend: steady\n", "").format(name="test", folder=tmp_path)
    start = partial(LocalExecutor, Resources(device="cpu"))
    runner = Runner(planned(text, tmp_path), tmp_path / "runs", Broken(), start)
    monkeypatch.setattr(LocalExecutor, "submit", full)
    outcome = runner.run(read(text, tmp_path), text)
    assert list(outcome.failed) == IDS
    assert all(reason.startswith("the disk is full") for reason in outcome.failed.values())
    assert caplog.text.count("nothing can be shown") == 1


def test_a_trial_that_cannot_be_started_keeps_no_worker(tmp_path: Path) -> None:
    executor = LocalExecutor(Resources(device="cpu"), 1)
    with pytest.raises(FileNotFoundError):
        executor.submit(tmp_path / "gone")
    assert executor.has_room


def test_reasons_with_brackets_are_shown_as_they_are(tmp_path: Path) -> None:
    """gloo's errors begin with a path in brackets, which rich would take for a tag."""
    reason = "[/third_party/gloo/pair.cc:534] peer closed; see hub:a/b[test]"
    trials = tmp_path / "runs" / "test" / "trials"
    plan = {"trials": [{"id": "vote-s0", "arm": "vote", "seed": 0}]}
    write_json(trials.parent / "plan.json", plan)
    write_json(trials / "vote-s0" / status.FILE, {"state": "failed", "reason": reason})
    console = Console(width=200, record=True, file=io.StringIO())
    show(trials.parent, console)
    one = planned(EXAMPLE.format(model=model_folder(tmp_path / "model")), tmp_path).trials[0]
    for shown in (LiveTable(console), Lines(console)):
        shown.changed(one, {"state": "failed", "reason": reason})
    assert console.export_text().count(reason) == 3


def test_what_a_backend_cannot_train_is_refused_before_anything_runs(place: Place) -> None:
    place.write("test", TEXT.replace("steps: 8", "steps: 8, top_p: 0.9"))
    code, _, error = place.run()
    assert code == 2
    assert "backend 'steady' cannot train this: it cannot do top_p" in error
    assert not place.root.exists()


def test_a_changed_setting_runs_only_what_it_changes(place: Place) -> None:
    assert place.run()[0] == 0
    changed = TEXT.replace("same: {{method: mm_upt}}", "same: {{method: mm_upt, group_size: 12}}")
    place.write("test", changed)
    code, _, _ = place.run()
    assert code == 0
    assert len(place.lines("end")) == 4
    assert place.weights("vote-s0") != place.weights("same-s0")


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        OSError(errno.EDQUOT, "Disk quota exceeded"),
        RuntimeError(
            "[enforce fail at inline_container.cc:672] . PytorchStreamWriter failed writing file"
        ),
        RuntimeError("SafetensorError: I/O error: No space left on device (os error 28)"),
    ],
)
def test_a_full_disk_is_called_one_whoever_met_it(error: Exception) -> None:
    wrapped = RuntimeError("the checkpoint could not be written")
    wrapped.__cause__ = error
    assert trial.reason(wrapped, "train").startswith("train: the disk is full")
