"""Every labelled response is credited as a careful reader would, by scorers and rewards alike."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from benchmarks.answers.asked import asked_of
from benchmarks.answers.reading import read
from benchmarks.base import Benchmark, Item
from tests.benchmarks.answers.corpus import (
    FIELDS,
    KINDS,
    ROWS,
    Row,
    files,
    items,
    paid,
    rows,
)

#: Who says whether a response is credited.
Judge = Callable[[Benchmark, Item, str], bool]
JUDGES: dict[str, Judge] = {
    "rules": lambda one, item, response: one.scorer("rules").score(item, response).correct,
    "reward": lambda one, item, response: paid(item, response),
}
#: Everywhere: as an item of every benchmark that can ask the row's question; else of one, in turn.
EVERYWHERE = pytest.param(True, marks=pytest.mark.slow, id="everywhere")
IN_TURN = pytest.param(False, id="in-turn")


def asked(file: str, everywhere: bool) -> Iterator[tuple[Row, Benchmark, Item]]:
    """The rows of a file as items."""
    for number, row in enumerate(row for row in rows() if row.file == file):
        found = list(items(row))
        for one, item in found if everywhere else [found[number % len(found)]]:
            yield row, one, item


def differing(said: list[str], of: int) -> str:
    """What a failure shows."""
    return f"{len(said)} of {of} differ:\n" + "\n".join(said)


@pytest.mark.parametrize("everywhere", [IN_TURN, EVERYWHERE])
@pytest.mark.parametrize("judge", JUDGES)
@pytest.mark.parametrize("file", files())
def test_a_response_is_credited_as_a_careful_reader_would(
    file: str, judge: str, everywhere: bool
) -> None:
    wrong, n = [], 0
    for row, one, item in asked(file, everywhere):
        if row.misread:
            continue
        n += 1
        if JUDGES[judge](one, item, row.response) != row.right:
            wrong.append(f"{one.name} {row}")
    assert not wrong, differing(wrong, n)


@pytest.mark.slow
@pytest.mark.parametrize("file", files())
def test_the_reward_pays_what_rules_credits(file: str) -> None:
    """What is trained on is what is measured, right or wrong."""
    apart, n = [], 0
    for row, one, item in asked(file, everywhere=True):
        n += 1
        credited = JUDGES["rules"](one, item, row.response)
        if credited != JUDGES["reward"](one, item, row.response):
            by = "rules" if credited else "the reward"
            apart.append(f"{one.name}, credited by {by} alone: {row}")
    assert not apart, differing(apart, n)


def test_what_is_no_answer_is_not_judged_as_one() -> None:
    """A refusal, a cut thought or an empty response is counted apart from wrong answers."""
    kinds = ("a refusal", "a cut thought", "no answer", "placeholders", "the first words")
    judged, n = [], 0
    for file in files():
        for row, one, item in asked(file, False):
            if row.why.startswith(kinds) and not row.right:
                verdict = one.scorer("rules").score(item, row.response)
                n += 1
                if verdict.status not in ("unparsed", "undecided"):
                    judged.append(f"{one.name}: {verdict.status} {verdict.extracted!r} {row}")
    assert len(judged) <= n / 50, differing(judged, n)


def test_what_is_known_to_be_misread_is_little_and_still_misread() -> None:
    known = [row for row in rows() if row.misread]
    assert len(known) <= len(rows()) / 100
    for row in known:
        found = [JUDGES["rules"](one, item, row.response) == row.right for one, item in items(row)]
        assert not all(found), f"read rightly now, take its mark away: {row}"


def test_the_default_scorer_is_the_one_that_is_right_most_often() -> None:
    assert {one.default_scorer for row in rows() for one, _ in items(row)} == {"rules"}


def test_the_corpus_is_sound() -> None:
    assert len(rows()) >= 1_000
    for path in ROWS.glob("*.jsonl"):
        lines = path.read_text(encoding="utf-8").splitlines()
        assert len(lines) <= 400, f"{path.name}: {len(lines)} rows; begin another file"
        for number, line in enumerate(lines, 1):
            assert json.loads(line).keys() <= FIELDS, f"{path.name}:{number}"
    for row in rows():
        assert row.kind in KINDS, row
        assert row.why, row
        assert (row.kind == "choice") == bool(row.choices), row
        assert not row.choices or row.gold in row.choices, row
        assert list(items(row)), f"no benchmark can ask {row}"


def test_no_response_is_labelled_twice() -> None:
    seen = Counter(
        (row.kind, row.question, tuple(row.choices.items()), row.gold, row.response)
        for row in rows()
    )
    assert [key for key, n in seen.items() if n > 1] == []


def test_about_half_of_the_responses_are_right() -> None:
    """To credit everything, or nothing, is no way to agree with the corpus."""
    assert 0.4 <= sum(row.right for row in rows()) / len(rows()) <= 0.6
    for kind in KINDS:
        right = [row.right for row in rows() if row.kind == kind]
        assert 0.3 <= sum(right) / len(right) <= 0.7, kind


def test_every_option_text_that_is_right_under_one_gold_is_wrong_under_another() -> None:
    """One answer is never right under two golds of a question."""
    right: dict[tuple[object, ...], str] = {}
    for row in rows():
        if row.right and row.kind == "choice":
            key = (row.question, tuple(row.choices.items()), row.response)
            assert right.setdefault(key, row.gold) == row.gold, row


def test_the_reader_never_looks_at_the_gold() -> None:
    """Another gold, and each response is read as before."""
    apart = []
    for row in rows():
        one, item = next(items(row))
        asked = asked_of(item.question, item.meta, item.answer)
        poisoned = replace(asked, gold=next((k for k in asked.options if k != asked.gold), "731"))
        if read(row.response, asked) != read(row.response, poisoned):
            apart.append(f"{one.name} {row}")
    assert not apart, differing(apart, len(rows()))
