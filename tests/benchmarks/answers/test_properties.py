"""What never changes how an answer is read: a thought before it, a reason behind it, the language
or the noun around it. And what is cut before its answer is never credited."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.base import Benchmark, Item
from tests.benchmarks.answers.corpus import Row, items, official, paid, rows

Judge = Callable[[Benchmark, Item, str], bool]
JUDGES: dict[str, Judge] = {
    "rules": lambda one, item, response: one.scorer("rules").score(item, response).correct,
    "reward": lambda one, item, response: paid(item, response),
}
judged = pytest.mark.parametrize("judge", JUDGES.values(), ids=JUDGES)

#: How models mark a thought.
THOUGHTS = (
    "<think>{}</think>",
    "<think>\n{}\n</think>\n\n",
    "<thinking>{}</thinking>\n",
    "<reasoning>{}</reasoning>\n",
    "◁think▷{}◁/think▷",
    "[THINK]{}[/THINK]",
    "<|begin_of_thought|>\n{}\n<|end_of_thought|>\n\n",
    "{}\n</think>\n\n",
)
REASONS = (
    "\n\nReason: this is what the figure shows.",
    "\n\nExplanation: it follows from what is given.",
    "\nI hope this helps!",
    "\n\n理由：由图可知。",
)


def in_turn(step: int = 1) -> Iterator[tuple[Row, Benchmark, Item]]:
    """Rows as items, each of one benchmark that can ask its question."""
    for number, row in enumerate(rows()[::step]):
        found = list(items(row))
        yield row, *found[number % len(found)]


def changed(said: list[str], n: int) -> str:
    return f"{len(said)} of {n} verdicts changed:\n" + "\n".join(said[:40])


@judged
def test_a_thought_before_a_response_changes_nothing(judge: Judge) -> None:
    """Whatever it holds: boxes and statements, of the gold and of another answer."""
    apart, n = [], 0
    for number, (row, one, item) in enumerate(in_turn(2)):
        other = next((a for a in row.choices if a != row.gold), "17")
        held = (
            f"Is it {other}? No, \\boxed{{{row.gold}}} fits. So the answer is {row.gold}.",
            f"So it is \\boxed{{{other}}}. <answer>{other}</answer> The answer is {other}.",
        )[number // len(THOUGHTS) % 2]
        thought = THOUGHTS[number % len(THOUGHTS)].format(held)
        n += 1
        if judge(one, item, thought + row.response) != judge(one, item, row.response):
            apart.append(f"{one.name} {thought!r} before {row}")
    assert not apart, changed(apart, n)


@judged
def test_a_reason_behind_a_response_changes_nothing(judge: Judge) -> None:
    apart, n = [], 0
    for number, (row, one, item) in enumerate(in_turn(2)):
        reason = REASONS[number % len(REASONS)]
        n += 1
        if judge(one, item, row.response + reason) != judge(one, item, row.response):
            apart.append(f"{one.name} {reason!r} behind {row}")
    assert not apart, changed(apart, n)


# ------------------------------------------------------------------------- language and noun

#: A frame in English and in Chinese, and whether what stands in it is the answer.
FRAMES = (
    ("The answer is {a}.", "答案是{a}。", True),
    ("Answer: {a}", "答案：{a}", True),
    ("Therefore, the answer is {a}.", "因此，答案是{a}。", True),
    ("The correct answer is {a}.", "正确答案是{a}。", True),
    ("So the final answer is \\boxed{{{a}}}.", "所以最终答案是\\boxed{{{a}}}。", True),
    ("The answer is {a}, not {b}.", "答案是{a}，不是{b}。", True),
    ("The answer is not {b} but {a}.", "答案不是{b}，而是{a}。", True),
    ("<think>Is it {b}?</think>The answer is {a}.", "<think>是{b}吗？</think>答案是{a}。", True),
    ("The answer is not {a}.", "答案不是{a}。", False),
    ("The answer is {a} or {b}.", "答案是{a}或{b}。", False),
    ("Is the answer {a}?", "答案是{a}吗？", False),
    ("I don't know whether it is {a}.", "我不知道是不是{a}。", False),
    ("I cannot determine the answer.", "无法确定答案。", False),
    ("<think>The answer is {a}.", "<think>答案是{a}。", False),
)
OF_OPTIONS = (
    ("I choose {a}.", "我选{a}。", True),
    ("The correct option is {a}.", "正确选项是{a}。", True),
    ("Option {a} is correct.", "选项{a}正确。", True),
    ("So choose {a}.", "故选{a}。", True),
    ("{a} is wrong.", "{a}错误。", False),
    ("I do not choose {a}.", "我不选{a}。", False),
)


def questions(kind: str) -> list[Row]:
    """A row of each question of a kind, as it stands first."""
    found: dict[tuple[str, str], Row] = {}
    for row in rows():
        if row.kind == kind:
            found.setdefault((row.question, str(row.choices)), row)
    return list(found.values())


@judged
def test_a_frame_means_the_same_in_english_and_chinese(judge: Judge) -> None:
    apart, n = [], 0
    for row in questions("choice"):
        if len(row.choices) == 2:  # to deny one of two is to choose the other
            continue
        one, item = next(items(row))
        for a, frame in product(row.choices, FRAMES + OF_OPTIONS):
            b = next(letter for letter in row.choices if letter not in (a, row.gold))
            for said in (frame[0], frame[1]):
                response = said.format(a=a, b=b)
                n += 1
                if judge(one, item, response) != (frame[2] and a == row.gold):
                    apart.append(f"{response!r} of {row.question!r}, gold {row.gold}")
    assert not apart, changed(apart, n)


@judged
@pytest.mark.parametrize("kind", ["int", "f1", "free"])
def test_a_frame_around_a_number_means_the_same_in_both(judge: Judge, kind: str) -> None:
    apart, n = [], 0
    for row in questions(kind):
        if not re.fullmatch(r"[1-9]\d*(\.\d+)?", row.gold):
            continue
        one, item = next(items(row))
        for a, frame in product((row.gold, "731"), FRAMES):
            for said in (frame[0], frame[1]):
                response = said.format(a=a, b="734")
                n += 1
                if judge(one, item, response) != (frame[2] and a == row.gold):
                    apart.append(f"{response!r} of {row.question!r}, gold {row.gold}")
    assert not apart, changed(apart, n)


COUNTED = (
    "{n} {noun}",
    "The answer is {n} {noun}.",
    "There are {n} {noun}.",
    "There are {n} {noun} in the figure.",
    "So we count {n} {noun} in total.",
    "**{n} {noun}**",
    "<answer>{n} {noun}</answer>",
    r"\boxed{{{n} \text{{ {noun}}}}}",
    r"\boxed{{{n}\ \mathrm{{{noun}}}}}",
    "Answer: {n} {noun}",
    "<|begin_of_box|>{n} {noun}<|end_of_box|>",
)
NOUNS = (
    "triangles", "ways", "cubes", "apples", "people", "small triangles", "different colours",
    "mice", "sheep", "paths", "squares", "sticks", "matches", "students", "candies", "edges",
    "faces", "vertices", "routes", "numbers", "pieces", "bars", "cats", "kangaroos", "ladybirds",
    "beavers", "marbles", "handshakes", "combinations", "rectangles", "dots", "units", "books",
    "girls", "boys",
)  # fmt: skip
#: Words that make another number of it, or ask for it.
MEASURES = re.compile(
    r"zero|one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|teen|ty\b|hundred|thousand|"
    r"illion|dozen|score|pair|half|quarter|third|percent|cent|more|less|over|under|plus|minus|times"
    r"|even|odd|sqrt|frac|sin|cos|tan|log|not|never"
)
COUNT = next(row for row in rows() if row.file == "number")


def counted(gold: str) -> tuple[Benchmark, Item]:
    """How many triangles there are."""
    return next(items(replace(COUNT, gold=gold)))


@judged
@pytest.mark.parametrize("frame", COUNTED)
def test_what_is_counted_changes_nothing(judge: Judge, frame: str) -> None:
    for noun in NOUNS:
        response = frame.format(n=12, noun=noun)
        assert judge(*counted("12"), response), response
        assert not judge(*counted("13"), response), response


@judged
@settings(max_examples=60, derandomize=True)
@given(
    noun=st.text("abcdefghijklmnopqrstuvwxyz", min_size=4, max_size=10).filter(
        lambda noun: not MEASURES.search(noun)
    ),
    n=st.integers(1, 99_999),
    frame=st.sampled_from(COUNTED[1:6]),
)
def test_a_noun_that_nobody_knows_changes_nothing(
    judge: Judge, noun: str, n: int, frame: str
) -> None:
    response = frame.format(n=n, noun=noun)
    assert judge(*counted(str(n)), response)
    assert not judge(*counted(str(n + 1)), response)


# -------------------------------------------------------------------------------------- cuts

#: What stands before an answer, in which a right one may be thought of but is not given.
BEFORE = (
    "The answer is ",
    "Looking at the figure, we see that the correct option is ",
    "So the final result is \\boxed{",
    "Final Answer: The final answer is $\\boxed{",
    "<think>{b} or {a}? So \\boxed{{{a}}}. The answer is {a}.</think>\n\nThe answer is ",
    "<think>\nWe find {a}.\n</think>\n<answer>",
    "It could be {b}, but no.\n</think>\n\nTherefore, the answer is ",
    "◁think▷The answer is {a}.◁/think▷The answer is ",
    "### Step by step\n\nWe look at the figure.\n\n### Final Answer\n\n",
    '{{"reason": "we look at the figure", "answer": "',
    "我们来看图。因此，本题的答案是",
    "<SUMMARY>A plan.</SUMMARY><REASONING>It is {a}.</REASONING><CONCLUSION>",
)


@judged
@pytest.mark.parametrize("before", BEFORE)
@pytest.mark.parametrize("kind", ["choice", "int", "free"])
def test_what_is_cut_before_its_answer_is_not_credited(
    judge: Judge, before: str, kind: str
) -> None:
    for row in questions(kind)[:3]:
        one, item = next(items(row))
        other = next((a for a in row.choices if a != row.gold), "731")
        text = before.format(a=row.gold, b=other) if re.search(r"\{[ab{]", before) else before
        for cut in range(len(text) + 1):
            assert not judge(one, item, text[:cut]), f"{text[:cut]!r} of {row.question!r}"


#: Numbers, in digits or words, and what rules options out.
TELLING = re.compile(
    r"\d|\bno|rule|[一二三四五六七八九十零]|\b(?:zero|one|two|three|four|five|six|seven|eight|nine|ten|"
    r"eleven|twelve|sixty|minus|half)\b",
    re.I,
)


def begins(row: Row) -> int | None:
    """Where a response first names the gold, or None: it says so in other words, after others are
    ruled out or a computation, from which a reader could tell."""
    response = row.response
    if row.kind == "choice":
        text = row.choices[row.gold]
        if text.casefold() in ("yes", "no", "true", "false"):
            return None
        found = re.search(rf"(?<![A-Za-z]){row.gold}(?![A-Za-z])", response, re.I)
        starts = [found.start()] if found else []
        starts += [at] if (at := response.casefold().find(text.casefold())) >= 0 else []
    else:
        starts = [at] if (at := response.find(row.gold)) >= 0 else []
    if not starts or TELLING.search(response[: min(starts)]):
        return None
    return min(starts)


@judged
def test_a_response_of_the_corpus_that_is_cut_before_its_answer_is_not_credited(
    judge: Judge,
) -> None:
    credited, n = [], 0
    for row, one, item in in_turn():
        if not row.right or not (start := begins(row)):
            continue
        for cut in {start, start // 2, max(0, start - 1), max(0, start - 4)}:
            n += 1
            if judge(one, item, row.response[:cut]):
                credited.append(f"{one.name} {row.response[:cut]!r} of {row}")
    assert n > 500
    assert not credited, changed(credited, n)


def test_the_corpus_asks_of_every_benchmark() -> None:
    names = {one.name for _, one, _ in in_turn()}
    assert names == {"mathvista", "wemath", "mathvision", "mathverse_text_only"}
    assert all(official(name) for name in names)
