"""Answers are read, normalised and compared as people would, whatever text a model produces."""

from __future__ import annotations

import multiprocessing
import os
import random
import string
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.answers import _equivalence
from benchmarks.answers.asked import named
from benchmarks.answers.equality import classes, equivalent, normalise, rational
from benchmarks.answers.reading import read


@pytest.mark.parametrize(
    ("text", "answer", "rule"),
    [
        (r"so \boxed{5}", "5", "boxed"),
        (r"\boxed{1}, no: \boxed{\frac{1}{2}}", r"\frac{1}{2}", "boxed"),
        (r"\boxed{4} and then \boxed{5", "4", "boxed"),
        (r"\boxed{\boxed{7}}", "7", "boxed"),
        (r"\boxed{\{1, 2\}}", r"\{1, 2\}", "boxed"),
        (r"\boxed{}", None, "none"),
        (r"<answer>3</answer> but \boxed{4}", "3", "tag"),
        ("<answer>A</answer><answer> B </answer>", "B", "tag"),
        ("<think>5</think><answer></answer>", None, "none"),
        ("<answer>7 and no end", None, "none"),
        ("The answer is B", "B", "statement"),
        ("The answer is 3.5 cm. It is long.", "3.5 cm", "statement"),
        ("First the answer is 2.\nBut the final answer is: $4$.", "$4$", "statement"),
        ("**Answer:** B", "B", "statement"),
        ("Answer: (C)", "(C)", "statement"),
        ("<Thought process>: <<so>> <Answer>: <<C>>", "C", "statement"),
        ("**Final Answer**\n\n42", "42", "statement"),
        ("So the answer to the question is **1**.", "1", "statement"),
        ("The correct option is (D).", "(D)", "statement"),
        ("12 cm", "12 cm", "bare"),
        ("I cannot see the picture.", None, "none"),
        ("one line\nand another", None, "none"),
        ("\\boxed{5", None, "none"),
        ("", None, "none"),
    ],
)
def test_a_free_answer_is_read(text: str, answer: str | None, rule: str) -> None:
    found = read(text)
    assert (found.answer, found.rule) == (answer, rule)
    if found.span and answer is not None:
        assert text[slice(*found.span)] == answer


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("0.5", r"\frac{1}{2}"),
        ("12", "12.0"),
        (r"12^\circ", "12"),
        ("35°", "35"),
        ("A", "a"),
        ("A", "(A)"),
        (r"\text{A}", "A"),
        ("5 cm", "5"),
        (r"5\text{ cm}^2", "5"),
        ("5.0 square meters", "5"),
        ("50%", "50"),
        (r"50\%", "50"),
        ("x=5", "5"),
        (r"\angle ABC = 40^\circ", "40"),
        (r"Area $=113.1 \mathrm{~cm}^{2}$", "113.1"),
        ("1,000", "1000"),
        ("$1,234.50", "1234.5"),
        (r"1\frac12", "1.5"),
        ("1 1/2", "3/2"),
        ("-1/2", r"-\frac{1}{2}"),
        (r"3\times 10^{4}", "30000"),
        ("Yes.", "yes"),
        (r"\sqrt{8}", r"2\sqrt{2}"),
        (r"\frac{\sqrt{2}}{2}", r"\frac{1}{\sqrt{2}}"),
        (r"4\pi\text{ cm}^2", "4π"),
        (r"\frac{25 \pi}{4}", r"6.25\pi"),
        ("x+1", "1+x"),
        ("y=2x+1", "y = 1 + 2x"),
        ("(0.5, 1)", r"\left(\frac12, 1\right)"),
        ("2√3", r"2\sqrt3"),
    ],
)
def test_same_answer(a: str, b: str) -> None:
    assert equivalent(a, b)
    assert equivalent(b, a)


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("A", "B"),
        ("5", "6"),
        ("5", "-5"),
        ("1/3", "0.333"),
        ("A. 5", "A"),
        ("5x", "5"),
        ("12", "1 2"),
        ("(1,2)", "(2,1)"),
        ("(1,2)", "[1,2]"),
        ("x+1", "x+2"),
        (r"\sqrt{8}", "2"),
        ("9**9**9", "1"),
        ("", ""),
        ("$$", "$$"),
        ("None", "0"),
        ("North", "South"),
    ],
)
def test_other_answer(a: str, b: str) -> None:
    assert not equivalent(a, b)
    assert not equivalent(b, a)


def test_classes_are_numbered_by_first_appearance_and_no_answer_has_none() -> None:
    answers = ["1", "0.5", None, r"\frac12", "(A)", "a", "", "1.0", r"\sqrt8", r"2\sqrt{2}"]
    assert classes(answers) == [0, 1, None, 1, 2, 2, None, 0, 3, 3]


def test_a_choice_is_named_by_letter_or_by_text() -> None:
    options = {"A": "12 cm", "B": "15 cm", "C": "No", "D": r"\frac{9}{5}"}
    for answer, letter in [
        ("B", "B"),
        ("(b)", "B"),
        (r"\text{(B)}", "B"),
        ("B. 15 cm", "B"),
        ("(B) 12 cm", None),
        ("Option C", "C"),
        ("15", "B"),
        ("no, there is none", "C"),
        ("1.8", "D"),
        ("E", None),
        ("16 cm", None),
        ("A rectangle", None),
        ("", None),
    ]:
        assert named(answer, options)[0] == letter, answer


def test_a_number_is_read_exactly() -> None:
    assert rational("1,234.5 cm") * 2 == 2469  # type: ignore[operator]
    assert rational(r"\frac{1}{0}") is None
    assert rational("five or six") is None
    assert rational("1e999999999") is None


HOSTILE = [
    "\\boxed{" * 200_000,
    "\\boxed{" + "{" * 1_000_000,
    "the answer is " * 100_000,
    "answer\n" * 150_000,
    "<answer>" * 150_000,
    "9" * 1_000_000,
    " " * 1_000_000,
    "\\frac{" * 200_000,
    "\\text{" * 66,
    "a" * 399 + "=",
    "a " * 199,
    "1/" * 199,
    "," * 399,
    "(" * 200 + ")" * 199,
    "9**9**9",
    "9^{9^{9}}",
    "9^999999999",
    "1" + "0" * 390,
    "\\binom{1000000}{500000}",
    "1000000!!!",
    "__import__('os').system('true')",
    "\ud800\x00\u202e",
]


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_text_is_bounded(text: str) -> None:
    started = time.process_time()
    for answer in (text, text[:400], text[-400:]):
        read(answer)
        equivalent(answer, r"\sqrt{2}")
        named(answer, {"A": "1", "B": "2"})
        classes([answer, "1", answer + "1"])
    assert time.process_time() - started < 20


@given(st.text(alphabet=string.printable + "°²√π，“", max_size=60))
def test_any_text(text: str) -> None:
    found = read(text)
    assert found.answer is None or found.answer.strip()
    assert (found.answer is None) == (found.status == "unparsed") or found.status == "undecided"
    form = normalise(text)
    assert normalise(form) == form
    assert equivalent(text, text) == bool(form)


_latex = st.lists(
    st.sampled_from([*"0123456789xyab+-*/^=(){}[],.$ ", r"\frac", r"\sqrt", r"\pi"]), max_size=20
).map("".join)


@settings(max_examples=50)
@given(_latex, _latex)
def test_any_pair_of_formulas(a: str, b: str) -> None:
    assert equivalent(a, b) == equivalent(b, a)


@given(st.fractions(max_denominator=1000), st.fractions(max_denominator=1000))
def test_numbers_are_compared_exactly(a, b) -> None:
    written = f"\\frac{{{a.numerator}}}{{{a.denominator}}}"
    assert equivalent(written, f"{b.numerator}/{b.denominator}") == (a == b)


def test_ten_thousand_plain_responses_need_no_child_and_no_time(monkeypatch) -> None:
    def child(*_: str) -> bool:
        raise AssertionError("asked the child about a plain answer")

    monkeypatch.setattr(_equivalence, "same", child)
    draw = random.Random(0)
    golds = ["42", "B", "3.5 cm", "\\frac{1}{3}", "1,000", "60^\\circ", "yes"]
    responses = [
        "Let us think. " * 40 + f"So \\boxed{{{draw.choice(golds)}}} + {i}" for i in range(10_000)
    ]
    started = time.process_time()
    right = sum(equivalent(read(r).answer or "", draw.choice(golds)) for r in responses)
    assert time.process_time() - started < 20
    assert 0 < right < 10_000


def test_what_takes_too_long_is_undecided_and_the_next_question_is_answered() -> None:
    assert _equivalence.same("99999999!", "5") is None
    assert _equivalence.same(r"\sqrt{12}", r"2\sqrt{3}") is True
    assert _equivalence.value(r"\frac{3}{4}") == 0.75


def test_a_long_name_of_the_temporary_folder_changes_no_verdict(tmp_path: Path) -> None:
    """The name of a socket cannot be as long as that of a file."""
    folder = tmp_path / ("long" * 30)
    folder.mkdir()
    code = (
        "from benchmarks.answers import _equivalence\n"
        "from benchmarks.saved import parallel\n"
        r"print(_equivalence.same(r'\sqrt{12}', r'2\sqrt{3}'))" + "\n"
        "parallel._choose_sockets_folder()\n"
        "from multiprocessing.connection import Listener; Listener(family='AF_UNIX').close()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"TMPDIR": str(folder)},
        cwd=Path(__file__).resolve().parents[2],
        capture_output=True,
        text=True,
    )
    assert (done.stdout, done.stderr) == ("True\n", "")


def test_a_server_that_is_gone_is_replaced() -> None:
    assert _equivalence.value(r"\sin(0)+1") == 1
    gone = _equivalence._server
    assert gone is not None
    gone.process.kill()
    gone.process.wait()
    assert _equivalence.value(r"\sin(0)+2") == 2  # its child lives on
    _equivalence._asker.close()
    assert _equivalence.value(r"\sin(0)+3") == 3
    assert _equivalence._server is not gone


def test_what_another_process_learned_is_not_asked_again() -> None:
    before = len(_equivalence.known())
    _equivalence.learn({("question",): 41})
    assert _equivalence.known(before) == {("question",): 41}
    assert _equivalence.value("question") == 41


def test_threads_are_answered() -> None:
    out: list[bool] = []
    pairs = [(rf"\sqrt{{{4 * i}}}", rf"2\sqrt{{{i}}}") for i in (2, 3, 5, 7)]
    threads = [threading.Thread(target=lambda p=p: out.append(equivalent(*p))) for p in pairs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert out == [True] * 4


def _in_worker(queue) -> None:
    queue.put(equivalent(r"\sqrt{44}", r"2\sqrt{11}"))


@pytest.mark.filterwarnings("ignore:.*use of fork.*:DeprecationWarning")
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_daemon_workers_are_answered(method: str) -> None:
    assert equivalent(r"\sqrt{40}", r"2\sqrt{10}")  # this process has a child, not to be shared
    context = multiprocessing.get_context(method)
    queue = context.Queue()
    worker = context.Process(target=_in_worker, args=(queue,), daemon=True)
    worker.start()
    assert queue.get() is True
    worker.join()
    assert worker.exitcode == 0
    assert equivalent(r"\sqrt{52}", r"2\sqrt{13}")
