"""Intervals and paired comparisons of scores, with their two noises kept apart.

A score moves for two reasons: other questions would have been asked (clustered: questions about one
picture rise and fall together), and another training seed would have been drawn. Both are crossed
random factors of the matrix ``values [S, N]`` (seeds by units):

    Var(mean) = V_clusters + V_seeds - V_both

the two-way clustered variance of Cameron, Gelbach and Miller (2011, Journal of Business & Economic
Statistics 29(2), section 2). With one seed it is the clustered standard error of Miller (2024,
arXiv 2411.00640) with the usual small-sample factor C/(C-1). Degrees of freedom follow
Satterthwaite (1946), so three seeds that disagree widen an interval as a t distribution with two
degrees of freedom does. In simulations with three seeds 95 % intervals hold the truth 92 to 97
times in 100 (two seeds: 89 to 97); percentiles of a bootstrap over three seeds, about 80 times
where seeds disagree.

A comparison is the interval of the paired difference, so there is one formula for both.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special

LEVEL = 0.95


class NotComparable(ValueError):
    """Two results that must not be compared; the message says why."""


@dataclass(frozen=True)
class Interval:
    """A mean with its 95 % interval. ``p`` tests mean = 0, which is of use for a difference.

    ``sd`` is the sample standard deviation of the per-seed means (None with one seed); ``se``
    covers questions and seeds, with ``df`` degrees of freedom.
    """

    mean: float
    se: float
    df: float
    low: float
    high: float
    p: float
    sd: float | None
    seeds: int
    units: int
    clusters: int


def interval(values: np.ndarray, clusters: Sequence[object] | np.ndarray) -> Interval:
    """Mean of ``values [S, N]`` (S seeds, N units in ``clusters [N]``) with its interval.

    Units weigh the same. Raises ValueError on shapes that do not fit, on values that are not finite
    and on a single cluster, which says nothing of its own noise.
    """
    x = np.atleast_2d(np.asarray(values, dtype=float))
    seeds, units = x.shape
    if units == 0 or seeds == 0 or len(clusters) != units:
        raise ValueError(f"values {x.shape} need as many clusters as units, got {len(clusters)}")
    if not np.isfinite(x).all():
        raise ValueError("values must be finite")
    names, index = np.unique(np.asarray(clusters).astype(str), return_inverse=True)
    count = len(names)
    if count < 2:
        raise ValueError("an interval needs at least two clusters of units")
    mean = x.mean()

    # error[s, c]: what cluster c under seed s adds to the deviation of the mean, in units of 1/S.
    error = np.zeros((seeds, count))
    np.add.at(error.T, index, (x - mean).T / units)
    by_seed, by_cluster = error.sum(axis=1), error.mean(axis=0)

    small = count / (count - 1)
    v_cluster = small * float(by_cluster @ by_cluster)
    terms = [(v_cluster, count - 1)]
    if seeds > 1:
        v_seed = float(by_seed @ by_seed) / (seeds * (seeds - 1))
        size = np.bincount(index, minlength=count) / units
        rest = error - by_cluster - by_seed[:, None] * size
        v_both = small * float((rest**2).sum()) / (seeds * (seeds - 1))
        terms += [(v_seed, seeds - 1), (v_both, (seeds - 1) * (count - 1))]
        # The difference of estimates can fall below either part; it must not.
        variance = max(v_cluster + v_seed - v_both, v_cluster, v_seed)
    else:
        variance = v_cluster
    spread = sum(v * v / d for v, d in terms if d > 0)
    least = min(d for _, d in terms)  # Satterthwaite's value never lies below its smallest part
    df = max(variance**2 / spread, least) if spread > 0 else float(least)
    se = variance**0.5
    half = float(special.stdtrit(df, 0.5 + LEVEL / 2)) * se if se else 0.0
    p = float(2 * special.stdtr(df, -abs(mean) / se)) if se else float(mean == 0)
    sd = float(x.mean(axis=1).std(ddof=1)) if seeds > 1 else None
    return Interval(float(mean), se, df, mean - half, mean + half, p, sd, seeds, units, count)


def standard_error(values: Sequence[float], clusters: Sequence[object]) -> float | None:
    """The clustered standard error of the mean of ``values`` [N]; None where the units allow none,
    or all are equal, which says nothing of how far the next would be off."""
    try:
        return interval(np.asarray(values), clusters).se or None
    except ValueError:
        return None


def points(se: float | None) -> str:
    """``± 1.2``: a standard error in points; empty where there is none."""
    return "" if se is None else f"± {100 * se:.1f}"


def holm(p: Sequence[float]) -> list[float]:
    """Holm's (1979) step-down adjustment: the family-wise adjusted p-values, in the given order."""
    order = np.argsort(p, kind="stable")
    scaled = np.asarray(p, dtype=float)[order] * np.arange(len(p), 0, -1)
    adjusted = np.minimum(np.maximum.accumulate(scaled), 1.0)
    out = np.empty(len(p))
    out[order] = adjusted
    return [float(v) for v in out]
