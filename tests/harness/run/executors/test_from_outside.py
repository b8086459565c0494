"""An executor and a tracker of a stranger, one file each, chosen by an experiment."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.commands.run import execute
from harness.experiment import checks
from harness.run import job
from harness.testing.executors import prepared

#: A batch system in small: jobs wait in a queue, one runs at a time, each is known by a number.
EXECUTOR = '''
import subprocess
from harness.run.executors.base import command, surroundings
from harness.run.job import Job

class Queue:
    """Runs trials one after the other."""

    def __init__(self, resources, workers, partition):
        self.workers, self.environment = 9, surroundings(resources) | {"PARTITION": partition}
        self.jobs = {}

    @property
    def has_room(self):
        return True

    def submit(self, folder):
        job = Job(executor=__file__ + ":Queue", id=str(len(self.jobs)))
        self.jobs[job.id] = [folder, None]
        return job

    def poll(self, job):
        for folder, process in self.jobs.values():
            if process is None:
                log = (folder / "log.txt").open("ab")
                started = subprocess.Popen(
                    command(folder), env=self.environment, stdout=log, stderr=log
                )
                log.close()
                next(j for j in self.jobs.values() if j[0] == folder)[1] = started
            if process is None or process.poll() is None:
                break
        process = self.jobs[job.id][1]
        return None if process is None else process.poll()

    def cancel(self, jobs):
        for job in jobs:
            process = self.jobs.pop(job.id)[1]
            if process is not None:
                process.kill()
                process.wait()

    @staticmethod
    def alive(job):
        return None
'''

TRACKER = '''
class Diary:
    """Writes what it is told, and breaks at the first trial."""

    def __init__(self, run_folder, root):
        self.file = run_folder / "diary.txt"

    def say(self, line):
        with self.file.open("a") as file:
            file.write(line + "\\n")

    def start(self):
        self.say("start")

    def update(self, trial_id):
        self.say(trial_id)
        raise ValueError("out of ink")

    def finish(self):
        self.say("finish")

    def sync(self):
        self.say("sync")
'''


def test_they_run_an_experiment_and_cannot_stop_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "queue.py").write_text(EXECUTOR)
    (tmp_path / "diary.py").write_text(TRACKER)
    prepared(tmp_path, "Quick")
    file = tmp_path / "contract.yaml"
    file.write_text(
        file.read_text()
        + f"seeds: [0, 1]\ntracker: {tmp_path}/diary.py:Diary\n"
        + f"executor: {{name: '{tmp_path}/queue.py:Queue', parameters: {{partition: gpu}}}}\n"
    )
    root = tmp_path / "runs"
    spec, text = checks.read(file, root)
    outcome = execute(spec, text, root, None, tracking=True)
    assert outcome.ok == ("one-s0", "one-s1")
    run = root / "contract"
    assert (run / "diary.txt").read_text().split() == ["start", "one-s0", "one-s1", "finish"]
    assert caplog.text.count("out of ink") == 1
    recorded = job.recorded(run / "trials" / "one-s1")
    assert recorded is not None
    assert (recorded.id, recorded.alive()) == ("1", None)
    events = [json.loads(line) for line in (run / "events.jsonl").read_text().splitlines()]
    assert events[0]["workers"] == 9


def test_an_unknown_executor_of_the_command_line_is_refused(tmp_path: Path) -> None:
    from typer.testing import CliRunner

    from harness.cli import app
    from harness.errors import HarnessError

    prepared(tmp_path, "Quick")
    arguments = ["run", str(tmp_path / "contract.yaml"), "--executor", "slrum"]
    done = CliRunner().invoke(app, [*arguments, "--root", str(tmp_path / "other")])
    assert isinstance(done.exception, HarnessError)
    assert str(done.exception) == "--executor: unknown executor 'slrum'. Known: local"
    assert not (tmp_path / "other").exists()
