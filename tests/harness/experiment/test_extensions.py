"""An executor and a tracker are chosen by name, and a wrong name is told with the nearest."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.errors import SpecError
from tests.harness.examples import EXAMPLE, model_folder, read


def experiment(folder: Path, line: str) -> str:
    return EXAMPLE.format(model=model_folder(folder / "model")) + line + "\n"


def test_a_name_stands_for_itself_and_others_take_parameters(tmp_path: Path) -> None:
    line = "executor: local\ntracker: {name: mlflow, parameters: {uri: 'http://localhost:5000'}}"
    made = read(experiment(tmp_path, line), tmp_path)
    assert (made.executor.name, made.executor.parameters) == ("local", {})
    assert made.tracker.parameters == {"uri": "http://localhost:5000"}


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("executor: lokal", r"yaml:\d+: executor: unknown executor 'lokal'; did you mean 'local'"),
        ("tracker: mlfow", r"yaml:\d+: tracker: unknown tracker 'mlfow'; did you mean 'mlflow'"),
        (
            "tracker: {name: mlflow, parameters: {url: x}}",
            r"tracker: unknown parameter of tracker 'mlflow' 'url'; did you mean 'uri'",
        ),
        (
            "executor: {name: local, parameters: {workers: 3}}",
            "unknown parameter of executor 'local' 'workers'. Known: none",
        ),
        ("executor: {nam: local}", r"executor"),
        ("executor: gone.py:Mine", "there is no file gone.py"),
    ],
)
def test_what_is_not_there_is_refused_with_the_nearest_name(
    line: str, said: str, tmp_path: Path
) -> None:
    with pytest.raises(SpecError, match=said):
        read(experiment(tmp_path, line), tmp_path)
    assert not (tmp_path / "runs").exists()
