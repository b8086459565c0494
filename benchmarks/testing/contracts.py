"""What every benchmark and every scorer promises, as pytest classes.

A package's suite subclasses them::

    class TestClocks(BenchmarkContract):
        benchmark = Clocks()
        source = Path(__file__).parent / "data"
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from benchmarks.base import Benchmark, DataError, Item, Scorer, Verdict

#: Texts that answer nothing.
EMPTY = ("", " \n\t")
NO_ANSWER = (*EMPTY, "\\boxed{}", "<answer></answer>", "Therefore the answer is \\boxed{ }.")
#: Texts that no scorer may stumble over.
HOSTILE = (
    "\\boxed{" * 500,
    "<answer>" * 500,
    "I cannot see the picture.",
    "\x00\ud800\u202e",
    "$" * 2000,
    "(" * 5000,
    "import os; os.abort()\n" * 20,
)


def repr_of(text: str) -> str:
    """A short name of a text, for pytest."""
    return ascii(text[:24])


class ScorerContract:
    """A scorer judges any text and has an id with a version.

    ``scorer`` and ``items`` are set by the subclass, or by a fixture of it with ``autouse``.
    ``form`` is how a gold is written for the scorer to read it. ``wrong_golds`` are the items whose
    own gold it calls wrong, with the reason; ``credits_empty`` says why a text without an answer is
    credited, where an owner's rule does so.
    """

    scorer: Scorer
    items: list[Item]
    form: str = "{}"
    wrong_golds: Mapping[str, str] = {}
    credits_empty: str = ""

    def test_its_id_has_a_version(self) -> None:
        """Results of two versions must not have one name."""
        name = self.scorer.id.partition("/")[2]
        assert any(c.isdigit() for c in name), f"id {self.scorer.id!r} holds no version"

    def test_golds_are_right(self) -> None:
        """A gold fed back as the response scores 1.0, but for the exceptions that are known."""
        wrong = {
            item.id
            for item in self.items
            if not self.scorer.score(item, self.form.format(item.answer)).correct
        }
        assert not wrong - set(self.wrong_golds)

    @pytest.mark.parametrize("text", [*NO_ANSWER, *HOSTILE], ids=repr_of)
    def test_any_text_is_judged(self, text: str) -> None:
        """Model output is hostile: no text raises."""
        for item in self.items[:20]:
            verdict = self.scorer.score(item, text)
            assert isinstance(verdict, Verdict)
            assert verdict.item == item.id

    @pytest.mark.parametrize("text", NO_ANSWER, ids=repr_of)
    def test_no_answer_is_not_right(self, text: str) -> None:
        """What is not there gets no credit, and an empty response is counted as unparsed."""
        if self.credits_empty:
            pytest.skip(self.credits_empty)
        verdicts = [self.scorer.score(item, text) for item in self.items]
        assert not any(verdict.correct for verdict in verdicts)
        if text in EMPTY:
            assert {verdict.status for verdict in verdicts} == {"unparsed"}

    def test_the_same_text_gets_the_same_verdict(self) -> None:
        """Responses are scored again at any time."""
        for item in self.items[:20]:
            text = self.form.format(item.answer)
            assert self.scorer.score(item, text) == self.scorer.score(item, text)


class BenchmarkContract:
    """A benchmark loads its data, checked, and gives its figures.

    ``benchmark`` and ``source`` (a folder or file of its data) are set by the subclass, or by a
    fixture of it with ``autouse``. ``split``: which one is there; None: the usual one.
    """

    benchmark: Benchmark
    source: Path
    split: str | None = None

    def loaded(self) -> list[Item]:
        return self.benchmark.load(self.source, self.split)

    def test_it_has_names(self) -> None:
        """Its figures begin with its name, its default scorer is one of its own."""
        one = self.benchmark
        assert one.title
        assert one.headline.startswith(f"{one.name}/")
        assert one.default_scorer in one.scorers
        ids = [one.scorer(name).id for name in one.scorers]
        assert len(set(ids)) == len(ids)

    def test_an_unknown_scorer_is_refused_by_name(self) -> None:
        with pytest.raises(KeyError, match="no such scorer"):
            self.benchmark.scorer("no such scorer")

    def test_an_unknown_split_is_refused_by_name(self) -> None:
        """A split that is ignored gives figures of another one."""
        for load in (self.benchmark.load, self.benchmark.load_text):
            with pytest.raises(DataError, match="no such split"):
                load(self.source, "no such split")

    def test_missing_data_is_an_error(self, tmp_path: Path) -> None:
        with pytest.raises(DataError):
            self.benchmark.load(tmp_path / "nothing")

    def test_items_are_unique_and_ask_something(self) -> None:
        items = self.loaded()
        assert items
        assert len({item.id for item in items}) == len(items)
        assert all(item.question.strip() or item.images for item in items)

    def test_loading_twice_gives_equal_items(self) -> None:
        assert self.loaded() == self.loaded()

    def test_without_pictures_the_same_is_asked(self) -> None:
        """Stored responses are scored without the pictures."""
        items, texts = self.loaded(), self.benchmark.load_text(self.source, self.split)
        assert [(i.id, i.question, i.answer) for i in items] == [
            (i.id, i.question, i.answer) for i in texts
        ]

    def test_pictures_decode(self) -> None:
        from benchmarks.data.pictures import read_picture

        for image in {image for item in self.loaded() for image in item.images}:
            assert read_picture(image).mode == "RGB"

    @pytest.mark.parametrize("correct", [True, False])
    def test_figures_are_means_of_values_from_0_to_1(self, correct: bool) -> None:
        """Intervals and paired tests are computed from the values of a figure's units."""
        items = self.loaded()
        verdicts = [Verdict(item.id, correct) for item in items]
        figures = {values.metric: values for values in self.benchmark.values(items, verdicts)}
        assert self.benchmark.headline in figures or self.benchmark.withheld(items)
        for metric, values in figures.items():
            assert metric.startswith(f"{self.benchmark.name}/")
            assert len(values.units) == len(values.clusters) == len(values.values) > 0
            assert all(0 <= value <= 1 for value in values.values)
        if self.benchmark.headline in figures:
            assert figures[self.benchmark.headline].mean == float(correct)

    def test_it_imports_no_torch(self) -> None:
        """Asking and judging need no model: planning stays fast, and judging runs anywhere."""
        module = type(self.benchmark).__module__
        code = f"import sys; sys.path[:0] = {sys.path!r}; import {module}; print(*sys.modules)"
        found = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        )
        assert "torch" not in found.stdout.split()
