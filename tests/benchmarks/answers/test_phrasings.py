"""Every gold of whole benchmarks, put into one phrasing, is read as it is meant."""

from __future__ import annotations

import pytest

from tests.benchmarks.answers.phrasings import (
    DATA,
    RIGHT,
    SCORERS,
    SOURCES,
    UNANSWERED,
    WRONG,
    Phrasing,
    Share,
    share,
)

published = pytest.mark.skipif(not DATA.is_dir(), reason="no shared/data beside the repository")
#: Each so-many-th gold; all of them take minutes.
SOME = pytest.param(40, id="some")
ALL = pytest.param(1, marks=pytest.mark.slow, id="all")


def grouped(phrasings: tuple[Phrasing, ...]) -> list[object]:
    """A phrasing of a benchmark's choices, or of its answers of free form."""
    return [
        pytest.param(phrasing, name, choices, id=f"{phrasing.name}-{name}-{kind}")
        for phrasing in phrasings
        for name in SOURCES
        for choices, kind in ((True, "choices"), (False, "free"))
        if (phrasing.choice if choices else phrasing.free) and (choices or name != "wemath")
    ]


def few(n: int) -> int:
    """How many of n golds may go wrong: one in a hundred, or one that is written oddly."""
    return max(1, n // 100)


def shown(found: Share, marks: tuple[str, ...]) -> str:
    """The first of those that went wrong."""
    told = [line for line in found.told if line.startswith(marks)]
    return f"{len(told)} of {found.n}:\n" + "\n".join(told[:20])


@published
@pytest.mark.parametrize("every", [SOME, ALL])
@pytest.mark.parametrize("scorer", SCORERS)
@pytest.mark.parametrize(("phrasing", "name", "choices"), grouped(RIGHT))
def test_the_gold_is_credited(
    phrasing: Phrasing, name: str, choices: bool, scorer: str, every: int
) -> None:
    found = share(phrasing, name, scorer, every, choices)
    missed = found.n - found.credited
    assert missed <= few(found.n), shown(found, ("ok", "unparsed", "undecided"))


@published
@pytest.mark.parametrize("every", [SOME, ALL])
@pytest.mark.parametrize("scorer", SCORERS)
@pytest.mark.parametrize(("phrasing", "name", "choices"), grouped(UNANSWERED))
def test_no_answer_is_none(
    phrasing: Phrasing, name: str, choices: bool, scorer: str, every: int
) -> None:
    """It is not credited, and counts as none."""
    found = share(phrasing, name, scorer, every, choices)
    assert found.credited <= few(found.n), shown(found, ("credited",))
    if choices or name == "mathvista" or not phrasing.several:
        assert found.answered <= few(found.n), shown(found, ("ok", "credited"))


@published
@pytest.mark.parametrize("every", [SOME, ALL])
@pytest.mark.parametrize("scorer", SCORERS)
@pytest.mark.parametrize(("phrasing", "name", "choices"), grouped(WRONG))
def test_another_answer_is_wrong(
    phrasing: Phrasing, name: str, choices: bool, scorer: str, every: int
) -> None:
    found = share(phrasing, name, scorer, every, choices)
    assert found.credited <= few(found.n), shown(found, ("credited",))
