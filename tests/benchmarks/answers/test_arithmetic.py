"""Plain expressions come to what the parser of all of LaTeX says they come to."""

from __future__ import annotations

import math
import random
from fractions import Fraction

import pytest

from benchmarks.answers import _equivalence, arithmetic
from benchmarks.answers.equality import equivalent


@pytest.mark.parametrize(
    ("latex", "value"),
    [
        (r"\frac{3\sqrt{2}}{4}-2\pi", 3 * math.sqrt(2) / 4 - 2 * math.pi),
        ("-3^2", -9),
        ("2^{-1}", 0.5),
        ("3:2", None),  # a ratio, or a time of day
        (r"2*(1+\sqrt{4})", 6),
        (r"1/2\pi", None),  # (1/2) pi or 1/(2 pi)
        ("2^12", 4096),
        ("10^-3", 0.001),
        (r"2\frac{1}{2}", 2.5),
        ("2 1/2", 2.5),
        (r"2\frac{\sqrt{3}}{2}", None),
        ("3(4)", 12),
        ("3 (4)", None),
        (r"\pi(2)", 2 * math.pi),
        (r"\frac{1}{2}\frac{1}{3}", 1 / 6),
        (r"\sqrt[3]{8}", 2),
        (r"\sqrt[3]{-8}", -2),
        ("4^{3/2}", 8),
        (r"0.\overline{3}", 1 / 3),
        ("0.1(6)", 1 / 6),
        ("1 234.5", 1234.5),
        ("1.5e3", 1500),
        (".5", 0.5),
        ("5!", 120),
        (r"\binom{5}{2}", 10),
        ("10^{20}+1-10^{20}", 1),
        (r"10^{20}+\sqrt{2}-10^{20}", None),  # floating point says 0
        ("1e9999", None),
        ("1000000!", None),
        (r"\binom{1000000}{500000}", None),
        (r"\sqrt[0]{2}", None),
        ("(" * 100 + "1" + ")" * 100, None),
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
    sign = draw.choice(("+", "-", "*", "/", "", r"\times ", r"\cdot "))
    other = expression(draw, depth - 1)
    if not sign and other[0] in "(-":  # which latex2sympy takes for a function or a mixed number
        sign = "*"
    return draw.choice(("", "", "-")) + inner + sign + other


def test_rational_values_are_exact() -> None:
    assert arithmetic.value(r"\frac{1}{3}+\frac{1}{6}") == Fraction(1, 2)
    assert arithmetic.value(r"\frac{1}{2^{98}}") == Fraction(1, 2**98)
    assert arithmetic.value(r"\sqrt{\frac{9}{4}}") == Fraction(3, 2)


def test_a_prefix_ends_where_the_expression_does() -> None:
    for text, value, rest in [
        ("5(units)", 5, "(units)"),
        ("2 cm", 2, " cm"),
        (r"2\pi r", 2 * math.pi, " r"),
        ("3, 4", 3, ", 4"),
    ]:
        found = arithmetic.prefix(text)
        assert found is not None
        assert (float(found[0]), text[found[1] :]) == (pytest.approx(value), rest)


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
