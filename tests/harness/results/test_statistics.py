"""Intervals against brute-force formulas, a bootstrap, and their coverage of a known truth."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.results import statistics as stats


def miller(x: np.ndarray, clusters: np.ndarray) -> float:
    """The clustered standard error as written: cross terms of units in one cluster, one by one."""
    n, mean = len(x), x.mean()
    total = sum((v - mean) ** 2 for v in x)
    for i, j in itertools.permutations(range(n), 2):
        if clusters[i] == clusters[j]:
            total += (x[i] - mean) * (x[j] - mean)
    return float(np.sqrt(total) / n)


def test_one_seed_is_the_clustered_standard_error() -> None:
    draw = np.random.default_rng(0)
    clusters = draw.integers(0, 12, 40)
    x = draw.random(40)
    count = len(set(clusters))
    found = stats.interval(x, clusters)
    assert found.se == pytest.approx(miller(x, clusters) * (count / (count - 1)) ** 0.5)
    assert found.sd is None
    assert found.df == count - 1


def test_singleton_clusters_are_the_central_limit_theorem() -> None:
    x = np.random.default_rng(1).random(50)
    found = stats.interval(x, range(50))
    assert found.se == pytest.approx(x.std(ddof=1) / 50**0.5)


def test_questions_in_one_cluster_widen_the_interval() -> None:
    x = np.repeat(np.random.default_rng(2).integers(0, 2, 60), 5).astype(float)
    alone = stats.interval(x, range(300)).se
    together = stats.interval(x, np.arange(300) // 5).se
    assert together == pytest.approx(alone * 5**0.5, rel=0.02)


def test_seeds_that_only_shift_have_the_spread_of_their_means() -> None:
    """No question noise: the interval is the t interval of the seeds' means."""
    shifts = np.array([0.1, 0.2, 0.6])
    found = stats.interval(np.tile(shifts[:, None], (1, 30)), range(30))
    assert found.sd == pytest.approx(shifts.std(ddof=1))
    assert found.se == pytest.approx(shifts.std(ddof=1) / 3**0.5)
    assert found.df == pytest.approx(2)
    assert found.high - found.mean == pytest.approx(4.302653 * found.se, rel=1e-5)


def test_the_same_answers_for_every_seed_are_question_noise_alone() -> None:
    x = np.random.default_rng(3).random(80)
    one = stats.interval(x, range(80))
    three = stats.interval(np.stack([x, x, x]), range(80))
    assert three.se == pytest.approx(one.se)
    assert three.df == pytest.approx(one.df)
    assert three.sd == pytest.approx(0)


def simulate(draw: np.random.Generator, seeds: int, spread: float) -> tuple[np.ndarray, np.ndarray]:
    clusters = np.repeat(np.arange(80), draw.integers(1, 4, 80))
    x = 0.05 + draw.normal(0, spread, (seeds, 1)) + draw.normal(0, 0.2, 80)[clusters]
    x = x + draw.normal(0, 0.2, (seeds, 80))[:, clusters]
    return x + draw.normal(0, 0.3, (seeds, len(clusters))), clusters


def bootstrap(
    draw: np.random.Generator, x: np.ndarray, clusters: np.ndarray, rounds: int
) -> np.ndarray:
    """Means over resampled seeds and resampled clusters, the plain way."""
    members = [np.flatnonzero(clusters == c) for c in np.unique(clusters)]
    means = []
    for _ in range(rounds):
        rows = draw.integers(0, len(x), len(x))
        units = np.concatenate([members[i] for i in draw.integers(0, len(members), len(members))])
        means.append(x[np.ix_(rows, units)].mean())
    return np.array(means)


def test_many_seeds_agree_with_a_bootstrap() -> None:
    """With seeds enough for a bootstrap to work, both give one standard error."""
    draw = np.random.default_rng(4)
    x, clusters = simulate(draw, 40, 0.15)
    resampled = bootstrap(draw, x, clusters, 1500)
    assert stats.interval(x, clusters).se == pytest.approx(resampled.std(), rel=0.1)


@pytest.mark.parametrize("spread", [0.0, 0.05, 0.2])
def test_intervals_of_three_seeds_cover_the_truth(spread: float) -> None:
    """Between 91 and 97 in 100 in longer simulations, however much the seeds disagree."""
    draw = np.random.default_rng(5)
    found = [stats.interval(*simulate(draw, 3, spread)) for _ in range(600)]
    covered = np.mean([i.low <= 0.05 <= i.high for i in found])
    assert 0.90 <= covered <= 0.99


def test_a_bootstrap_of_three_seeds_would_not() -> None:
    """Why no bootstrap: where seeds disagree its percentiles miss the truth too often."""
    draw = np.random.default_rng(6)
    hits = []
    for _ in range(120):
        x, clusters = simulate(draw, 3, 0.2)
        low, high = np.percentile(bootstrap(draw, x, clusters, 200), [2.5, 97.5])
        hits.append(low <= 0.05 <= high)
    assert np.mean(hits) < 0.86


def test_p_agrees_with_the_interval() -> None:
    draw = np.random.default_rng(7)
    for _ in range(50):
        x, clusters = simulate(draw, 3, 0.05)
        found = stats.interval(x, clusters)
        assert (found.p < 0.05) == (found.low > 0 or found.high < 0)


def test_no_difference_at_all_is_not_significant() -> None:
    found = stats.interval(np.zeros((3, 20)), range(20))
    assert (found.p, found.low, found.high) == (1.0, 0.0, 0.0)


@pytest.mark.parametrize(
    ("values", "clusters", "message"),
    [
        (np.ones((2, 3)), [1, 2], "as many clusters"),
        (np.array([1.0, np.nan]), [1, 2], "finite"),
        (np.array([1.0, 0.0]), [1, 1], "two clusters"),
    ],
)
def test_impossible_input_is_refused(values: np.ndarray, clusters: list[int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        stats.interval(values, clusters)


def test_holm_by_hand() -> None:
    # 0.01*4, max(0.04, 0.013*3), max(0.04, 0.03*2), max(0.06, 0.04*1)
    assert stats.holm([0.03, 0.01, 0.04, 0.013]) == pytest.approx([0.06, 0.04, 0.06, 0.04])


@given(st.lists(st.floats(0, 1), max_size=8))
def test_holm_lies_between_the_raw_p_and_bonferroni(p: list[float]) -> None:
    adjusted = stats.holm(p)
    for raw, found in zip(p, adjusted, strict=True):
        assert min(raw, 1) <= found <= min(1.0, raw * len(p)) + max(p, default=0)
        assert found <= 1
    order = np.argsort(p, kind="stable")
    assert list(np.array(adjusted)[order]) == sorted(adjusted)


def test_a_standard_error_that_the_units_do_not_give_is_none() -> None:
    assert stats.standard_error([1.0, 0.0], ["a", "b"]) == pytest.approx(0.5)
    assert stats.standard_error([1.0, 0.0], ["a", "a"]) is None
    assert stats.standard_error([1.0, 1.0], ["a", "b"]) is None
    assert (stats.points(0.0123), stats.points(None)) == ("± 1.2", "")
