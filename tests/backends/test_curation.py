"""What is kept of a model's own responses: each rule against small cases written out by hand."""

from __future__ import annotations

import io
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from backends import curation
from backends.base.stage import Curation
from backends.curation import Choice, Said, choose
from benchmarks.base import Item

ITEM = Item("q", "What is 3 + 4?", answer="7", images=(b"picture",))


def boxed(*answers: object) -> list[Said]:
    """Responses that differ in their words and box these answers; None boxes nothing."""
    return [
        Said(
            f"way {i}, which says too much to be read as an answer that stands bare"
            + f" \\boxed{{{a}}}" * (a is not None)
        )
        for i, a in enumerate(answers)
    ]


def keep(rule: str, said: list[Said], others: list[Said] | None = None, **settings: Any) -> Choice:
    return choose(Curation(keep=rule, **settings), ITEM, said, others or ())  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("answers", "per_question", "kept", "counts"),
    [
        ((7, 8, 7.0, "14/2"), 4, (0, 2, 3), {}),
        ((7, 8, 7, 7), 2, (0, 2), {}),
        ((8, 9, None), 4, (), {"none_correct": 1}),
        ((None, None), 4, (), {"none_correct": 1}),
    ],
)
def test_correct_keeps_what_agrees_with_the_label(
    answers: tuple[object, ...], per_question: int, kept: tuple[int, ...], counts: dict[str, int]
) -> None:
    found = keep("correct", boxed(*answers), per_question=per_question)
    assert found.demonstrations == kept
    assert +found.counts == counts


def test_without_a_label_nothing_is_correct() -> None:
    found = choose(Curation(keep="correct"), replace(ITEM, answer=" "), boxed(7, 7))
    assert found == Choice(counts=found.counts)
    assert found.counts == {"unlabelled": 1}


@pytest.mark.parametrize(
    ("answers", "kept", "counts"),
    [
        ((7, 8, 8, "8.0", None), (1, 2, 3), {}),
        ((None, 9, None), (1,), {}),
        ((None, None), (), {"no_answer": 1}),
        ((7, 8, 8, 7), (0, 3), {"ties": 1}),
    ],
)
def test_majority_keeps_what_agrees_with_the_vote(
    answers: tuple[object, ...], kept: tuple[int, ...], counts: dict[str, int]
) -> None:
    found = keep("majority", boxed(*answers), per_question=8)
    assert found.demonstrations == kept
    assert +found.counts == counts


@pytest.mark.parametrize("rule", ["majority", "judged", "ranked", "contrast", "described"])
@given(answer=st.text(max_size=8))
def test_only_correct_looks_at_the_label(rule: str, answer: str) -> None:
    said = boxed(7, 8, 8, 9)
    others = [Said("Yes Score: 3", True, -0.1), *[Said("No Score: 1", True, -0.1)] * 3]
    labels = (choose(_rule(rule), replace(ITEM, answer=a), said, others) for a in ("7", answer))
    assert len({(c.demonstrations, c.pairs) for c in labels}) == 1


def _rule(name: str) -> Curation:
    return Curation(keep=name, per_question=4)  # type: ignore[arg-type]


def test_what_the_length_limit_cut_is_never_learnt() -> None:
    said = [replace(s, finished=False) for s in boxed(7, 7)] + boxed(8)
    for rule in ("correct", "majority"):
        found = keep(rule, said)
        assert not found.demonstrations
        assert found.counts["cut"] == 1
    ranked = keep("ranked", said, [Said("Score: 5"), Said("Score: 4"), Said("Score: 0")])
    assert not ranked.pairs


def test_equal_texts_are_one_demonstration() -> None:
    said = boxed(7)[:1] * 3 + boxed(0, 7)[1:]
    assert keep("majority", said, per_question=8).demonstrations == (0, 3)


@pytest.mark.parametrize(
    ("text", "logp", "expected"),
    [
        ("Yes", -0.1, math.exp(-0.1)),
        (" yes, it is.", -2.0, math.exp(-2.0)),
        ("**Yes**", -0.5, math.exp(-0.5)),
        ("No", -0.1, 0.0),
        ("no.", -3.0, 0.0),
        ("Yesterday", -0.1, None),
        ("It is true", -0.1, None),
        ("", math.nan, None),
        ("\x00" * 9, -0.1, None),
    ],
)
def test_p_yes(text: str, logp: float, expected: float | None) -> None:
    assert curation.p_yes(Said(text, True, logp)) == expected


def test_judged_keeps_the_surest_above_the_threshold() -> None:
    sure = [("Yes", 0.75), ("Yes", 0.6), ("No", 0.9), ("Yes", 0.95), ("maybe", 0.9), ("Yes", 0.7)]
    judgements = [Said(text, True, math.log(p)) for text, p in sure]
    found = keep("judged", boxed(1, 2, 3, 4, 5, 6), judgements, per_question=9, threshold=0.7)
    assert found.demonstrations == (3, 0)
    assert +found.counts == {"unreadable_judgements": 1}
    none = keep("judged", boxed(1), [Said("No", True, -0.1)])
    assert +none.counts == {"none_judged_right": 1}
    unread = keep("judged", boxed(1, 2), [Said("what?"), Said("")])
    assert +unread.counts == {"not_judged": 1, "unreadable_judgements": 2}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Score: 4", 4),
        ("score 0", 0),
        ("It is clear. **Score:** 5", 5),
        ("Score: 1 at first, then Score: 3", 3),
        ("Score: 4/5", 4),
        ("4/5", 4),
        ("2", 2),
        ("Score: 9", None),
        ("Score: 45", None),
        ("Score: 4.5", None),
        ("Score: 4/10", None),
        ("12", None),
        ("five", None),
        ("", None),
    ],
)
def test_rating(text: str, expected: int | None) -> None:
    assert curation.rating(Said(text)) == expected


@given(st.text())
def test_hostile_judgements_are_read_or_not_but_never_raise(text: str) -> None:
    points = curation.rating(Said(text))
    assert points is None or 0 <= points <= 5
    p = curation.p_yes(Said(text, True, -1.0))
    assert p is None or 0 <= p <= 1


def scored(*points: object) -> list[Said]:
    return [Said(f"Score: {p}") for p in points]


@pytest.mark.parametrize(
    ("points", "per_question", "pairs", "ties"),
    [
        ((3, 5, 1, 5), 1, ((1, 2),), 0),
        ((3, 5, 1, 4), 2, ((1, 2), (3, 0)), 0),
        ((3, 5, 1, 4), 9, ((1, 2), (3, 0)), 0),
        ((3, 3, 3), 1, (), 1),
        (("?", 2, "?", 4), 1, ((3, 1),), 0),
        (("?", 2), 1, (), 1),
    ],
)
def test_ranked_pairs_best_and_worst(
    points: tuple[object, ...], per_question: int, pairs: tuple[tuple[int, int], ...], ties: int
) -> None:
    said = boxed(*range(len(points)))
    found = keep("ranked", said, scored(*points), per_question=per_question)
    assert found.pairs == pairs
    assert found.counts["ties"] == ties
    assert found.counts["unreadable_judgements"] == points.count("?")


def test_ranked_without_a_readable_score() -> None:
    assert keep("ranked", boxed(1, 2), scored("?", "?")).counts["not_judged"] == 1


def test_equal_texts_rated_apart_are_no_preference() -> None:
    assert not keep("ranked", boxed(1) * 2, scored(5, 0)).pairs


def test_contrast_pairs_descriptions_that_differ() -> None:
    good = [Said("A1"), Said("A2"), Said("A3", finished=False), Said("A4")]
    bad = [Said("A1"), Said("B9"), Said("B1"), Said("B2")]
    assert keep("contrast", good, bad, per_question=9).pairs == ((1, 1), (3, 3))
    assert keep("contrast", good[:1], bad[:1]).counts["no_contrast"] == 1
    blind = choose(Curation(keep="contrast"), replace(ITEM, images=()), [], [])
    assert blind.counts == {"no_picture": 1}


def test_described_keeps_answers() -> None:
    assert keep("described", boxed(None, 3, 4), per_question=1).demonstrations == (1,)
    assert keep("described", boxed(None)).counts["no_answer"] == 1


def test_what_a_text_says_is_never_taken_for_a_slot() -> None:
    filled = curation.fill(
        curation.JUDGEMENT, question="<response> <question>", response="<question>"
    )
    assert "Q: <response> <question>, A: <question>}" in filled


def test_genixers_judgement_is_the_published_prompt() -> None:
    moved = curation.fill(curation.DESCRIBED, question="Is <image> it?", description="<image>a dog")
    assert moved == "The picture shows: a dog\nIs <image> it?"  # what was written moves no picture
    assert curation.fill(curation.JUDGEMENT, question="X_q", response="X_a") == (
        "Here is a question-answer pair. Is {Q: X_q, A: X_a} true for this image? "
        "Please answer this question with Yes or No."
    )


def test_distortion_is_the_stated_mixture_of_signal_and_noise() -> None:
    rng = np.random.default_rng(0)
    pixels = rng.integers(96, 160, (64, 64, 3), dtype=np.uint8)
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG")
    noisy = curation.distorted(out.getvalue(), "0/q")
    assert noisy == curation.distorted(out.getvalue(), "0/q")
    assert noisy != curation.distorted(out.getvalue(), "1/q")
    seen = np.asarray(Image.open(io.BytesIO(noisy)), dtype=float) / 127.5 - 1
    given_ = pixels / 127.5 - 1
    inside = np.abs(seen) < 1  # the rest was cut at black and white
    rest = (seen - curation.SIGNAL * given_)[inside]
    assert 0.5 < inside.mean() < 0.8  # P(|noise| < 1 / 0.95) is 0.71
    assert abs(rest.mean()) < 0.05


def test_misleading_prompt_and_distorted_picture_are_about_even() -> None:
    misled = [curation.misled(replace(ITEM, id=f"q{i}"), 0) for i in range(1000)]
    assert 430 < sum(misled) < 570
    assert misled != [curation.misled(replace(ITEM, id=f"q{i}"), 1) for i in range(1000)]


def test_a_prompts_identity_covers_its_wording() -> None:
    from harness.plan.specs import Asks

    assert set(curation.FORMS) == set(Asks.__args__)  # type: ignore[attr-defined]
    hashes = {curation.wording("t", *forms) for forms in curation.FORMS.values()}
    assert len(hashes) == len(curation.FORMS)
