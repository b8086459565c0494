"""Figures over samples against their definitions, by enumeration."""

from __future__ import annotations

from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.aggregate import accuracies, by_item, maj_at_k, pass_at_k, sampled_values, slug
from benchmarks.base import DataError, Item, Verdict
from benchmarks.registry import BENCHMARKS, benchmark


@given(st.integers(1, 9), st.data())
def test_pass_at_k_is_the_share_of_subsets_with_a_right_sample(n, data) -> None:
    c, k = data.draw(st.integers(0, n)), data.draw(st.integers(1, n))
    right = [i < c for i in range(n)]
    subsets = [any(s) for s in combinations(right, k)]
    assert pass_at_k(n, c, k) == pytest.approx(sum(subsets) / len(subsets), abs=1e-12)


@pytest.mark.parametrize(("n", "c", "k"), [(4, 1, 5), (4, 5, 1), (4, -1, 1), (4, 1, 0)])
def test_pass_at_k_refuses_what_it_cannot_mean(n, c, k) -> None:
    with pytest.raises(ValueError, match="pass@k needs"):
        pass_at_k(n, c, k)


def test_maj_at_k_votes_over_runs_of_k() -> None:
    assert maj_at_k([0, 1, 1], [False, True, True], 3) == 1.0
    assert maj_at_k([0, 1, 1, 0], [True, False, False, True], 4) == 1.0  # a tie: first seen
    assert maj_at_k([None, None, 0], [False, False, True], 3) == 1.0  # no answer never wins
    assert maj_at_k([None, None], [False, False], 2) == 0.0
    assert (
        maj_at_k([0, 0, 1, 1, 0], [True, True, False, False, True], 2) == 0.5
    )  # the fifth is over
    with pytest.raises(ValueError, match="maj@k needs"):
        maj_at_k([0], [True], 2)


ITEMS = [Item("a", "q", "1", cluster="x"), Item("b", "q", "2", cluster="x"), Item("c", "q", "3")]


def test_sampled_values() -> None:
    answers = {"a": ["1", "1.0", "5", None], "b": ["2", "9", "9", "9"], "c": [None] * 4}
    verdicts = [
        Verdict(i.id, a is not None and float(a) == float(i.answer), a, sample=s)
        for s in range(4)
        for i in ITEMS
        for a in [answers[i.id][s]]
    ]
    values = sampled_values(benchmark("mathverse"), ITEMS, reversed(verdicts))
    assert {v.metric: v.values for v in values} == {
        "mathverse/pass_at_1": (0.5, 0.25, 0.0),
        "mathverse/pass_at_4": (1.0, 1.0, 0.0),
        "mathverse/maj_at_4": (1.0, 0.0, 0.0),
    }
    assert {(v.units, v.clusters) for v in values} == {(("a", "b", "c"), ("x", "x", "c"))}
    with pytest.raises(DataError, match="same number of samples"):
        sampled_values(benchmark("mathverse"), ITEMS, verdicts[:-1])
    with pytest.raises(DataError, match=r"k must lie in 1\.\.4"):
        sampled_values(benchmark("mathverse"), ITEMS, verdicts, [8])


def test_every_item_has_one_verdict() -> None:
    verdicts = [Verdict(i.id, True) for i in ITEMS]
    with pytest.raises(DataError, match="1 of 3 items have no verdict: c"):
        by_item(ITEMS, verdicts[:-1])
    with pytest.raises(DataError, match="two verdicts on item 'a'"):
        by_item(ITEMS, [*verdicts, verdicts[0]])
    with pytest.raises(DataError, match="none of the 3 items"):
        by_item(ITEMS, [*verdicts, Verdict("d", True)])


def test_accuracy_by_facet() -> None:
    verdicts = [Verdict(i.id, i.id != "b") for i in ITEMS]
    values = accuracies("m", ITEMS, verdicts, lambda i: [("Group", i.cluster or "None +")])
    assert {v.metric: (v.units, v.values) for v in values} == {
        "m/accuracy": (("a", "b", "c"), (1.0, 0.0, 1.0)),
        "m/group/x": (("a", "b"), (1.0, 0.0)),
        "m/group/none_plus": (("c",), (1.0,)),
    }


def test_names_are_fit_for_a_tracking_server() -> None:
    assert slug("metric geometry - angle") == "metric_geometry_angle"
    assert slug("GeoQA+") == "geoqa_plus"
    assert slug("∠") == "none"


def test_an_unknown_benchmark_is_named_with_its_nearest() -> None:
    assert [benchmark(name).name for name in BENCHMARKS] == list(BENCHMARKS)
    with pytest.raises(KeyError, match="did you mean 'mathvista'"):
        benchmark("mathvsta")
    with pytest.raises(KeyError, match="did you mean 'official'"):
        benchmark("wemath").scorer("oficial")


@pytest.mark.parametrize("name", BENCHMARKS)
def test_scorers_are_the_ones_announced_and_their_ids_differ(name) -> None:
    one = benchmark(name)
    ids = [one.scorer(scorer).id for scorer in one.scorers]
    assert len(set(ids)) == len(ids)
    assert one.scorer() is one.scorer(one.default_scorer)
    assert tuple(one.make_scorers()) == one.scorers  # type: ignore[attr-defined]
