"""The walk of ``docs/add_a_backend.md``, carried out as a stranger would: a package of two files
outside the tree, installed, named by an experiment, and tested by the contract that is shipped."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

from backends.base.backend import Inputs
from backends.base.resources import Resources
from backends.base.stage import Stage
from backends.models.folders import load_model
from backends.registry import backend
from benchmarks import plugins, tiny
from benchmarks.data.questions import save_questions

PAGE = Path(__file__).resolve().parents[2] / "docs" / "add_a_backend.md"


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The package of the page, installed in a folder of its own."""
    code = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.S)
    for name, text in zip(("my_trainer.py", "my_script.py", "test_it.py"), code, strict=True):
        (tmp_path / name).write_text(text)
    info = tmp_path / "my_trainer-0.1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: my-trainer\nVersion: 0.1\n")
    entry = re.search(r"```toml\n.*?\n\"(.*?)\" = \"(.*?)\"", PAGE.read_text(), re.S)
    assert entry is not None
    (info / "entry_points.txt").write_text(f"[harness.plugins]\n{entry[1]} = {entry[2]}\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    importlib.invalidate_caches()
    plugins.offered.cache_clear()
    yield tmp_path
    plugins.offered.cache_clear()
    sys.modules.pop("my_trainer", None)


def test_it_trains_an_arm_and_refuses_what_it_cannot(package: Path) -> None:
    trainer, resources = backend("my_trainer"), Resources(device="cpu")
    sizes = {"steps": 2, "questions_per_step": 2, "max_response_tokens": 40, "lr": 1e-2}
    stage = Stage.model_validate({"objective": "sft", "rewards": [], **sizes})
    assert trainer.problems(stage, resources) == []
    grpo = Stage.model_validate({"rewards": [{"name": "majority"}], **sizes})
    (problem,) = trainer.problems(grpo, resources)
    assert "not grpo" in problem
    pool = save_questions(list(tiny.questions("train")[:4]), package / "questions")
    workdir = package / "work"
    workdir.mkdir()
    checkpoint = trainer.train(stage, Inputs(tiny.checkpoint(), pool, 0), resources, workdir)
    load_model(checkpoint)
    assert (workdir / "metrics.jsonl").read_text().count("\n") == 2


def test_an_experiment_names_it_and_its_version_is_in_the_key(package: Path) -> None:
    from harness.plan import identities

    assert identities.backend("my_trainer") == "my_trainer@1"


@pytest.mark.slow
def test_its_own_tests_pass(package: Path) -> None:
    """Seven trainings in processes of their own."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(package)],
        cwd=package,
        env={"PYTHONPATH": f"{package}:{PAGE.parents[1]}", "PATH": "", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
