"""Plain expressions come to what the parser of all of LaTeX says they come to."""

from __future__ import annotations

import math
import random

import pytest

from benchmarks.answers import _equivalence, arithmetic
from benchmarks.answers.equality import equivalent


@pytest.mark.parametrize(
    ("latex", "value"),
    [
        (r"\frac{3\sqrt{2}}{4}-2\pi", 3 * math.sqrt(2) / 4 - 2 * math.pi),
        ("-3^2", -9),
        ("2^{-1}", 0.5),
        ("3:2", 1.5),
        (r"2*(1+\sqrt{4})", 6),
        (r"1/2\pi", None),  # (1/2) pi or 1/(2 pi)
        ("2^12", None),
        (r"2\frac{1}{2}", None),
        ("3(4)", None),
        (r"\pi(2)", None),
        ("10^{20}+1-10^{20}", None),  # floating point says 0
        (r"\sqrt{-1}", None),
        ("1/0", None),
        ("9^{9^{9}}", None),
        ("99999^{99999}", None),
        ("x+1", None),
        ("(1,2)", None),
        ("2)", None),
        ("(2", None),
        ("٣+1", None),
        ("", None),
    ],
)
def test_values(latex: str, value: float | None) -> None:
    found = arithmetic.value(latex)
    assert found == (None if value is None else pytest.approx(value))


def expression(draw: random.Random, depth: int) -> str:
    kind = draw.random()
    if depth == 0 or kind < 0.25:
        return draw.choice((str(draw.randrange(1000)), f"{draw.random() * 20:.2f}", r"\pi"))
    inner = expression(draw, depth - 1)
    if kind < 0.35:
        return rf"\sqrt{{{inner}}}"
    if kind < 0.5:
        return rf"\frac{{{inner}}}{{{expression(draw, depth - 1)}}}"
    if kind < 0.6:
        return f"({inner})"
    if kind < 0.66:
        return f"{draw.randrange(100)}^{draw.choice(('2', '{-1}', '{3}', '{1.5}'))}"
    sign = draw.choice(("+", "-", "*", "/", ":", "", r"\times ", r"\cdot "))
    return draw.choice(("", "", "-")) + inner + sign + expression(draw, depth - 1)


def test_where_there_is_a_value_it_is_that_of_latex() -> None:
    draw = random.Random(0)
    texts = {expression(draw, draw.randrange(1, 4)) for _ in range(500)}
    known = {text: value for text in texts if (value := arithmetic.value(text)) is not None}
    assert len(known) > 300
    for text, value in known.items():
        assert _equivalence.value(text) == pytest.approx(value, rel=1e-9, abs=1e-9), text


def test_a_plain_difference_asks_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    def child(*question: str) -> None:
        raise AssertionError(f"asked about {question}")

    monkeypatch.setattr(_equivalence, "same", child)
    monkeypatch.setattr(_equivalence, "value", child)
    for a, b in [(r"17\sqrt{3}", r"17\sqrt{2}"), (r"8\pi+1", "26"), ("(31, 5)", r"\frac{31}{5}")]:
        assert not equivalent(a, b)
