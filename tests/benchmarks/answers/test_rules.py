"""``rules``: reads prose as people do, credits no empty answer, and agrees with the owners."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.answers.numerals import numbers
from benchmarks.answers.prose import plain, sentences
from benchmarks.base import Item, Verdict
from benchmarks.registry import benchmark

DATA = Path(__file__).resolve().parents[3].parent / "shared" / "data"
published = pytest.mark.skipif(not DATA.is_dir(), reason="no shared/data beside the repository")
ONE = benchmark("mathvista")
RULES = ONE.scorer("rules")


def item(
    question: str, gold: str, *choices: str, kind: str = "integer", precision: int = 1
) -> Item:
    row = {
        "pid": "1",
        "question": question,
        "image": "1.png",
        "choices": list(choices) or None,
        "unit": None,
        "precision": precision if kind == "float" else None,
        "answer": gold,
        "question_type": "multi_choice" if choices else "free_form",
        "answer_type": "text" if choices else kind,
        "metadata": {},
    }
    return ONE.item("row", row, None)  # type: ignore[attr-defined, no-any-return]


def verdict(asked: Item, response: str) -> Verdict:
    return RULES.score(asked, response)


SHAPE = item("Which shape is larger?", "circle", "square", "circle", "triangle")
ANGLE = item("What is the degree of ∠A?", "55°", "45°", "55°", "65°")
LOWEST = item("Is Dark Violet the lowest?", "no", "yes", "no")


@pytest.mark.parametrize(
    ("asked", "response", "rule"),
    [
        (SHAPE, r"\boxed{B}", "boxed"),
        (SHAPE, r"It is \boxed{\text{circle}}.", "boxed"),
        (SHAPE, "<answer>(B) circle</answer>", "tag"),
        (SHAPE, "The correct answer is (B) circle.", "statement"),
        (SHAPE, "B", "letter"),
        (SHAPE, "(B)", "letter"),
        (SHAPE, "B. The circle is larger.", "letter"),
        (SHAPE, "Let us compare them.\n\nTherefore, option B is the right one.", "letter"),
        (SHAPE, "The answer is (A).\n\nNo: the square is small. So the correct choice is (B).", ""),
        (SHAPE, "Choice (A) is incorrect.\nChoice (C) is incorrect.\nSo it can only be (B).", ""),
        (SHAPE, "The **circle** is larger.", "text"),
        (SHAPE, "The circle is larger than the square.", "text"),
        (SHAPE, "The largest shape in the picture is B.", "letter"),
        (SHAPE, "答案：B", "letter"),
        (SHAPE, "<think>square? (A)?</think>The circle.</s>", "text"),
        (ANGLE, "Based on the figure, ∠A is equal to 55 degrees.", ""),
        (ANGLE, "Since 180° - 125° = 55°, we have the answer.", ""),
        (ANGLE, "The angle is 55掳.", ""),  # a degree sign that was read in another encoding
        (LOWEST, "No, the lowest is Green.", "text"),
        (LOWEST, "Based on the image, Dark Violet is not the lowest.", "polarity"),
        (item("Is A fewer than B?", "no", "yes", "no"), "A is greater than B.", "polarity"),
        (
            item("Are there more big cars than red bikes?", "no", "yes", "no"),
            "There are more red bikes than big cars.",
            "polarity",
        ),
        (
            item("What happens if owls die?", "mice increase", "mice increase", "mice decrease"),
            "If owls die, the mice will likely increase.",
            "text",
        ),
        (item("Find x", r"\frac{1}{2}", r"\frac{1}{2}", "2"), r"$\frac{1}{2}$", ""),
        (item("How many?", "5"), "5", "bare"),
        (item("How many?", "5"), "５", "bare"),
        (item("How many?", "5"), "٥", "bare"),
        (item("How many?", "1200"), "1,200 ml", "bare"),
        (item("How many are left?", "5"), "There are 5 objects left.", ""),
        (item("How many are left?", "3"), "There are three left: two red and one blue.", ""),
        (item("How many are left?", "0"), "There are no objects left.", ""),
        (item("How many are left of 9?", "5"), "Of the 9 objects, 5 are left.", ""),
        (item("What is the total?", "16"), "So it is 4 m + 4 m + 4 m + 4 m = **16 m**.", ""),
        (item("What is the total?", "16"), "We add 8 and 8.\n\nThe final answer is 16.", ""),
        (item("There are (_) dots in each.", "2"), "The 4 dots: 2 dots in each.", "blank"),
        (item("How many?", "7"), "So the answer is 7.\n\nQuestion: How many? 4.", ""),
        (item("What is d?", "1.2", kind="float"), "The spring is compressed by 1.23 cm.", ""),
        (item("What is d?", "0.5", kind="float"), r"\boxed{\frac{1}{2}}", "boxed"),
        (item("Which list?", "[1, 2]", kind="list"), "The answer is [1,2].", "list"),
        (item("Which list?", "[1, 2]", kind="list"), "1 and 2", "list"),
        (SHAPE, "A. square ✗\nB. circle ✓\nC. triangle ✗", "letter"),
        (SHAPE, "It is not the square, so B.", "letter"),
        (LOWEST, "不是。", "text"),
        (item("Which one?", "Q", "P", "Q"), "The string of kite Q is longer than P's.", "text"),
        (item("How long?", "5 cm", "5 m", "5 cm", "50 cm"), "It is 50 mm long.", "value"),
        (item("How cold?", "-4"), "minus four degrees", ""),
        (item("How cold?", "-4"), "It is 4 degrees below zero.", ""),
        (item("How many?", "12"), "1. Small ones: 8.\n2. Large ones: 4.\n3. Add: 8 + 4 = 12.", ""),
        (item("How many?", "12"), "There are 8 and 4 of them, so 12.", "conclusion"),
        (item("How many?", "12"), "十二个", ""),
        (item("What is d?", "0.7", kind="float"), "two thirds", ""),
    ],
)  # fmt: skip
def test_what_a_response_says_is_read(asked: Item, response: str, rule: str) -> None:
    found = verdict(asked, response)
    assert (found.correct, found.status) == (True, "ok"), found
    assert rule in found.rule


@pytest.mark.parametrize(
    ("asked", "response", "status"),
    [
        (SHAPE, "", "unparsed"),  # the owners' rule credits it with the shortest choice
        (SHAPE, " \n\t", "unparsed"),
        (SHAPE, r"\boxed{}", "unparsed"),
        (SHAPE, "N/A", "unparsed"),
        (SHAPE, "Sorry, I can't help with images of people yet.", "unparsed"),
        (SHAPE, "The picture shows a cat.", "unparsed"),
        (SHAPE, "(A) square\n(B) circle\n(C) triangle", "unparsed"),  # the question again
        (SHAPE, "It is either the square or the circle.", "undecided"),
        (SHAPE, "A) circle", "undecided"),  # the letter of one option, the text of another
        (SHAPE, "The answer is A. circle", "undecided"),
        (SHAPE, "B is incorrect.", "unparsed"),
        (SHAPE, "I am not sure whether it is B.", "unparsed"),
        (SHAPE, r"\boxed{hexagon}", "ok"),  # an answer, and none of the options
        (SHAPE, "The square is larger.", "ok"),
        (ANGLE, "The angle is 60 degrees.", "ok"),
        (LOWEST, "It is not possible to say whether Dark Violet is the lowest.", "unparsed"),
        (item("How many?", "5"), "I cannot see the picture.", "unparsed"),
        (item("How many?", "5"), "There are 6 objects left.", "ok"),
        (item("How old?", "40"), "It is 40-60 years.", "undecided"),
        (item("How many?", "5"), "a = 5\nb = 2\nprint(a * b)", "undecided"),
        (SHAPE, "def f(x):\n    return 'circle'\n\nprint(f(2))", "undecided"),
        (item("How many?", "14"), "14.9", "ok"),  # no truncation
        (item("What is d?", "1.2", kind="float"), "1.3", "ok"),
        (item("Which list?", "[1, 2]", kind="list"), "[2, 1]", "ok"),
        (item("How many?", "12"), "12 is not correct.", "unparsed"),
        (item("How many?", "3"), "There are between 2 and 3 of them.", "unparsed"),
        (item("How many?", "12"), "12 squared", "unparsed"),
        (item("How many?", "2"), "It is a 2D figure.", "unparsed"),
    ],
)
def test_what_is_wrong_or_no_answer_is_told_apart(asked: Item, response: str, status: str) -> None:
    found = verdict(asked, response)
    assert (found.correct, found.status) == (False, status), found


def test_the_other_benchmarks() -> None:
    wemath = benchmark("wemath")
    row = {
        "ID": "2steps_1",
        "key": "2steps_1",
        "question": "How long is it?",
        "option": "A. 12 cm; B. 15 cm; C. No correct answer",
        "answer": "B",
        "knowledge concept": "",
    }
    asked = wemath.item("row", row, None)  # type: ignore[attr-defined]
    for response in ("<Answer>: <<B>>", "It is 15 cm long.", r"\boxed{15\text{ cm}}"):
        assert wemath.scorer("rules").score(asked, response).correct, response
    assert wemath.scorer("rules").score(asked, "").status == "unparsed"

    mathverse = benchmark("mathverse")
    verse = {
        "sample_index": "1",
        "problem_index": "1",
        "problem_version": "Text Lite",
        "question": "Find the area.",
        "question_type": "free-form",
        "answer": r"Area $=9 \pi \mathrm{cm}^{2}$",
        "metadata": {},
    }
    asked = mathverse.item("row", verse, None)  # type: ignore[attr-defined]
    rules = mathverse.scorer("rules")
    for response in (r"\boxed{9\pi}", r"Therefore, the area is $9\pi$.", str(verse["answer"])):
        assert rules.score(asked, response).correct, response
    assert not rules.score(asked, r"\boxed{8\pi}").correct
    letters = {**verse, "question_type": "multi-choice", "answer": "C\nD"}
    asked = mathverse.item("row", letters, None)  # type: ignore[attr-defined]
    assert rules.score(asked, r"\boxed{C, D}").correct
    assert not rules.score(asked, r"\boxed{C}").correct

    mathvision = benchmark("mathvision")
    vision: dict[str, Any] = {
        "id": "1",
        "question": "How many?",
        "options": ["10", r"$\sqrt{2}$", "105"],
        "answer": "C",
        "level": 1,
        "subject": "counting",
    }
    asked = mathvision.item("row", vision, None)  # type: ignore[attr-defined]
    for response in ("(C) 105", "105", "C", "There are 105 of them."):
        assert mathvision.scorer("rules").score(asked, response).correct, response


def test_a_text_of_two_encodings_and_any_digits() -> None:
    assert plain("25Â° and 30掳, 4âˆš2") == "25° and 30°, 4√2"
    found = [
        number.value for number in numbers(plain("３ and ٤ and ५, 1,200.5, -2, 1/2, twenty-one"))
    ]
    assert [float(value) for value in found] == [3, 4, 5, 1200.5, -2, 0.5, 21]


def test_sentences() -> None:
    text = "E.g. 3.5 cm is **long**. Is it?\n\nA. It is.\nI hope this helps!"
    assert sentences(text) == ["E.g. 3.5 cm is long.", "A. It is."]


def agreement(
    name: str, file: Path, verdict_key: str, keep: int | None, by: str = "rules"
) -> tuple[int, int]:
    one = benchmark(name)
    if name == "mathvista":
        rows = json.loads(file.read_text())
        items = one.load_text(file)
    else:
        rows = {r["id"]: r for r in map(json.loads, file.read_text().splitlines())}
        items = one.load_text(DATA / "mathvision" / "test.jsonl")
    kept = [i for i in items if keep is None or int(i.id) % 2 == keep]
    scorer = one.scorer(by)
    same = sum(
        scorer.score(i, rows[i.id]["response"]).correct == rows[i.id][verdict_key] for i in kept
    )
    return same, len(kept)


@published
@pytest.mark.parametrize(
    ("name", "file", "key", "n"),
    [
        ("mathvista", "mathvista/bard/output_bard.json", "true_false", 1000),
        ("mathvista", "mathvista/llava/output_llava_llama_2_13b.json", "true_false", 1000),
        ("mathvision", "mathvision/output_LLaVA-v1.5-7B.jsonl", "correct", 3040),
    ],
)
def test_agreement_with_published_verdicts(name: str, file: str, key: str, n: int) -> None:
    """From the raw responses: the owners had a language model read them."""
    halves = [agreement(name, DATA / file, key, half) for half in (0, 1)]
    assert sum(total for _, total in halves) == n
    assert sum(same for same, _ in halves) / n >= 0.97
    for same, total in halves:
        assert same / total >= 0.965
    same, total = agreement(name, DATA / file, key, None, "official+extract")
    assert same / total >= 0.97


def test_prose_is_read_only_where_nothing_is_extracted() -> None:
    default = ONE.scorer("official+extract")
    for asked, response, extracted, rule in [
        (SHAPE, r"The circle is larger: \boxed{A}", "A", "boxed/letter"),
        (SHAPE, r"The circle is larger. \boxed{}", "B", "prose/text"),
        (SHAPE, "The answer is A.\nThe circle is larger than the square.", "A", "statement/letter"),
        (SHAPE, "The circle is larger than the others here.", "B", "prose/text"),
        (SHAPE, "It is either the square or else the circle.", None, "prose/several"),
        (SHAPE, "Sorry, I can't help with images of people yet.", None, "none"),
        (item("How many?", "3"), "There are three of them in the box.", "three", "prose"),
        (item("How many?", "3"), "Sorry, I can't help with images of people yet.", None, ""),
        (item("Which list?", "[1, 2]", kind="list"), "It goes\n[1, 2]\nonwards.", "[1, 2]", "list"),
        (item("How many?", "3"), "", None, "none"),
    ]:
        found = default.score(asked, response)
        assert found.extracted == extracted, found
        assert rule in found.rule, found
        assert (found.status == "ok") == (extracted is not None), found
