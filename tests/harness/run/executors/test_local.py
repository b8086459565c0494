"""The local executor keeps the contract that is shipped for every executor."""

from __future__ import annotations

import os
import socket
import time
from pathlib import Path

import pytest

from backends.base.resources import Resources
from harness.run import job, status
from harness.run.executors.local import LocalExecutor, _identity
from harness.run.job import Job
from harness.store.files import write_json
from harness.testing.executors import ExecutorContract


class TestLocalExecutor(ExecutorContract):
    def make(self, resources: Resources, workers: int) -> LocalExecutor:
        return LocalExecutor(resources, workers)


def test_a_process_whose_number_was_given_again_is_another(tmp_path: Path) -> None:
    """Else a run that ended long ago would be shown as running, or what is not ours be killed."""
    mine = _identity(os.getpid())
    assert "@" in mine, "there is a /proc here"
    host = socket.gethostname()
    assert LocalExecutor.alive(Job(executor="local", id=mine, host=host))
    before = Job(executor="local", id=f"{os.getpid()}@1", host=host)
    assert not LocalExecutor.alive(before)
    LocalExecutor(Resources(device="cpu"), 1).cancel([before])


@pytest.mark.parametrize(
    ("silent", "state", "reason"),
    [(10, "running", ""), (900, "interrupted", "on node7, nothing heard for 15 minutes")],
)
def test_a_trial_of_another_node_counts_as_running_while_it_is_heard_of(
    silent: int, state: str, reason: str, tmp_path: Path
) -> None:
    now = time.time()
    running = {"state": "running", "reason": "", "step": "train", "progress": None}
    write_json(tmp_path / status.FILE, running | {"updated": now - silent, "host": "node7"})
    for executor in ("local", "a-batch-system-that-is-not-installed-here"):
        job.record(tmp_path, Job(executor=executor, id="123", host="node7"))
        seen = status.read(tmp_path)
        assert seen["state"] == state
        assert seen["reason"].startswith(reason)


def test_a_trial_that_waits_in_a_queue_reads_as_queued(tmp_path: Path) -> None:
    assert status.read(tmp_path)["state"] == "pending"
    job.record(tmp_path, Job(executor="a-batch-system-of-another-node", id="123"))
    assert status.read(tmp_path)["state"] == "queued"
    assert "123" in status.read(tmp_path)["reason"]
    job.record(tmp_path, Job(executor="local", id="1@1", host=socket.gethostname()))
    assert status.read(tmp_path)["state"] == "pending"
