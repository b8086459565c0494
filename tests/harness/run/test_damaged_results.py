"""Stored bytes are compared with what was written before anything is made of them."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from harness.plan.planner import Plan
from harness.run import trial
from harness.run.status import Status
from harness.store.files import read_json
from harness.store.results import Store
from tests.harness.examples import planned

TEXT = """\
name: test
model: tiny
questions: tiny/train
training: {steps: 1, questions_per_step: 4, group_size: 2, max_response_tokens: 8, lr: 1e-5}
evaluation: {greedy: true, samples: 0, max_tokens: 8, engine: hf}
benchmarks: [{name: mathvista, data: tiny/mathvista, limit: 4}]
arms:
  base: {method: none}
seeds: [0]
"""


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    return planned(TEXT, tmp_path_factory.mktemp("plan"))


@pytest.fixture(scope="module")
def undisturbed(plan: Plan, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run(plan, tmp_path_factory.mktemp("undisturbed"))


def run(plan: Plan, root: Path) -> Path:
    """The root in which the plan's one trial has run, in this process."""
    (one,) = plan.trials
    folder = root / "test" / "trials" / one.id
    folder.mkdir(parents=True, exist_ok=True)
    trial.run(trial.freeze(plan, one), folder, Status(folder))
    return root


def result(root: Path) -> dict[str, object]:
    (file,) = root.glob("test/trials/*/result.json")
    found = read_json(file)
    return {name: found[name] for name in ("metrics", "scores")}


def flip(folder: Path) -> None:
    """One bit of the largest file: its size stays, and here its time too."""
    file = max((f for f in folder.rglob("*") if f.is_file()), key=lambda f: f.stat().st_size)
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


@pytest.mark.parametrize(("damaged", "gone"), [("generate", "score"), ("score", "")])
def test_a_damaged_result_is_put_aside_named_and_made_again(
    plan: Plan,
    undisturbed: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    damaged: str,
    gone: str,
) -> None:
    """What a step takes, and what the trial tells."""
    root = Path(shutil.copytree(undisturbed, tmp_path / "root"))
    (hurt,) = (root / "store" / damaged).iterdir()
    flip(hurt)
    if gone:
        shutil.rmtree(root / "store" / gone)
    (one,) = plan.trials
    spec, folder = trial.freeze(plan, one), root / "test" / "trials" / one.id
    assert not trial.finished(spec, folder)
    assert not trial.stored(spec, folder)
    run(plan, root)
    assert result(root) == result(undisturbed)
    assert f"{hurt} is damaged" in capsys.readouterr().out
    (aside,) = (root / "work").glob("*-damaged-*")
    assert (aside / "manifest.json").is_file()
    store = Store(root)
    assert not any(store.verify(found) for found in store.results())
    assert trial.finished(spec, folder)
