"""Advantages against numpy, and what must be exactly zero."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.deepspeed.advantages import group_advantages

rewards = st.lists(st.floats(-10, 10, width=32), min_size=2, max_size=16)


@given(rewards)
def test_group_norm_is_the_formula(values: list[float]) -> None:
    found = group_advantages(values, "group_norm", 1e-6)
    expected = (np.array(values) - np.mean(values)) / (np.std(values, ddof=1) + 1e-6)
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-8)


@given(rewards)
def test_group_mean_is_the_formula(values: list[float]) -> None:
    found = group_advantages(values, "group_mean")
    np.testing.assert_allclose(found, np.array(values) - np.mean(values), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("kind", ["group_norm", "group_mean"])
@given(value=st.floats(-1e6, 1e6), size=st.integers(2, 16))
def test_a_group_that_agrees_has_exactly_no_advantage(kind: str, value: float, size: int) -> None:
    assert group_advantages([value] * size, kind, 1e-12) == [0.0] * size  # type: ignore[arg-type]


@given(rewards, st.randoms())
def test_permuting_the_group_permutes_the_advantages(values: list[float], random: object) -> None:
    order = list(range(len(values)))
    random.shuffle(order)  # type: ignore[attr-defined]
    before = group_advantages(values)
    assert group_advantages([values[i] for i in order]) == [before[i] for i in order]


@given(rewards)
def test_what_could_not_be_scored_takes_no_part(values: list[float]) -> None:
    found = group_advantages([None, *values, float("nan")])
    assert found == [0.0, *group_advantages(values), 0.0]


def test_one_scored_response_or_none_has_no_advantage() -> None:
    assert group_advantages([None, 1.0, None]) == [0.0] * 3
    assert group_advantages([None, None]) == [0.0] * 2
