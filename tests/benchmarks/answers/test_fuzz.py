"""Model output is hostile: every scorer of every benchmark gives a verdict on anything, in time."""

from __future__ import annotations

import random
import time
import unicodedata
from itertools import product
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from benchmarks.answers._equivalence import TIME_LIMIT
from benchmarks.answers.asked import Asked
from benchmarks.answers.candidates import MAX_RESPONSE
from benchmarks.answers.reading import read
from benchmarks.base import Item, Scorer
from benchmarks.official.benchmark import FunctionScorer
from benchmarks.registry import BENCHMARKS, benchmark

#: Seconds of this process for one response, however many others it shares a processor with. What
#: it asks the algebra system is bounded there, by a limit of the same kind.
LIMIT = 8 * TIME_LIMIT

#: Of the slow test: strings that every scorer judges.
STRINGS = 100_000

MATHVISTA = {
    "pid": "1",
    "question": "What is x? (_) dots in each.",
    "image": "1.png",
    "choices": None,
    "unit": "cm",
    "precision": None,
    "answer": "3",
    "question_type": "free_form",
    "answer_type": "integer",
    "metadata": {},
}
CHOICE = {"question_type": "multi_choice", "answer_type": "text"}
ROWS: dict[str, list[dict[str, Any]]] = {
    "mathvista": [
        MATHVISTA,
        {**MATHVISTA, "answer_type": "float", "precision": 1, "answer": "0.5"},
        {**MATHVISTA, "answer_type": "list", "answer": "[1, 2]"},
        {**MATHVISTA, **CHOICE, "choices": ["Yes", "No"], "answer": "No"},
        {**MATHVISTA, **CHOICE, "choices": ["mice increase", "it stays"], "answer": "it stays"},
        {**MATHVISTA, **CHOICE, "choices": [r"\frac{4}{3}", "0.75", "2√{3}"], "answer": "0.75"},
    ],
    "wemath": [
        {
            "ID": "2steps_1",
            "key": "2steps_1",
            "question": "How long?",
            "option": "A. 12 cm; B. 3π; C. No correct answer",
            "answer": "B",
            "knowledge concept": "",
        }
    ],
    "mathverse": [
        {
            "sample_index": "1",
            "problem_index": "1",
            "problem_version": "Text Lite",
            "question": "Find it.\nChoices:\nA:30°\nB:45°",
            "question_type": kind,
            "answer": gold,
            "metadata": {},
        }
        for kind, gold in [
            ("multi-choice", "B"),
            ("multi-choice", "C\nD"),
            ("free-form", r"S 23.5 ^\circ W"),
            ("free-form", r"Area $=9 \pi \mathrm{cm}^{2}$"),
        ]
    ],
    "mathvision": [
        {
            "id": "1",
            "question": "How many?",
            "options": options,
            "answer": gold,
            "level": 1,
            "subject": "counting",
        }
        for options, gold in [([], r"\frac{1}{2}"), ([], "(2,3)"), (["1", r"$\sqrt{2}$"], "B")]
    ],
}
ROWS["mathverse_text_only"] = [r | {"problem_version": "Text Only"} for r in ROWS["mathverse"]]
ASKED: list[tuple[str, Scorer, Item]] = [
    (f"{name}: {scorer}", benchmark(name).scorer(scorer), benchmark(name).item("row", row, None))  # type: ignore[attr-defined]
    for name in BENCHMARKS
    for scorer in benchmark(name).scorers
    for row in ROWS[name]
]

#: The items of each scorer, which take turns.
TURNS: dict[str, list[tuple[str, Scorer, Item]]] = {}
for each in ASKED:
    TURNS.setdefault(each[0], []).append(each)

DIGITS = [chr(c) for c in range(0x110000) if unicodedata.category(chr(c)) in ("Nd", "Nl", "No")]
#: Responses as models give them; mutations start from these.
REAL = [
    "Let us solve it step by step.\n\nFirst, x = 2 + 1.\n\nTherefore, the answer is (B) 3 cm.",
    r"We get \[x=\frac{-b\pm\sqrt{b^2-4ac}}{2a}\] so $x=\boxed{\frac{1}{2}}$.",
    "<think>Is it A? Or (B)?</think><answer>B. 45°</answer>",
    "**Answer:** C\n\nI hope this helps! Let me know if you have any other questions.",
    "Yes, there are more red bikes than big cars, so Dark Violet is not the minimum.",
    "```python\nprint(sum([1, 2]) / 3.0)\n```\nThis code outputs the following:\n```\n1.0\n```",
    r"The area is $9\pi\ \mathrm{cm}^2 \approx 28.27$; thus \boxed{9\pi}.",
    "Sorry, I cannot see the picture. Please provide it.",
    "根据题意，∠BOC = 55°。因此，答案是：C。",
    "The 4 dots are in 2 groups: [1, 2], (2, 3) or 1,234.5 × 10^5 and 3/4 of twenty-one.",
]
HOSTILE = [
    "",
    "\0",
    "\ud800",
    "9**9**9",
    "9^{9^{9^{9}}}",
    r"\boxed{9^{9^{9}}}",
    r"\boxed{10^{10^{10}}!}",
    r"\boxed{\sum_{i=1}^{10^{12}} i}",
    r"\boxed{\int_0^{\infty} e^{-x^{x^{x}}} dx}",
    r"\boxed{\sqrt{" * 3_000 + "}" * 6_000,
    r"\frac" * 20_000,
    "(" * 50_000 + ")" * 50_000,
    "{" * 50_000,
    "}" * 50_000,
    "[" * 9_999 + "1" + "]" * 9_999,
    r"\boxed{" * 20_000,
    "<answer>" * 20_000,
    "<answer>" + "x" * 500_000 + "</answer>",
    "Answer" * 50_000,
    "the answer is " * 20_000,
    "The answer is \"" + "a" * 300_000,
    "is " * 100_000,
    "not " * 100_000 + "yes",
    " " * 300_000 + "B",
    "\n" * 300_000 + "B",
    "B " * 150_000,
    "(B) " * 100_000,
    "1" * 1_000_000,
    "-" * 300_000,
    "1," * 200_000 + "1",
    "1." * 200_000,
    "1/" * 200_000 + "1",
    "0." + "0" * 300_000 + "1",
    "1e999999999",
    "1e-999999999",
    "0x" + "f" * 10_000,
    "nan",
    "inf",
    "-infinity",
    "__import__('os').system('echo')",
    "import os; os._exit(1)",
    "${{7*7}} {0.__class__} %n%s",
    "$" * 100_000,
    "$x$ " * 50_000,
    "=" * 100_000,
    "a=" * 100_000 + "1",
    "twenty-one " * 50_000,
    "**" * 100_000,
    "* " * 100_000,
    "_" * 200_000,
    "</think>" * 30_000,
    "\nQuestion:" * 30_000,
    "x^" * 100_000 + "2",
    "A. 1\n" * 50_000,
    "".join(DIGITS),
    " ".join(DIGITS),
    "".join(chr(c) for c in range(0x250)),
    "e\u0301" * 50_000 + "\u202e\u200b\ufeff",
    r"\begin{pmatrix} 1 & 2 \\ 3 & 4 \end{pmatrix}^{100000}",
    r"\boxed{\text{" + "very " * 10_000 + "long}}",
    r"\boxed{x=1,y=2,z=" + ",".join(str(i) for i in range(5_000)) + "}",
    r"\boxed{\frac{1}{0}}",
    r"\boxed{(1,(2,(3,(4,(5,(6,(7,(8,(9,10)))))))))}",
]  # fmt: skip
PIECES = [
    r"\boxed{", "}", "{", "(", ")", "[", "]", "<answer>", "</answer>", "$",
    "Answer: ", "the answer is ", "is ", "=", "not ", "(B)", "A", "3", ".", ",", "-", "%",
    "°", "cm",
    "\n", "\t", "\0", "\r", "\u200b", "²", "½", "Ⅷ", "٣", "９", "√", "π", "×10^", "9**9**9", "e9",
    "there are ", "no ", "twenty", "**", "```", "</think>", "\nQuestion: ", "None", "Yes, ",
    "than ",
]  # fmt: skip


#: Seconds of this process to read a response an eighth as long as is read at most: many times what
#: most take, and a fraction of what a pattern takes that goes over the text for each of its signs.
READ_LIMIT = 4.0
#: Where an answer stands.
PLACES = ["{}", "The answer is {}", "\\boxed{{{}}}", "<answer>{}</answer>"]
#: Told over and over: no pattern may go over a text more than a few times.
REPEATED = [
    "is ", "not ", "answer ", "The answer is ", "or ", "so ", ", so ", "B ", "B is ", "A. ", "B (",
    "(", ")", "{", "}", "$", "$x$ ", "=", "a=", "-", "- ", " ", "\n", "\t", "\u200b", "1", "12 ",
    "1,", "1/", "1. ", "12.\n", "12 or ", "5 to ", "5 cm ", "between 1 and ", "minus ", "a half ",
    "twenty-one ", "three point ", "4 below zero ", "hundred ", "No ", "None of ", "can't ", "if ",
    "wait ", "e.g. ", "✓", "A\n", "A 1 - correct\n", "\nreason: ", "the ", "It is ", "x", "x x ",
    "是", "不是", "答案是", "十二", "百分之", "\\boxed{", "\\boxed{1} ", "\\frac{", "\\text{",
    "<answer>", "</answer>", "<think>", "</think>", "<Thought process>: <<", ">>", "<b>", "**",
]  # fmt: skip
KINDS = [
    Asked("choice", "How long is it?", "", {"A": "12 cm", "B": "15 cm", "C": "No correct answer"}),
    Asked("choice", "Is it so?", "", {"A": "yes", "B": "no"}),
    Asked("choice", "Which is it?", "", {"A": "A", "B": "mice do not increase", "C": ""}),
    Asked("number", "How many (_) dots in each?"),
    Asked("list"),
    Asked("formula", "What is x?"),
]


@pytest.mark.parametrize("number", range(len(REPEATED)))
@pytest.mark.parametrize("every", [4, pytest.param(1, marks=pytest.mark.slow)])
def test_a_long_response_is_read_in_time(number: int, every: int) -> None:
    piece = REPEATED[number]
    long = piece * (MAX_RESPONSE // 8 // len(piece))
    for place, asked in [*product(PLACES, KINDS)][number % every :: every]:
        began = time.process_time()
        read(place.format(long), asked)
        seconds = time.process_time() - began
        assert seconds < READ_LIMIT, f"{seconds:.1f} s for {piece!r} as {asked.kind}"


def mutated(chance: random.Random) -> str:
    """A response as a model may give it, cut, doubled, and mixed with pieces of notation."""
    text = chance.choice(REAL)
    for _ in range(chance.randint(1, 6)):
        at, to = sorted(chance.choices(range(len(text) + 1), k=2))
        piece = chance.choice([*PIECES, chance.choice(DIGITS), chr(chance.randrange(0x20))])
        text = chance.choice(
            [
                text[:at] + piece + text[at:],
                text[:at] + piece * chance.randint(2, 40) + text[to:],
                text[:at] + text[to:],
                text[:to] + text[at:],
                text[at:to] + chance.choice(REAL),
            ]
        )
    return text


def judge(name: str, scorer: Scorer, item: Item, response: str) -> float:
    """Score one response and hold the verdict to what every verdict promises. Seconds taken."""
    began = time.process_time()
    verdict = scorer.score(item, response)
    seconds = time.process_time() - began
    if isinstance(scorer, FunctionScorer) and scorer.judge_extraction is not None:
        on_extraction = scorer.judge_extraction(item, response)
        assert on_extraction.item == item.id
        assert isinstance(on_extraction.correct, bool)
    shown = f"{name}: {response[:200]!r} ({len(response)} characters)"
    assert seconds < LIMIT, f"{seconds:.1f} s for {shown}"
    assert verdict.item == item.id, shown
    assert verdict.status in ("ok", "unparsed", "undecided"), shown
    assert isinstance(verdict.correct, bool), shown
    assert verdict.status == "ok" or not verdict.correct, shown
    if name.endswith(": rules") and verdict.correct:
        assert verdict.extracted, shown
        assert response.strip(), shown
    return seconds


@pytest.mark.parametrize("number", range(len(HOSTILE)))
@pytest.mark.parametrize("every", [4, pytest.param(1, marks=pytest.mark.slow)])
def test_hostile_responses(number: int, every: int) -> None:
    """Each by a quarter of the scorers in turn, or by all."""
    seconds = sum(judge(*asked, HOSTILE[number]) for asked in ASKED[number % every :: every])
    assert seconds < 2 * LIMIT


@settings(max_examples=30, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.one_of(st.sampled_from(PIECES), st.text(max_size=12)), max_size=12))
def test_any_mixture_of_notation(pieces: list[str]) -> None:
    for asked in ASKED:
        judge(*asked, "".join(pieces))


def test_real_responses_mutated() -> None:
    chance = random.Random(0)
    for _ in range(60):
        text = mutated(chance)
        for asked in ASKED:
            judge(*asked, text)


@pytest.mark.slow
def test_a_hundred_thousand_strings(capsys: pytest.CaptureFixture[str]) -> None:
    """Mutated responses, one in 500 around a hostile one, each before every scorer of every
    benchmark, on one of its items."""
    chance = random.Random(1)
    slowest = total = 0.0
    for number in range(STRINGS):
        text = mutated(chance)
        if number % 500 == 0:
            text = text[:40] + chance.choice(HOSTILE) + text[40:]
        for asked in TURNS.values():
            seconds = judge(*asked[number % len(asked)], text)
            slowest, total = max(slowest, seconds), total + seconds
    with capsys.disabled():
        print(
            f"\n{STRINGS} strings, {STRINGS * len(TURNS)} verdicts by {len(TURNS)} scorers on "
            f"{len(ASKED)} (scorer, item) pairs in {total:.0f} s; slowest {slowest:.2f} s of "
            f"{LIMIT:.0f} s allowed"
        )
