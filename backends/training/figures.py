"""What a step logs of its groups, over all ranks."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence

from backends.training.ranks import Ranks

#: Figures of groups that are counts of a step, not means over its groups.
COUNTS = frozenset(
    (
        *("zero_variance_groups", "unusable_groups", "unscored", "reward_errors", "ties"),
        *("unlabelled", "replaced_questions", "contrast_kept", "external_dropped"),
    )
)


def group_figures(
    rows: Sequence[tuple[int, Mapping[str, float]]], ranks: Ranks
) -> dict[str, float]:
    """Means, or sums of :data:`COUNTS`, over the groups of all ranks. ``rows`` are the figures of
    this rank's groups with their places: taken in that order, sums round alike for any number of
    ranks."""
    everywhere = sorted(
        (pair for part in ranks.gather(list(rows)) for pair in part), key=lambda pair: pair[0]
    )
    values: dict[str, list[float]] = defaultdict(list)
    for _, figures in everywhere:
        for key, value in figures.items():
            values[key].append(value)
    return {
        key: math.fsum(found) / (1 if key in COUNTS else len(found))
        for key, found in values.items()
    }
