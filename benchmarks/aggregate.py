"""From verdicts to figures: accuracy by facet, pass@k and maj@k, each as the values of its
units."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from math import comb

from benchmarks.answers.equality import classes
from benchmarks.base import Benchmark, DataError, Item, Values, Verdict


def slug(text: str) -> str:
    """A text as part of a metric's name: lower case letters, digits and ``_`` only."""
    text = text.lower().replace("+", " plus ").replace("&", " and ")
    return re.sub(r"[^a-z0-9]+", "_", text).strip("_") or "none"


def cluster(item: Item) -> str:
    return item.cluster or item.id


def by_item(items: Sequence[Item], verdicts: Iterable[Verdict]) -> dict[str, Verdict]:
    """The one verdict of each item. Raises :class:`DataError` where one is missing, double or of
    no known item: a mean over what happens to be there is a mean over something else."""
    known = {item.id for item in items}
    found: dict[str, Verdict] = {}
    for verdict in verdicts:
        if verdict.item not in known:
            raise DataError(
                f"a verdict on {verdict.item!r}, which is none of the {len(known)} items."
            )
        if verdict.item in found:
            raise DataError(
                f"two verdicts on item {verdict.item!r}; expected one response an item."
            )
        found[verdict.item] = verdict
    missing = [item.id for item in items if item.id not in found]
    if missing:
        raise DataError(
            f"{len(missing)} of {len(known)} items have no verdict: {_some(missing)}. Generate and "
            "score them, or leave them out of the items."
        )
    return found


def _some(names: Sequence[str], n: int = 5) -> str:
    return ", ".join(names[:n]) + (", ..." if len(names) > n else "")


def accuracies(
    name: str,
    items: Sequence[Item],
    verdicts: Iterable[Verdict],
    facets: Callable[[Item], Iterable[tuple[str, str]]],
) -> list[Values]:
    """``<name>/accuracy``, and ``<name>/<facet>/<value>`` over the items that have that value."""
    found = by_item(items, verdicts)
    members: dict[str, list[Item]] = {f"{name}/accuracy": list(items)}
    for item in items:
        for metric in {f"{name}/{slug(facet)}/{slug(value)}": 0 for facet, value in facets(item)}:
            members.setdefault(metric, []).append(item)
    first, *rest = members
    return [
        Values(
            metric,
            tuple(item.id for item in members[metric]),
            tuple(cluster(item) for item in members[metric]),
            tuple(float(found[item.id].correct) for item in members[metric]),
        )
        for metric in (first, *sorted(rest))
    ]


def pass_at_k(n: int, c: int, k: int) -> float:
    """Probability that one of k of n samples is right, where c are: 1 - C(n-c, k) / C(n, k).

    Unbiased estimate of pass@k; Chen et al., arXiv 2107.03374, equation 1. Raises ValueError
    unless 1 <= k <= n and 0 <= c <= n.
    """
    if not (1 <= k <= n and 0 <= c <= n):
        raise ValueError(f"pass@k needs 1 <= k <= n and 0 <= c <= n, got n={n}, c={c}, k={k}")
    return 1.0 - comb(n - c, k) / comb(n, k)


def maj_at_k(members: Sequence[int | None], correct: Sequence[bool], k: int) -> float:
    """Share of right votes, over the disjoint runs of k samples in their order.

    ``members`` [n] is each sample's class (None: no answer) and ``correct`` [n] its verdict. A vote
    goes to the largest class, of tied ones to the first seen; no answer never wins. It is right if
    the first member of the winning class is. Runs are disjoint, so the mean over them is unbiased.
    Raises ValueError unless 1 <= k <= n.
    """
    n = len(members)
    if not 1 <= k <= n or len(correct) != n:
        raise ValueError(f"maj@k needs 1 <= k <= n, got k={k}, n={n}, {len(correct)} verdicts")
    starts = range(0, n - k + 1, k)
    return sum(_vote(members[i : i + k], correct[i : i + k]) for i in starts) / len(starts)


def _vote(members: Sequence[int | None], correct: Sequence[bool]) -> bool:
    answered = [m for m in members if m is not None]
    if not answered:
        return False
    return correct[members.index(max(answered, key=answered.count))]  # max keeps the first


def _answer(verdict: Verdict) -> str | None:
    """What a response gives to a vote: nothing where no answer was found."""
    return None if verdict.status == "unparsed" else verdict.extracted


def sampled_values(
    benchmark: Benchmark,
    items: Sequence[Item],
    verdicts: Iterable[Verdict],
    ks: Sequence[int] | None = None,
) -> list[Values]:
    """``<name>/pass_at_1`` (mean over samples, also called avg@n), ``pass_at_<k>`` and
    ``maj_at_<k>``.

    ``verdicts`` are those on n sampled responses of each item. Default of ``ks``: n alone. Raises
    :class:`DataError` where items differ in n, or have less than k.
    """
    samples: dict[str, list[Verdict]] = {item.id: [] for item in items}
    for verdict in verdicts:
        if verdict.item not in samples:
            raise DataError(
                f"a verdict on {verdict.item!r}, which is none of the {len(items)} items."
            )
        samples[verdict.item].append(verdict)
    counts = {len(v) for v in samples.values()}
    if len(counts) != 1 or 0 in counts:
        few = min(samples, key=lambda item: len(samples[item]), default="")
        raise DataError(
            f"{benchmark.name}: every item needs the same number of samples, but there are "
            f"{sorted(counts)}; item {few!r} has fewest."
        )
    n = counts.pop()
    ks = sorted({1, *(ks or (n,))})
    if ks[0] < 1 or ks[-1] > n:
        raise DataError(
            f"{benchmark.name}: k must lie in 1..{n}, the samples of an item; got {ks}."
        )
    units = tuple(item.id for item in items)
    clusters = tuple(cluster(item) for item in items)
    columns: dict[str, list[float]] = {}
    for item in items:
        ordered = sorted(samples[item.id], key=lambda v: v.sample)
        if len({v.sample for v in ordered}) < n:
            raise DataError(f"{benchmark.name}: item {item.id!r} has one sample twice.")
        right = [v.correct for v in ordered]
        members = classes([_answer(v) for v in ordered]) if n > 1 else []
        for k in ks:
            columns.setdefault(f"pass_at_{k}", []).append(pass_at_k(n, sum(right), k))
            if k > 1:
                columns.setdefault(f"maj_at_{k}", []).append(maj_at_k(members, right, k))
    return [
        Values(f"{benchmark.name}/{metric}", units, clusters, tuple(values))
        for metric, values in columns.items()
    ]
