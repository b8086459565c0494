"""Ours keep the contracts that are shipped, and a contract fails on what breaks it."""

from __future__ import annotations

import sys
from functools import cache
from pathlib import Path

import pytest

from benchmarks import tiny
from benchmarks.base import Benchmark, DataError, Item, Scorer, Verdict
from benchmarks.official.golds import forms, gold_exceptions
from benchmarks.registry import BENCHMARKS, benchmark
from benchmarks.saved.published import read
from benchmarks.testing.contracts import BenchmarkContract, ScorerContract

sys.path.insert(0, str(Path(__file__).parents[1]))
import owners_files as made

SHARED = Path(__file__).parents[4] / "shared" / "data"
FOLDERS = {"mathverse_text_only": "mathverse/testmini_text_only.json", "wemath": "wemath"}
CREDITS_EMPTY = "the owners credit an empty extraction with the shortest choice"


@cache
def tiny_items(name: str, folder: Path) -> list[Item]:
    return benchmark(name).load(tiny_data(name, folder))


@cache
def tiny_data(name: str, folder: Path) -> Path:
    """The tiny world's mini benchmark, or rows in the owners' schema where it has none."""
    if name in tiny.BENCHMARKS:
        tiny.write_benchmark(name, folder / name)
    elif name == "mathvision":
        made.write_json(name, made.mathvision(5), folder / name, "test")
    else:
        rows = [row | {"problem_version": "Text Only"} for row in made.mathverse(3)]
        made.write_json("mathverse", rows, folder / name, "testmini_text_only")
    return folder / name


@cache
def published_items(name: str) -> list[Item]:
    """The owners' rows as far as they are at hand, without pictures."""
    if name == "mathvista":
        file = SHARED / "mathvista" / "bard" / "output_bard.json"
        return list((file.is_file() and read(file, benchmark(name)).items) or ())
    if name == "mathvision":
        file = SHARED / "mathvision" / "test.jsonl"
    else:
        file = SHARED / FOLDERS.get(name, "none")
    return benchmark(name).load_text(file) if file.exists() else []


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("contracts")


class TestBenchmarksOnTinyData(BenchmarkContract):
    @pytest.fixture(autouse=True, params=BENCHMARKS)
    def made(self, request: pytest.FixtureRequest, folder: Path) -> None:
        self.benchmark = benchmark(request.param)
        self.source = tiny_data(request.param, folder)


class TestBenchmarksOnTheOwnersFiles(BenchmarkContract):
    @pytest.fixture(autouse=True, params=["wemath", "mathvision"])
    def at_hand(self, request: pytest.FixtureRequest) -> None:
        self.benchmark, self.source = benchmark(request.param), SHARED / request.param
        self.split = "testmini"
        if not self.source.is_dir():
            pytest.skip(f"the owners' files of {request.param} are not at hand")


ALL = [(name, scorer) for name in BENCHMARKS for scorer in benchmark(name).scorers]


class TestScorersOnTinyData(ScorerContract):
    @pytest.fixture(autouse=True, params=ALL, ids=" ".join)
    def made(self, request: pytest.FixtureRequest, folder: Path) -> None:
        name, scorer = request.param
        self.scorer = benchmark(name).scorer(scorer)
        self.form = forms(name, scorer)[0]
        items = tiny_items(name, folder)
        # What MathVista's owners leave to a language model: see benchmarks.official.golds.
        self.items = [i for i in items if i.meta.get("answer_type") != "list"][:60]
        if name == "mathvista" and scorer in ("official", "official-2023"):
            self.credits_empty = CREDITS_EMPTY


class TestScorersOnTheOwnersGolds(ScorerContract):
    @pytest.fixture(autouse=True, params=ALL, ids=" ".join)
    def at_hand(self, request: pytest.FixtureRequest) -> None:
        name, scorer = request.param
        self.items = published_items(name)
        if not self.items:
            pytest.skip(f"the owners' rows of {name} are not at hand")
        self.scorer = benchmark(name).scorer(scorer)
        self.form = forms(name, scorer)[-1]
        self.wrong_golds = gold_exceptions(name, scorer)
        if name == "mathvista" and scorer in ("official", "official-2023"):
            self.credits_empty = CREDITS_EMPTY


class Yes(Scorer):
    """Credits whatever it is told, and has no version."""

    id = "any/yes"

    def score(self, item: Item, response: str) -> Verdict:
        return Verdict(item.id, bool(response.encode()) or True, response, "ok", "yes")


def test_a_scorer_that_breaks_its_contract_is_told(folder: Path) -> None:
    contract = ScorerContract()
    contract.scorer, contract.items = Yes(), [Item("a", "?", "1")]
    with pytest.raises(AssertionError, match="no version"):
        contract.test_its_id_has_a_version()
    with pytest.raises(AssertionError):
        contract.test_no_answer_is_not_right("")
    with pytest.raises(AssertionError):
        contract.test_no_answer_is_not_right("\\boxed{}")
    with pytest.raises(UnicodeEncodeError):
        contract.test_any_text_is_judged("\ud800")


def test_a_benchmark_that_ignores_its_split_is_told(folder: Path) -> None:
    class Deaf(type(benchmark("wemath"))):  # type: ignore[misc]
        def load(self, source: Path | str, split: str | None = None) -> list[Item]:
            return list(super().load(source))

    contract = BenchmarkContract()
    contract.benchmark, contract.source = Deaf(), tiny_data("wemath", folder)
    with pytest.raises(pytest.fail.Exception, match="DID NOT RAISE"):
        contract.test_an_unknown_split_is_refused_by_name()


@pytest.mark.parametrize("name", BENCHMARKS)
def test_the_nearest_split_is_named(name: str) -> None:
    one: Benchmark = benchmark(name)
    with pytest.raises(DataError, match=f"did you mean {one.splits[-1]!r}"):
        one.load("nowhere", one.splits[-1][:-1])
