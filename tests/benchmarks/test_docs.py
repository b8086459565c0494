"""The benchmarks and the scorer that the docs show run as they stand, and keep the contracts."""

from __future__ import annotations

import importlib
import json
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from PIL import Image

from benchmarks import registry
from benchmarks.base import DataError
from benchmarks.plugins import Extension
from benchmarks.testing.contracts import BenchmarkContract, ScorerContract

PAGE = Path(__file__).parents[2] / "docs" / "add_a_benchmark.md"
CLOCKS, MINUTES, SUITE, LAST_WORD = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.S)


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The modules of the page as a package would hold them, and data for them."""
    folder = tmp_path_factory.mktemp("clocks")
    (folder / "clocks.py").write_text(CLOCKS)
    (folder / "minutes.py").write_text(MINUTES)
    (folder / "last_word.py").write_text(LAST_WORD)
    data = folder / "data"
    data.mkdir()
    Image.new("RGB", (28, 28)).save(data / "dial.png")
    rows: list[dict[str, Any]] = [
        {"question": "Which hour?", "answer": 7, "image": "dial.png", "kind": "dial"},
        {"question": "Is <image> before <image>?", "options": ["yes", "no"], "answer": "B"},
        {"question": "What is half of 15?", "answer": "7.5", "kind": "words", "cluster": "c"},
    ]
    rows[1]["images"] = ["dial.png", "dial.png"]
    (data / "test.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (data / "dev.jsonl").write_text(json.dumps(rows[0]))
    (data / "minutes.csv").write_text("file,text,minute\na,Which minute?,35\nb,And now?,5\n")
    sys.path.insert(0, str(folder))
    yield folder
    sys.path.remove(str(folder))


def module(name: str) -> ModuleType:
    return importlib.import_module(name)


def test_the_smallest_benchmark_is_small() -> None:
    assert len(CLOCKS.splitlines()) <= 60
    assert len(MINUTES.splitlines()) <= 60


class TestBenchmarks(BenchmarkContract):
    @pytest.fixture(autouse=True, params=["Clocks", "Minutes"])
    def made(self, request: pytest.FixtureRequest, shown: Path) -> None:
        self.benchmark = getattr(module(request.param.lower()), request.param)()
        self.source = shown / "data"


class TestScorers(ScorerContract):
    @pytest.fixture(autouse=True, params=["Clocks", "Minutes", "LastWord"])
    def made(
        self, request: pytest.FixtureRequest, shown: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("benchmarks.plugins.offered", lambda: OFFERED)
        if request.param == "Minutes":
            one = module("minutes").Minutes()
        else:
            one = module("clocks").Clocks()
        name = "last_word" if request.param == "LastWord" else None
        self.scorer = registry.scorer(one, name)
        self.items = one.load(shown / "data")


OFFERED = (
    Extension("scorer", "broken", "no_such_module:Scorer", "broken 1.0"),
    Extension("scorer", "last_word", "last_word:LastWord", "clocks 1.0"),
)


def test_what_the_page_says_of_the_rows(shown: Path) -> None:
    one, data = module("clocks").Clocks(), shown / "data"
    seven, before, half = one.load(data)
    assert [len(item.images) for item in (seven, before, half)] == [1, 2, 0]
    assert before.question == "Is <image> before <image>?\n(A) yes\n(B) no"
    assert (seven.cluster, half.cluster) == ("", "c")
    assert [item.id for item in one.load(data, "dev")] == ["0"]
    scorer = one.scorer()
    assert scorer.score(seven, "It is 7 o'clock, so the answer is 7.").correct
    assert scorer.score(before, "No: the answer is (B).").correct
    assert not scorer.score(before, "Yes: the answer is (A).").correct
    assert scorer.score(half, r"\boxed{\frac{15}{2}}").correct
    verdicts = [scorer.score(item, "7") for item in (seven, before, half)]
    assert {v.metric: v.mean for v in one.values([seven, before, half], verdicts)} == {
        "clocks/accuracy": 1 / 3,
        "clocks/kind/dial": 1.0,
        "clocks/kind/words": 0.0,
    }
    minutes = module("minutes").Minutes()
    item = minutes.load(data)[0]
    assert [minutes.match(item, f"The answer is {n}.").correct for n in (30, 40, 41)] == [
        True,
        True,
        False,
    ]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (
            {"question": "<image>?", "images": ["dial.png"] * 2, "answer": 1},
            "text has 1 <image> for 2",
        ),
        ({"question": "?", "options": ["a"], "answer": "C"}, "line 1: answer 'C' is the letter of"),
        ({"question": "?", "image": "no.png", "answer": 1}, "line 1: picture .*no.png does not"),
        ({"question": "?"}, "line 1: not a row of clocks .*no field 'answer'"),
    ],
)
def test_what_is_wrong_in_a_row_is_named(
    shown: Path, tmp_path: Path, row: dict[str, Any], message: str
) -> None:
    Image.new("RGB", (28, 28)).save(tmp_path / "dial.png")
    (tmp_path / "test.jsonl").write_text(json.dumps(row))
    with pytest.raises(DataError, match=message):
        module("clocks").Clocks().load(tmp_path)


def test_a_packages_scorer_judges_what_it_says(
    shown: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("benchmarks.plugins.offered", lambda: OFFERED)
    vista, wemath = registry.benchmark("mathvista"), registry.benchmark("wemath")
    assert registry.scorer(vista, "last_word").id == "mathvista/last_word@1"
    assert "last_word" in registry.scorers(vista)
    assert registry.scorers(wemath) == wemath.scorers
    with pytest.raises(KeyError, match="judges mathvista, clocks, not wemath"):
        registry.scorer(wemath, "last_word")
    with pytest.raises(KeyError, match="did you mean 'last_word'"):
        registry.scorer(vista, "last_wrod")
    with pytest.raises(KeyError, match=r"'broken' of broken 1\.0 cannot be loaded"):
        registry.scorer(vista, "broken")


def test_the_suite_of_the_page_passes_as_it_stands(shown: Path) -> None:
    (shown / "test_clocks.py").write_text(SUITE)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_clocks.py"]
    done = subprocess.run(command, cwd=shown, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "passed" in done.stdout
