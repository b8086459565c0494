"""The contract tests that are shipped pass what keeps the contract and tell what breaks it."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from backends.base.resources import Resources
from harness.results.reading import load_trial, read_object
from harness.results.trackers.base import TrackingError
from harness.run.executors.local import LocalExecutor
from harness.run.job import Job
from harness.store.files import write_json
from harness.testing.executors import ExecutorContract
from harness.testing.trackers import TrackerContract


class Ledger:
    """A tracker in small: what is mirrored is a file, and a dead server a missing folder."""

    def __init__(self, run_folder: Path, root: Path, place: Path | None = None) -> None:
        self.folder, self.root = run_folder, root
        self.file = (place or root) / "ledger.json"

    def start(self) -> None:
        if not self.file.parent.is_dir():
            raise TrackingError(f"{self.file.parent} is not there")

    def update(self, trial_id: str) -> None:
        plan = read_object(self.folder / "plan.json")
        planned = next(trial for trial in plan["trials"] if trial["id"] == trial_id)
        trial = load_trial(self.folder, self.root, planned)
        if trial.status and self.file.parent.is_dir():
            self.write(trial_id, [trial.state, trial.metrics, trial.curve()])

    def write(self, name: str, row: list[Any]) -> None:
        write_json(self.file, read_object(self.file) | {name: row})

    def finish(self) -> None:
        for trial in read_object(self.folder / "plan.json")["trials"]:
            self.update(trial["id"])

    def sync(self) -> None:
        self.start()
        self.finish()


class TestLedger(TrackerContract):
    tracker: type[Ledger] = Ledger

    def make(self, run_folder: Path, root: Path) -> Ledger:
        return self.tracker(run_folder, root)

    def make_dead(self, run_folder: Path, root: Path) -> Ledger:
        return self.tracker(run_folder, root, root / "gone")

    def mirrored(self, run_folder: Path, root: Path) -> dict[str, Any]:
        return read_object(root / "ledger.json")


class Doubling(Ledger):
    """Adds what it is told to what it was told before."""

    def write(self, name: str, row: list[Any]) -> None:
        write_json(self.file, read_object(self.file) | {name: [self.read(name), row]})

    def read(self, name: str) -> Any:
        return read_object(self.file).get(name)


class Raising(Ledger):
    """Minds that its server is gone."""

    def update(self, trial_id: str) -> None:
        self.start()
        super().update(trial_id)


def test_a_tracker_that_doubles_or_raises_breaks_the_contract(tmp_path: Path) -> None:
    contract = TestLedger()
    contract.tracker = Doubling
    with pytest.raises(AssertionError):
        contract.test_updates_in_any_order_and_twice_come_to_the_same(tmp_path / "order")
    with pytest.raises(AssertionError):
        contract.test_a_run_that_goes_on_is_completed_and_not_doubled(tmp_path / "goes-on")
    contract.tracker = Raising
    with pytest.raises(TrackingError):
        contract.test_a_server_that_dies_does_not_stop_a_run(tmp_path / "dies")


class Leaving(LocalExecutor):
    """Ends a trial's process, and not what that has started."""

    def cancel(self, jobs: Sequence[Job]) -> None:
        for job in jobs:
            os.kill(int(job.id.partition("@")[0]), signal.SIGKILL)
            self._running[job.id].process.wait()


def test_an_executor_that_leaves_processes_behind_breaks_the_contract(tmp_path: Path) -> None:
    made: list[Leaving] = []

    class Contract(ExecutorContract):
        def make(self, resources: Resources, workers: int) -> Leaving:
            made.append(Leaving(resources, workers))
            return made[-1]

    try:
        with pytest.raises(AssertionError, match="is still there"):
            Contract().test_cancel_ends_a_trial_and_all_that_it_started(tmp_path)
    finally:
        for executor in made:
            for job in list(executor._running):
                os.killpg(int(job.partition("@")[0]), signal.SIGKILL)
