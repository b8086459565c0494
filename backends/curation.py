"""Training data that a model writes itself: what it is asked, and which of its responses are kept.

Pure rules over texts: asking is a step of the harness. Sources: rejection sampling (RFT, arXiv
2308.01825), LMSI (arXiv 2210.11610), Genixer (arXiv 2312.06731), SRLM (arXiv 2401.10020), STIC
(arXiv 2405.19716), all as MM-UPT compares them (arXiv 2505.22453 section 4.1 and appendix A.1).
"""

from __future__ import annotations

import hashlib
import io
import math
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from backends.base.stage import Curation
from backends.rewards.correctness import correct, labelled
from backends.rewards.majority import vote
from benchmarks.answers.asked import asked_of
from benchmarks.base import Item, Picture, unmarked

#: Genixer's question to the judge, verbatim as MM-UPT gives it (appendix A.1).
JUDGEMENT = (
    "Here is a question-answer pair. Is {Q: <question>, A: <response>} true for this image? "
    "Please answer this question with Yes or No."
)
#: MM-UPT scores SRLM's responses with a "meta-rewarding prompt" that it does not print; these words
#: are ours, after the additive scale of five points of arXiv 2401.10020.
RATING = (
    "Here is a question about this image and a response to it. Question: <question> Response: "
    "<response> Rate the response: one point each for addressing the question, for seeing what the "
    "image shows, for sound reasoning, for the right final answer and for being clear. Please "
    "answer with Score: followed by the points, from 0 to 5."
)
#: STIC's kinds of prompt; its own wording is of its benchmark's pictures, these words are ours.
DESCRIPTION = "Please describe everything that this picture shows, with all names and values."
MISLEADING = "Please describe this picture and add things that it does not show but could show."
DESCRIBED = "The picture shows: <description>\n<question>"

#: How much of a picture is left under the noise of a distorted one: the square root of a diffusion
#: model's cumulative signal (arXiv 2006.11239 equation 4), at about half of its way to noise.
SIGNAL = 0.3

#: The wording that each kind of asking puts into a template, beside the question.
FORMS: dict[str, tuple[str, ...]] = {
    "question": (),
    "description": (DESCRIPTION,),
    "contrast": (DESCRIPTION, MISLEADING, f"signal {SIGNAL}"),
    "described": (DESCRIBED,),
    "judgement": (JUDGEMENT,),
    "rating": (RATING,),
}

_SLOT = re.compile(r"<(question|response|description)>")
_VERDICT = re.compile(r"\W*(yes|no)\b", re.IGNORECASE)
_SCORE = re.compile(r"\bscore\b\W{0,6}([0-5])(?![\d.]|\s*/\s*(?!5))", re.IGNORECASE)
_BARE_SCORE = re.compile(r"\W*([0-5])(?:\s*/\s*5)?\W*")


def fill(form: str, **texts: str) -> str:
    """The form with its slots filled, once: what a text says is never taken for a slot, nor what a
    model wrote for the place of a picture."""
    written = {name: text if name == "question" else unmarked(text) for name, text in texts.items()}
    return _SLOT.sub(lambda slot: written[slot.group(1)], form)


def wording(*forms: str) -> str:
    """Part of a result's identity: 12 hex digits over the exact wording."""
    return hashlib.sha256("\0".join(forms).encode()).hexdigest()[:12]


def distorted(picture: Picture, seed: str) -> bytes:
    """The picture as a diffusion process leaves it, PNG: x' = a x + sqrt(1 - a^2) noise with a =
    ``SIGNAL``, on pixels scaled to [-1, 1]. The noise is a function of ``seed``."""
    import numpy as np
    from PIL import Image

    from benchmarks.data.pictures import read_picture

    pixels = np.asarray(read_picture(picture), dtype=np.float64)
    key = hashlib.sha256(seed.encode()).digest()
    noise = np.random.Generator(np.random.Philox(key=int.from_bytes(key[:16], "little")))
    scaled = SIGNAL * (pixels / 127.5 - 1)
    scaled += math.sqrt(1 - SIGNAL**2) * noise.standard_normal(pixels.shape)
    out = io.BytesIO()
    Image.fromarray(((scaled + 1) * 127.5).clip(0, 255).astype(np.uint8)).save(out, "PNG")
    return out.getvalue()


def misled(item: Item, seed: int) -> bool:
    """Whether the rejected description of this question's picture comes from the misleading prompt;
    else from the distorted picture. STIC has both kinds; their shares here are even."""
    return bool(hashlib.sha256(f"{seed}/{item.id}".encode()).digest()[0] % 2)


@dataclass(frozen=True)
class Said:
    """One response of a model: its text, whether it ended by itself, and the log-probability of its
    first token (NaN: not known)."""

    text: str
    finished: bool = True
    first_logp: float = math.nan


@dataclass(frozen=True)
class Choice:
    """What is kept of one question: indices of its responses, best first, or pairs (chosen,
    rejected); and what was seen, to be added up over questions."""

    demonstrations: tuple[int, ...] = ()
    pairs: tuple[tuple[int, int], ...] = ()
    counts: Counter[str] = field(default_factory=Counter)


def p_yes(judgement: Said) -> float | None:
    """P(Yes) of a greedy judgement; None where it says neither Yes nor No.

    The probability of its first token where that begins a Yes, which is the whole word in Qwen's
    vocabulary; 0 where it begins a No: P(Yes) is then below one half, and Genixer keeps nothing
    whose likeliest judgement is No.
    """
    said = _VERDICT.match(judgement.text)
    if said is None:
        return None
    return math.exp(judgement.first_logp) if said.group(1).lower() == "yes" else 0.0


def rating(judgement: Said) -> int | None:
    """The points that a judgement gives, 0 to 5; None where it gives none. The last score counts.

    >>> rating(Said("It names both bars. Score: 4")), rating(Said("3")), rating(Said("nine"))
    (4, 3, None)
    """
    if found := _SCORE.findall(judgement.text):
        return int(found[-1])
    bare = _BARE_SCORE.fullmatch(judgement.text)
    return int(bare.group(1)) if bare else None


def choose(
    rule: Curation, item: Item, said: Sequence[Said], judgements: Sequence[Said] = ()
) -> Choice:
    """What ``rule`` keeps of a question's responses. ``judgements`` are as many as ``said`` where
    the rule judges or ranks; for ``contrast`` they are the rejected descriptions.

    A response that was cut by the length limit is never kept: it would teach to stop anywhere. Of
    equal texts the first counts. The label is looked at by ``correct`` alone.
    """
    return _RULES[rule.keep](rule, item, said, judgements)


def _correct(rule: Curation, item: Item, said: Sequence[Said], _: Sequence[Said]) -> Choice:
    asked = labelled(item.question, item.meta, item.answer)
    if asked is None:
        return Choice(counts=Counter(unlabelled=1))
    right = correct(tuple(s.text for s in said), asked)
    return _kept(rule, said, [i for i, each in enumerate(right) if each], "none_correct")


def _majority(rule: Curation, item: Item, said: Sequence[Said], _: Sequence[Said]) -> Choice:
    poll = vote(tuple(s.text for s in said), asked_of(item.question, item.meta))
    if poll.winning is None:
        return Choice(counts=Counter(no_answer=1))
    winners = [i for i, member in enumerate(poll.members) if member == poll.winning]
    made = _kept(rule, said, winners, "cut")
    return replace(made, counts=made.counts + Counter(ties=int(poll.tie)))


def _judged(rule: Curation, item: Item, said: Sequence[Said], judgements: Sequence[Said]) -> Choice:
    sure = [p_yes(judgement) for judgement in judgements]
    unreadable = Counter(unreadable_judgements=sum(p is None for p in sure))
    if all(p is None for p in sure):
        return Choice(counts=unreadable + Counter(not_judged=1))
    passed = [i for i, p in enumerate(sure) if p is not None and p > rule.threshold]
    best = sorted(passed, key=lambda i: -(sure[i] or 0.0))
    made = _kept(rule, said, best, "none_judged_right")
    return replace(made, counts=made.counts + unreadable)


def _ranked(rule: Curation, item: Item, said: Sequence[Said], judgements: Sequence[Said]) -> Choice:
    points = [rating(judgement) for judgement in judgements]
    counts = Counter(unreadable_judgements=sum(p is None for p in points))
    rated = [
        (p, i)
        for i, p in enumerate(points)
        if p is not None and said[i].finished and said[i].text.strip()
    ]
    if not rated:
        return Choice(counts=counts + Counter(not_judged=1))
    best = sorted(rated, key=lambda pair: (-pair[0], pair[1]))
    worst = sorted(rated)
    pairs = tuple(
        (up[1], down[1])
        for up, down in zip(best, worst, strict=True)
        if up[0] > down[0] and said[up[1]].text != said[down[1]].text
    )[: rule.per_question]
    return Choice(pairs=pairs, counts=counts + Counter(ties=int(not pairs)))


def _contrast(rule: Curation, item: Item, said: Sequence[Said], rejected: Sequence[Said]) -> Choice:
    if not item.images:
        return Choice(counts=Counter(no_picture=1))
    pairs = tuple(
        (i, i)
        for i, (good, bad) in enumerate(zip(said, rejected, strict=True))
        if good.finished and bad.finished and good.text.strip() and good.text != bad.text
    )[: rule.per_question]
    return Choice(pairs=pairs, counts=Counter(no_contrast=int(not pairs)))


def _described(rule: Curation, item: Item, said: Sequence[Said], _: Sequence[Said]) -> Choice:
    answered = vote(tuple(s.text for s in said), asked_of(item.question, item.meta)).answers
    return _kept(rule, said, [i for i, a in enumerate(answered) if a is not None], "no_answer")


_RULES: dict[str, Callable[[Curation, Item, Sequence[Said], Sequence[Said]], Choice]] = {
    "correct": _correct,
    "majority": _majority,
    "judged": _judged,
    "ranked": _ranked,
    "contrast": _contrast,
    "described": _described,
}


def _kept(rule: Curation, said: Sequence[Said], passed: Sequence[int], reason: str) -> Choice:
    """The first ``per_question`` of the responses that passed; ``reason`` counts a question of
    which none did, and ``cut`` one whose only such responses were cut by the length limit."""
    whole = [i for i in passed if said[i].finished]
    texts = dict.fromkeys(said[i].text for i in whole)
    first = {said[i].text: i for i in reversed(whole)}
    kept = tuple(first[text] for text in texts)[: rule.per_question]
    if kept:
        return Choice(kept)
    return Choice(counts=Counter({"cut" if passed else reason: 1}))
