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
import subprocess
import sys
import time
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest
from rich.console import Console

from backends.base.resources import Resources
from harness.commands.status import show
from harness.errors import HarnessError
from harness.run import status
from harness.run.display import Lines, LiveTable
from harness.run.executors.local import LocalExecutor, alive
from harness.run.job import Job
from harness.run.runner import Runner
from harness.store.files import write_json
from harness.store.results import Store
from tests.harness.examples import EXAMPLE, model_folder, planned, question_file, read

HERE = Path(__file__).parent

TEXT = """\
name: {name}
model: {folder}/model
questions: {folder}/questions.jsonl
backend: steady
training: {{steps: 8}}
arms:
  vote: {{method: mm_upt}}
  same: {{method: mm_upt}}
seeds: [0, 1]
workers: 2
"""
IDS = [f"{arm}-s{seed}" for arm in ("vote", "same") for seed in (0, 1)]

#: `harness run` without the report, which is tested on its own. A shell starts what it puts in the
#: background with interrupts ignored, and a test run may be there.
RUN = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
from pathlib import Path
import typer
from harness.commands.run import execute
from harness.errors import HarnessError
from harness.experiment import checks
try:
    spec, text = checks.read(Path(sys.argv[1]), Path(sys.argv[2]))
    outcome = execute(spec, text, Path(sys.argv[2]), None, tracking=False)
except typer.Exit as left:
    sys.exit(left.exit_code)
except HarnessError as error:
    print(error, file=sys.stderr)
    sys.exit(2)
heavy = [m for m in ("torch", "mlflow", "optuna", "transformers") if m in sys.modules]
print("loaded", heavy)
sys.exit(1 if outcome.failed else 0)
"""


class Place:
    """A folder with a model, questions and a plug-in, in which experiments run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.root = folder / "runs"
        self.log = folder / "log.txt"
        model_folder(folder / "model")
        question_file(folder)
        self.environment: dict[str, str] = {}
        self.write()

    def write(self, name: str = "test", text: str = TEXT) -> Path:
        file = self.folder / f"{name}.yaml"
        file.write_text(text.format(name=name, folder=self.folder))
        return file

    def start(self, name: str = "test", **environment: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-c", RUN, str(self.folder / f"{name}.yaml"), str(self.root)],
            env=os.environ | {"STEADY_LOG": str(self.log)} | self.environment | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def run(self, name: str = "test", **environment: str) -> tuple[int, str, str]:
        process = self.start(name, **environment)
        out, error = process.communicate()
        return process.returncode, out, error

    def trial(self, name: str, run: str = "test") -> Path:
        return self.root / run / "trials" / name

    def state(self, name: str, run: str = "test") -> dict[str, object]:
        return status.read(self.trial(name, run))

    def result(self, name: str, run: str = "test") -> dict[str, object]:
        result: dict[str, object] = json.loads((self.trial(name, run) / "result.json").read_text())
        return result

    def weights(self, name: str, run: str = "test") -> str:
        [step] = self.result(name, run)["steps"]  # type: ignore[misc]
        return (self.root / step["path"] / "checkpoint" / "weights.txt").read_text()

    def lines(self, word: str) -> list[str]:
        text = self.log.read_text() if self.log.exists() else ""
        return [line for line in text.splitlines() if line.startswith(word)]

    def wait_for(self, word: str, count: int = 1) -> None:
        """However long a busy machine takes: the time limit of every test is the only one."""
        while len(self.lines(word)) < count:
            time.sleep(0.02)

    def saved(self) -> list[Path]:
        """What interrupted trainings would go on from."""
        return list(self.root.glob("work/*/out/resume/state.json"))


@pytest.fixture(scope="session")
def plugin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An installed distribution that offers the backend, as a third party would ship it."""
    site = tmp_path_factory.mktemp("site")
    (site / "steady_backend.py").write_text((HERE.parent / "steady.py").read_text())
    info = site / "steady_backend-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: steady-backend\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[harness.plugins]\nbackend.steady = steady_backend:Steady\n"
    )
    return site


@pytest.fixture
def place(tmp_path: Path, plugin: Path) -> Place:
    here = Place(tmp_path)
    here.environment = {"PYTHONPATH": str(plugin), "CUDA_VISIBLE_DEVICES": ""}
    return here


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
    write_json(trials.parent / "plan.json", {"trials": [{"id": "vote-s0", "steps": []}]})
    write_json(trials / "vote-s0" / status.FILE, {"state": "failed", "reason": reason})
    console = Console(width=200, record=True, file=io.StringIO())
    show(trials.parent, console)
    one = planned(EXAMPLE.format(model=model_folder(tmp_path / "model")), tmp_path).trials[0]
    for shown in (LiveTable(console), Lines(console)):
        shown.changed(one, {"state": "failed", "reason": reason})
    assert console.export_text().count(reason) == 3


def nvidia_smi(folder: Path) -> Path:
    """A folder with the nvidia-smi of a machine with four GPUs."""
    tools = folder / "bin"
    tools.mkdir()
    rows = "".join(f"echo '{i}, NVIDIA H200, 143771 MiB, GPU-{i}a-{i}b'\n" for i in range(4))
    (tools / "nvidia-smi").write_text(f"#!/bin/sh\n{rows}")
    (tools / "nvidia-smi").chmod(0o755)
    return tools


@pytest.mark.parametrize(
    ("visible", "free"),
    [
        ("GPU-3a,GPU-1a-1b", ["GPU-3a", "GPU-1a-1b"]),
        ("MIG-7-8, MIG-9-0", ["MIG-7-8", "MIG-9-0"]),
        ("2,0", ["2", "0"]),
        ("", [""]),
    ],
)
def test_gpus_are_handed_out_as_the_surroundings_name_them(
    visible: str, free: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", f"{nvidia_smi(tmp_path)}:{os.environ['PATH']}")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    executor = LocalExecutor(Resources(), workers=len(free))
    assert executor._free == free


def test_too_few_gpus_are_an_error_and_not_the_cpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", f"{nvidia_smi(tmp_path)}:{os.environ['PATH']}")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-0a,GPU-1a")
    with pytest.raises(HarnessError, match=r"4 GPU.* offers 2"):
        LocalExecutor(Resources(processes=4))
    assert LocalExecutor(Resources(processes=4, device="cpu"), workers=1)._free == [""]


def test_gpus_are_handed_out_and_never_shared(place: Place, tmp_path: Path) -> None:
    """A machine with four GPUs by its nvidia-smi; two for each trial."""
    tools = nvidia_smi(tmp_path)
    text = TEXT.replace("workers: 2", "resources: {{processes: 2}}")
    place.write("test", text.replace("seeds: [0, 1]", "seeds: [0, 1, 2]"))
    place.environment["PATH"] = f"{tools}:{os.environ['PATH']}"
    place.environment["CUDA_VISIBLE_DEVICES"] = "0,1,2,3"
    code, out, error = place.run(STEADY_SECONDS="0.1")
    assert code == 0, out + error
    assert "2 at a time" in out
    held: set[str] = set()
    for line in place.log.read_text().splitlines():
        what, _, _, gpus = line.split()
        if what == "begin":
            assert gpus not in held
            held.add(gpus)
            assert gpus in ("0,1", "2,3")
        else:
            held.remove(gpus)


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
