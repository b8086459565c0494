"""docs/add_a_reward.md is carried out as it is written, from outside the tree."""

from __future__ import annotations

import importlib
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from backends.base.stage import RewardTerm
from backends.rewards import identity, mistakes, score
from backends.testing.rewards import rollout
from benchmarks import plugins

ROOT = Path(__file__).parents[3]
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", (ROOT / "docs" / "add_a_reward.md").read_text(), re.S)
CODE, TEST = (text for kind, text in BLOCKS if kind == "python")
BY_FILE, BY_NAME = (YAML(typ="safe").load(text) for kind, text in BLOCKS if kind == "yaml")
((_, POINTS),) = [block for block in BLOCKS if block[0] == "toml"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The two files of the walk, in a folder that commands are started in."""
    (tmp_path / "brevity.py").write_text(CODE)
    (tmp_path / "test_brevity.py").write_text(TEST)
    monkeypatch.chdir(tmp_path)
    plugins.offered.cache_clear()
    yield tmp_path
    plugins.offered.cache_clear()
    sys.modules.pop("brevity", None)


def install(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The folder as an installed package with the walk's entry point."""
    info = folder / "brevity-1.2.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: brevity\nVersion: 1.2\n")
    header, point = POINTS.strip().splitlines()
    assert header == '[project.entry-points."harness.plugins"]'
    (info / "entry_points.txt").write_text("[harness.plugins]\n" + point.replace('"', "") + "\n")
    monkeypatch.syspath_prepend(str(folder))
    importlib.invalidate_caches()
    plugins.offered.cache_clear()


def scored(rewards: list[dict[str, Any]]) -> Any:
    terms = [RewardTerm.model_validate(term) for term in rewards]
    assert not list(mistakes(terms))
    return score(rollout(["\\boxed{7}", "\\boxed{7}" + " so" * 40, "\\boxed{8}"]), terms)


def test_the_reward_is_used_by_its_file(folder: Path) -> None:
    result = scored(BY_FILE["rewards"])
    assert result.rewards == (1.5, 1.0, 0.5)
    assert result.stats["short"] == pytest.approx(2 / 3)
    assert re.fullmatch(
        r'brevity\.py:Brevity@[0-9a-f]{12}\{"longest": 40\}',
        identity(RewardTerm.model_validate(BY_FILE["rewards"][1])),
    )


def test_the_reward_is_used_by_its_packages_name(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(folder, monkeypatch)
    assert scored(BY_NAME["rewards"]).rewards == (1.5, 1.0, 0.5)
    term = RewardTerm.model_validate(BY_NAME["rewards"][1])
    assert identity(term) == 'brevity@1{"longest": 40}'


def test_its_test_suite_passes(folder: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_brevity.py"],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": f"{folder}{os.pathsep}{ROOT}"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert " passed" in done.stdout
