"""What every executor must do. An executor's own tests subclass :class:`ExecutorContract`."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from backends.base.resources import Resources
from harness.experiment import checks
from harness.plan.planner import make
from harness.run import job as jobs
from harness.run import status, trial
from harness.run.executors.base import Executor
from harness.run.job import Job
from harness.store.files import read_json, write_json
from harness.store.sources.hashes import Hashes
from harness.testing import backends

_EXPERIMENT = """\
name: contract
model: {folder}/model
questions: {folder}/questions.jsonl
backend: {file}:{backend}
arms: {{one: {{method: mm_upt}}}}
"""


class ExecutorContract:
    """Subclass it, give :meth:`make`, and pytest runs the rest.

    Trials train nothing and take about a second of a processor each; ``seconds`` is how long the
    place may take to begin and to end one. Folders are pytest's temporary ones: where trials run on
    other machines, start pytest with ``--basetemp`` on a file system that they share.
    """

    seconds = 120.0

    def make(self, resources: Resources, workers: int) -> Executor:
        """An executor for trials that need these resources."""
        raise NotImplementedError

    def one(self) -> Executor:
        """An executor with room for one trial on a processor."""
        return self.make(Resources(device="cpu"), 1)

    def ended(self, executor: Executor, job: Job) -> int:
        """The exit code of a job, when there is one."""
        until = time.monotonic() + self.seconds
        while (code := executor.poll(job)) is None:
            assert time.monotonic() < until, f"{job} has not ended in {self.seconds} s"
            time.sleep(0.05)
        return code

    def sleeping(self, executor: Executor, folder: Path) -> tuple[Job, Path]:
        """A trial that has begun and does not end, and the file that what it started adds to."""
        job = executor.submit(folder)
        until = time.monotonic() + self.seconds
        while not (pulses := list(folder.parents[2].glob(f"work/*/out/{backends.PULSE}"))):
            assert executor.poll(job) is None, (folder / "log.txt").read_text()
            assert time.monotonic() < until, f"{job} has not begun in {self.seconds} s"
            time.sleep(0.05)
        return job, pulses[0]

    def test_a_trial_runs_to_its_result(self, tmp_path: Path) -> None:
        folder = prepared(tmp_path, "Quick")
        executor = self.one()
        assert self.ended(executor, executor.submit(folder)) == 0
        assert read_json(folder / "result.json")["status"] == "ok"
        assert "trained" in (folder / "log.txt").read_text()

    def test_a_trial_that_fails_gives_its_exit_code_and_says_why(self, tmp_path: Path) -> None:
        folder = prepared(tmp_path, "Failing")
        executor = self.one()
        assert self.ended(executor, executor.submit(folder)) == 1
        state = read_json(folder / status.FILE)
        assert (state["state"], state["reason"]) == ("failed", "train: the loss is not finite")

    def test_a_trial_that_is_killed_is_told_by_the_signal(self, tmp_path: Path) -> None:
        folder = prepared(tmp_path, "Killed")
        executor = self.one()
        assert self.ended(executor, executor.submit(folder)) == -9
        assert not (folder / "result.json").exists()

    def test_cancel_ends_a_trial_and_all_that_it_started(self, tmp_path: Path) -> None:
        executor = self.one()
        job, pulse = self.sleeping(executor, prepared(tmp_path, "Sleeping"))
        executor.cancel([job])
        assert_still(pulse)
        executor.cancel([job])  # over already

    def test_a_job_is_cancelled_by_its_record_alone(self, tmp_path: Path) -> None:
        """As a runner does that is started again after it was killed."""
        first = self.one()
        job, pulse = self.sleeping(first, prepared(tmp_path, "Sleeping"))
        self.one().cancel([Job.model_validate_json(job.model_dump_json())])
        assert_still(pulse)
        assert self.ended(first, job) != 0

    def test_what_a_job_is_at_is_known_from_its_folder(self, tmp_path: Path) -> None:
        executor = self.one()
        folder = prepared(tmp_path, "Sleeping")
        job, _ = self.sleeping(executor, folder)
        jobs.record(folder, job)
        assert jobs.recorded(folder) == job
        assert executor.alive(job) is not False
        assert status.read(folder)["state"] == "running"
        executor.cancel([job])
        assert executor.alive(job) is not True

    def test_room_is_taken_by_a_trial_and_given_back_at_its_end(self, tmp_path: Path) -> None:
        executor = self.one()
        assert executor.workers == 1
        assert executor.has_room
        job = executor.submit(prepared(tmp_path, "Quick"))
        assert not executor.has_room
        self.ended(executor, job)
        assert executor.has_room

    def test_two_runs_give_the_same_results(self, tmp_path: Path) -> None:
        results = []
        for name in ("a", "b"):
            folder = prepared(tmp_path / name, "Quick", model=tmp_path / "model")
            executor = self.one()
            assert self.ended(executor, executor.submit(folder)) == 0
            result = json.loads((folder / "result.json").read_text(), parse_float=lambda _: None)
            [step] = result["steps"]
            weights = folder.parents[2] / step["path"] / "checkpoint" / "weights.txt"
            results.append((result, weights.read_text()))
        assert results[0] == results[1]


def prepared(folder: Path, backend: str, model: Path | None = None) -> Path:
    """A trial's folder, ready to run, by a backend of :mod:`harness.testing.backends`."""
    model = model or folder / "model"
    write_json(model / "config.json", {"model_type": "qwen2_5_vl"})
    for name in ("preprocessor_config.json", "tokenizer.json"):
        write_json(model / name, {})
    (model / "model.safetensors").write_bytes(b"weights")
    rows: list[dict[str, Any]] = [
        {"id": f"q{i}", "question": f"What is {i} + 1?", "answer": str(i + 1)} for i in range(8)
    ]
    lines = [json.dumps(row) + "\n" for row in rows]
    questions = model.parent / "questions.jsonl"
    questions.write_text("".join(lines))
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "contract.yaml"
    text = _EXPERIMENT.format(folder=model.parent, file=backends.__file__, backend=backend)
    file.write_text(text)
    root = folder / "runs"
    experiment, _ = checks.read(file, root)
    plan = make(experiment, Hashes(root))
    [planned] = plan.trials
    place = root / plan.name / "trials" / planned.id
    write_json(place / "spec.json", trial.freeze(plan, planned).model_dump(mode="json"))
    return place


def assert_still(pulse: Path) -> None:
    """Nobody adds to this file any more."""
    before = pulse.stat().st_size
    time.sleep(1.0)
    assert pulse.stat().st_size == before, "what the trial started is still there"
