"""A folder in which experiments of a backend without torch (``steady.py``) run as processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

from harness.run import status
from tests.harness.examples import model_folder, question_file

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
        self.process: subprocess.Popen[str]
        self.write()

    def write(self, name: str = "test", text: str = TEXT) -> Path:
        file = self.folder / f"{name}.yaml"
        file.write_text(text.format(name=name, folder=self.folder))
        return file

    def start(self, name: str = "test", **environment: str) -> subprocess.Popen[str]:
        self.process = subprocess.Popen(
            [sys.executable, "-c", RUN, str(self.folder / f"{name}.yaml"), str(self.root)],
            env=os.environ | {"STEADY_LOG": str(self.log)} | self.environment | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        return self.process

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
        """However long a busy machine takes, while the run goes on: the time limit of every test is
        the only one."""
        while len(self.lines(word)) < count:
            ended = self.process.poll()
            if ended is not None and len(self.lines(word)) < count:
                out, error = self.process.communicate()
                raise AssertionError(f"the run ended with {ended}: {out}{error}")
            time.sleep(0.02)

    def saved(self) -> list[Path]:
        """What interrupted trainings would go on from."""
        return list(self.root.glob("work/*/out/resume/state.json"))
