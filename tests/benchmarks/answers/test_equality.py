"""One answer is one answer, and no other: the tables of ``docs/answers.md``, row by row."""

from __future__ import annotations

import json
import re
import time
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.answers import _equivalence
from benchmarks.answers.equality import classes, equivalent, normalise, rational
from benchmarks.answers.quantities import compute

ROOT = Path(__file__).resolve().parents[3]
READING = ROOT.parent / "shared" / "data" / "answers" / "reading.jsonl"
_CELL = re.compile(r"(?<!\\)\|")


def table(heading: str) -> list[list[str]]:
    """The rows of the table below a heading of the page, without marks of code."""
    page = (ROOT / "docs" / "answers.md").read_text()
    section = page.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("|")][2:]
    cells = ([cell.strip().strip("`") for cell in _CELL.split(row)[1:-1]] for row in rows)
    return [[cell.replace("\\|", "|") for cell in row] for row in cells]


@pytest.mark.parametrize(("a", "b", "why"), table("One answer"))
def test_one_answer(a: str, b: str, why: str) -> None:
    assert equivalent(a, b), why
    assert equivalent(b, a), why
    assert classes([a, b]) == [0, 0]


@pytest.mark.parametrize(("a", "b", "why"), table("Not one answer"))
def test_not_one_answer(a: str, b: str, why: str) -> None:
    assert not equivalent(a, b), why
    assert not equivalent(b, a), why
    assert classes([a, b, a]) == [0, 1, 0]


@pytest.mark.parametrize(("answer", "number"), table("The number that an answer states"))
def test_the_number_that_an_answer_states(answer: str, number: str) -> None:
    assert compute(answer) == (Fraction(number) if number else None)
    assert rational(answer) == (Fraction(number) if number else None)


@pytest.mark.parametrize("answer", [row[i] for row in table("One answer") for i in (0, 1)])
def test_a_normal_form_is_its_own(answer: str) -> None:
    form = normalise(answer)
    assert form
    assert normalise(form) == form
    assert equivalent(answer, form)


def free() -> list[dict[str, object]]:
    rows = map(json.loads, READING.read_text().splitlines()) if READING.exists() else ()
    return [row for row in rows if row["kind"] == "free"]


@pytest.mark.skipif(not READING.exists(), reason=f"needs {READING}")
def test_labelled_boxes() -> None:
    """Of the labelled responses those that are one box: reading them is no question."""
    boxes = [row for row in free() if str(row["response"]).startswith(r"\boxed{")]
    assert len(boxes) > 70
    for row in boxes:
        gold, response = str(row["gold"]), str(row["response"])
        assert equivalent(response, gold) is equivalent(gold, response) is row["right"], row


def test_irrational_numbers_have_a_value() -> None:
    assert compute(r"5\pi") == pytest.approx(15.707963267948966, rel=1e-15)
    assert compute(r"\sqrt2") == pytest.approx(2**0.5, rel=1e-15)
    assert rational(r"\sqrt2") is None


@given(st.integers(-(10**12), 10**12), st.integers(0, 6))
def test_decimals_are_exact(digits: int, places: int) -> None:
    written = f"{digits // 10**places if digits >= 0 else -(-digits // 10**places)}"
    fraction = f"{abs(digits) % 10**places:0{places}d}" if places else ""
    sign = "-" if digits < 0 and not written.startswith("-") else ""
    text = f"{sign}{written}" + (f".{fraction}" if places else "")
    assert compute(text) == Fraction(digits, 10**places)


_unit = st.sampled_from(["mm", "cm", "dm", "m", "km", "inches", "ft"])


@given(st.integers(1, 999), _unit, st.integers(1, 999), _unit)
def test_lengths_are_compared_in_one_unit(a: int, one: str, b: int, other: str) -> None:
    size = {"mm": 1, "cm": 10, "dm": 100, "m": 1000, "km": 10**6, "inches": Fraction(254, 10)}
    size["ft"] = 12 * size["inches"]
    same = a * size[one] == b * size[other]
    assert equivalent(f"{a} {one}", f"{b}\\text{{ {other}}}") is same


_part = st.sampled_from(["1", "x", "2x+1", r"\frac12", "(1,2)", "5 cm", r"\sqrt{2}", "a=3"])


@settings(max_examples=60, deadline=None)
@given(st.lists(_part, min_size=1, max_size=4), st.sampled_from([", ", "; ", " or ", " and "]))
def test_a_list_is_itself_however_it_is_divided(parts: list[str], sign: str) -> None:
    one, other = sign.join(parts), r" \text{ and } ".join(parts)
    assert equivalent(one, other) is equivalent(other, one) is True


@pytest.mark.parametrize(
    "text",
    [
        r"\alpha" * 13 + "1=5",
        "a(b)" * 19 + "1 = 5",
        r"\frac" * 60,
        r"\sqrt{" * 50,
        "½" * 350,
        "(" * 200 + ")" * 200,
        r"\{" * 190,
        "1, " * 130,
        "x=" * 190,
        "1≈" * 190,
        "a:b" * 130,
        "1-" * 190 + "1",
        r"\boxed{" * 50,
        "twenty " * 57,
        "5 cm " * 80,
        r"\pm" * 120,
        "0.(3)" * 79,
        "m/" * 199,
    ],
)
def test_hostile_answers_take_no_time(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_equivalence, "same", lambda *_: False)
    began = time.process_time()
    for answer in (text, "5 = " + text, text + " cm", text[1:]):
        compute(answer)
        assert equivalent(answer, answer) is bool(normalise(answer))
        for other in ("12 cm", "x=1, y=2", r"(1, \frac{x}{2})", "a:b:c", r"\pi r^2"):
            assert equivalent(answer, other) is equivalent(other, answer)
    assert time.process_time() - began < 4


def test_what_needs_no_mathematics_asks_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    def child(*question: str) -> None:
        raise AssertionError(f"asked about {question}")

    monkeypatch.setattr(_equivalence, "same", child)
    for a, b in [
        ("I cannot see the picture, sorry", r"\sqrt{2}"),
        ("the red ball", "2x+3"),
        ("x+y", "x+z"),
        ("12 cm", r"\frac{1}{3}"),
        ("1, 2, 3", "(4, 5)"),
        ("9" * 300, r"\sqrt{3}"),
        ("x>5", "3"),
    ]:
        assert not equivalent(a, b)
