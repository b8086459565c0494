# ruff: noqa: E501  (a phrasing a line)
r"""Whole benchmarks put into one phrasing: every gold, said as a model would say it.

``RIGHT`` phrasings answer, and what they answer is the gold: all but a few golds must be credited.
``UNANSWERED`` ones repeat the question, refuse, hedge or are cut: next to none may be credited, and
they count as ``unparsed`` or ``undecided``, not as wrong answers; but where anything may be asked
for, "3 or 4" and "more than 3" are a set and an inequality, and wrong ones. ``WRONG`` ones give another
answer.

``python -m tests.benchmarks.answers.phrasings`` prints the table: a phrasing a row, the share
credited by ``rules`` and by the default scorer on every benchmark. ``--every 10`` takes each tenth
item.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from benchmarks.base import Benchmark, Item
from benchmarks.official.golds import gold_exceptions
from tests.benchmarks.answers.corpus import LETTERS, official

DATA = Path(__file__).resolve().parents[3].parent / "shared" / "data"
SCORERS = ("rules", "official+extract")
#: A benchmark, and where its golds lie below ``DATA``.
SOURCES: Mapping[str, str] = {
    "mathvista": "mathvista/bard/output_bard.json",
    "wemath": "wemath/testmini.json",
    "mathverse_text_only": "mathverse/testmini_text_only.json",
    "mathvision": "mathvision/test.jsonl",
}
#: An option that a refusal could be taken for. We-Math's "No correct answer" is said otherwise.
_UNDECIDED = re.compile(
    r"cannot|can't|unable|\bnot\b|insufficient|unknown|undetermined|\bnone\b|depends|impossible|无法|不能|不确定",
    re.I,
)
_COMMANDS = re.compile(r"\\(?:text|mathrm)\s*\{[^{}]*\}|\\[a-zA-Z]+")
_LEFT_SIDE = re.compile(r"^[A-Za-z. ]+=")
_WORD = re.compile(r"(?i)\b(?!units?\b|litres?\b)[a-z]{3,}")
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?")


@dataclass(frozen=True)
class Gold:
    """A gold, and what else a phrasing may name: ``other`` is wrong. Of a choice both are letters,
    and ``text`` and ``other_text`` what the options say."""

    item: Item
    gold: str
    other: str
    question: str
    options: Mapping[str, str] = field(default_factory=dict, hash=False)

    @property
    def text(self) -> str:
        return self.options[self.gold]

    @property
    def other_text(self) -> str:
        return self.options[self.other]

    @property
    def said(self) -> str:
        """The gold in a sentence: a formula between dollars."""
        return f"${self.gold}$" if re.search(r"[\\^_{]", self.gold) else self.gold

    @property
    def count(self) -> bool:
        """Whether things could be counted so."""
        return self.gold.isdigit() and not self.item.meta.get("unit")

    @property
    def plain(self) -> bool:
        """Whether it is a number in digits."""
        return bool(_NUMBER.fullmatch(self.gold))


Make = Callable[[Gold], str | None]


@dataclass(frozen=True)
class Phrasing:
    """One way to say it; None where a gold cannot be said so."""

    name: str
    choice: Make | None = None
    free: Make | None = None
    #: Where anything may be asked for, it is an answer of its own: a set, a ratio, an inequality.
    several: bool = False

    def of(self, gold: Gold) -> str | None:
        make = self.choice if gold.options else self.free
        return make(gold) if make else None


def _named(gold: Gold) -> bool:
    """Whether an option's text says which option it is."""
    texts = [text.strip().casefold() for text in gold.options.values()]
    own = gold.text.strip().casefold()
    return len(own) > 1 and texts.count(own) == 1 and sum(own in text for text in texts) == 1


def _same(name: str, make: Callable[[Gold, str], str], several: bool = False) -> Phrasing:
    """A phrasing that takes a letter as it takes a value."""
    return Phrasing(name, lambda g: make(g, g.gold), lambda g: make(g, g.said), several)


def _bare(name: str, make: Make, several: bool = False) -> Phrasing:
    """A phrasing that takes a letter, or the formula without its dollars."""
    return Phrasing(name, make, make, several)


def _refusable(gold: Gold) -> bool:
    """Whether no option is itself that nothing can be said."""
    return not any(_UNDECIDED.search(text) for text in gold.options.values())


def _refusal(said: str) -> Phrasing:
    return _bare(f"refusal: {said}", lambda g: said if _refusable(g) else None)


# fmt: off
RIGHT: tuple[Phrasing, ...] = (
    _same("thought with another box, then prose", lambda g, a: f"<think>At first I get \\boxed{{{g.other}}}. Let me check that again.</think>\n\nThe answer is {a}."),
    _same("Answer is X, as ... shows", lambda g, a: f"Answer is {a}, as the figure shows."),
    _same("The answer is X because of the figure", lambda g, a: f"The answer is {a} because of the figure."),
    _same("Chinese: 应选X, 应填X", lambda g, a: f"应选{a}。" if g.options else f"应填{a}。"),
    Phrasing("count: the answer is N of them in total", free=lambda g: f"the answer is {g.gold} of them in total" if g.count else None),
    Phrasing("count: box with a noun", free=lambda g: f"\\boxed{{{g.gold} \\text{{ triangles}}}}" if g.count else None),
    _bare("box", lambda g: rf"\boxed{{{g.gold}}}"),
    _bare("display with a box", lambda g: f"So the result is\n\n\\[\n\\boxed{{{g.gold}}}\n\\]"),
    _bare("Minerva", lambda g: rf"Final Answer: The final answer is $\boxed{{{g.gold}}}$. I hope it is correct."),
    _bare("thought with another box, then a box, then prose", lambda g: f"<think>Is it \\boxed{{{g.other}}}? No.</think>\n\nThe result is \\boxed{{{g.gold}}}. This agrees with the figure."),
    _bare("GLM box", lambda g: f"<think>Is it {g.other}? No.</think><|begin_of_box|>{g.gold}<|end_of_box|>"),
    _same("tag", lambda g, a: f"<answer>{a}</answer>"),
    _same("thought, then a tag", lambda g, a: f"<think>The answer could be {g.other}, or \\boxed{{{g.other}}}.</think>\n<answer>{a}</answer>"),
    _same("tag, then a thought", lambda g, a: f"<answer>{a}</answer>\n<think>\\boxed{{{g.other}}} would need another figure.</think>"),
    _same("Kimi", lambda g, a: f"◁think▷Is it {g.other}? No.◁/think▷The answer is {a}."),
    _same("Qwen3: </think> without its beginning", lambda g, a: f"Maybe the answer is {g.other}. No, that is not right.\n</think>\n\nThe answer is {a}."),
    _same("bold statement", lambda g, a: f"Looking at the figure, the rest follows.\n\n**Answer: {a}**"),
    _same("heading", lambda g, a: f"### Final Answer\n\n{a}"),
    _same("#### X", lambda g, a: f"We read it off the figure.\n#### {a}"),
    _same("bare", lambda g, a: a),
    _same("The correct answer is: **X**", lambda g, a: f"The correct answer is: **{a}**"),
    _bare("JSON", lambda g: json.dumps({"reason": "see the figure", "answer": g.gold})),
    _same("Chinese: 答案是X", lambda g, a: f"由图可知，本题的正确答案是{a}。"),
    _same("Chinese: 故答案为：X", lambda g, a: f"故答案为：{a}．"),
    _same("answer first, then its reason", lambda g, a: f"{a}\n\nReason: this is what the figure shows."),
    _same("table that ends with the answer", lambda g, a: f"| | result |\n|---|---|\n| first guess | {g.other} |\n| **answer** | **{a}** |\n\nSo the answer is {a}."),
    _same("chat mark behind it", lambda g, a: f"The answer is {a}.<|im_end|>"),
    Phrasing("(X) text", lambda g: f"({g.gold}) {g.text}"),
    Phrasing("X - text", lambda g: f"{g.gold} - {g.text}"),
    Phrasing("X. text, then its reason", lambda g: f"{g.gold}. {g.text}\n\nReason: {g.other} does not agree with the figure."),
    Phrasing("box with letter and text", lambda g: f"\\boxed{{{g.gold}. {g.text}}}" if g.text.count("{") == g.text.count("}") else None),
    Phrasing("I would choose option X", lambda g: f"I would choose option {g.gold}."),
    Phrasing("Option X is correct", lambda g: f"Option {g.gold} is correct."),
    Phrasing("X is the correct answer", lambda g: f"{g.gold} is the correct answer."),
    Phrasing("We-Math's form", lambda g: f"<Thought process>: <<see the figure>> <Answer>: <<{g.gold}>>"),
    Phrasing("others ruled out", lambda g: f"{g.other} is wrong, so the answer is {g.gold}."),
    Phrasing("text in a sentence", lambda g: f"The answer is {g.text}." if _named(g) else None),
    Phrasing("text in a box", lambda g: f"\\boxed{{{g.text.replace('$', '')}}}" if _named(g) and g.text.isascii() and "\\" not in g.text else None),
    Phrasing("money", free=lambda g: f"The answer is \\${g.gold}." if g.plain and "-" not in g.gold else None),
    Phrasing("= value at the end", free=lambda g: f"Adding up all parts of the figure, we get\n\n$$a + b = {g.gold}$$" if "=" not in g.gold else None),
    Phrasing("There are N", free=lambda g: f"There are {g.gold} triangles in the figure." if g.count else None),
    Phrasing("So we get N as the result", free=lambda g: f"So we get {g.said} as the result." if g.plain else None),
)

UNANSWERED: tuple[Phrasing, ...] = (
    _same("cut thought that states it", lambda g, a: f"<think>The figure shows it, so the answer is {a}. But wait, let me check"),
    _bare("cut thought with a box", lambda g: f"<think>So it is \\boxed{{{g.gold}}}. Hmm, is that right? In the figure"),
    _bare("cut thought that repeats the question", lambda g: f"<think>The question is: {g.question} Let me look at"),
    _same("thought alone", lambda g, a: f"<think>The answer is {a}.</think>"),
    _bare("the question again", lambda g: g.item.question),
    _bare("the question again, without its options", lambda g: g.question),
    *(
        _refusal(said)
        for said in ("I don't know.", "nan", "null", "N/A", "unknown", "I'm sorry, but I can't assist with that.", "I cannot determine the answer from the image.", "The image is not provided, so I cannot answer the question.", "无法确定。", r"\boxed{}", r"\boxed{\text{unknown}}", "<answer></answer>", "<answer>I am not sure</answer>", "The answer cannot be determined.")
    ),
    _bare("refusal that repeats the question", lambda g: None if not _refusable(g) else f"I'm sorry, I cannot answer the question \"{g.question}\" without the image."),
    _same("hedge: X or Y", lambda g, a: f"The answer is {a} or {g.other}.", several=True),
    _same("hedge: Y or X", lambda g, a: f"Either {g.other} or {a}.", several=True),
    _bare("hedge in a box", lambda g: rf"\boxed{{{g.gold} \text{{ or }} {g.other}}}", several=True),
    _same("hedge in a tag", lambda g, a: f"<answer>{g.other} or {a}</answer>", several=True),
    _bare("cut before the answer", lambda g: "Looking at the figure, we find that the answer is"),
    Phrasing("list of the options", lambda g: "\n".join(f"{letter}. {text}" for letter, text in g.options.items())),
    Phrasing("list of the options in a line", lambda g: "The options are " + ", ".join(f"({letter}) {text}" for letter, text in g.options.items()) + "."),
    Phrasing("letters of the options", lambda g: ", ".join(g.options)),
    _same("denial", lambda g, a: f"The answer is not {a}."),
    Phrasing("range", free=lambda g: f"It is between {_less(g)} and {g.gold}." if g.plain else None, several=True),
    Phrasing("range in a box", free=lambda g: f"\\boxed{{{_less(g)} \\text{{ to }} {g.gold}}}" if g.plain else None, several=True),
    Phrasing("bound", free=lambda g: f"The answer is more than {g.gold}." if g.plain else None, several=True),
    Phrasing("bound in a box", free=lambda g: f"\\boxed{{> {g.gold}}}" if g.plain else None, several=True),
)

WRONG: tuple[Phrasing, ...] = (
    _same("another answer", lambda g, a: f"The answer is {g.other}."),
    _bare("another answer in a box", lambda g: rf"\boxed{{{g.other}}}"),
    _same("right in the thought, another behind it", lambda g, a: f"<think>The answer is {a}, \\boxed{{{g.gold}}}.</think>\n\nThe answer is {g.other}."),
    _same("corrected to another", lambda g, a: f"The answer is {a}. Wait, that is wrong. The answer is {g.other}."),
    _same("another, not the right one", lambda g, a: f"The answer is {g.other}, not {a}."),
)
# fmt: on


def _less(gold: Gold) -> str:
    return str(int(float(gold.gold)) - 3)


@cache
def golds(name: str) -> tuple[Gold, ...]:
    """The golds of a benchmark that a phrasing can say."""
    one = official(name)
    source = DATA / SOURCES[name]
    if name == "mathvista":
        rows = json.loads(source.read_text(encoding="utf-8")).values()
        loaded = one.items(source.name, ((f"row {n}", row) for n, row in enumerate(rows)))
    else:
        loaded = one.load_text(source)
    return tuple(gold for item in loaded if (gold := _gold(name, item)) is not None)


def _gold(name: str, item: Item) -> Gold | None:
    question = item.question.partition("\nChoices:")[0].partition("\n(A)")[0]
    options = _options(name, item)
    if options:
        letter = _letter(item.answer, options)
        if name == "wemath":
            question = item.meta["text"]
        letters = {text.strip().strip("()").upper(): letter for letter, text in options.items()}
        if letter is None or any(letters.get(a, a) != a for a in options):
            return None  # several are right, or one option's text is another's letter
        other = next(a for a in options if a != letter and options[a] != options[letter])
        return Gold(item, letter, other, question, options)
    gold = re.sub(r"\$|\\\[|\\\]\.?", "", item.answer).replace("掳", "°").strip()
    if boxed := re.fullmatch(r"\\boxed\{(.*)\}", gold):
        gold = boxed[1]
    value = _LEFT_SIDE.sub("", _COMMANDS.sub(" ", gold))
    if not gold or "\n" in gold or (re.search(r"\d", value) and _WORD.search(value)):
        return None  # several lines, or a sentence with numbers
    return Gold(item, gold, "17" if gold != "17" else "19", question)


def _options(name: str, item: Item) -> dict[str, str]:
    if name == "mathverse_text_only" and item.meta["question_type"] != "multi-choice":
        return {}
    given = item.meta.get("choices") if name == "mathvista" else item.meta.get("options")
    if isinstance(given, Mapping):
        return dict(given)
    return dict(zip(LETTERS, given or (), strict=False))


def _letter(answer: str, options: Mapping[str, str]) -> str | None:
    bare = answer.strip("() ")
    if bare in options:
        return bare
    return next((letter for letter, text in options.items() if text == answer), None)


@dataclass(frozen=True)
class Share:
    """How many of ``n`` golds in one phrasing are credited, and how many were read as an answer."""

    n: int
    credited: int
    answered: int
    told: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{100 * self.credited / self.n:.1f}" if self.n else ""


def share(
    phrasing: Phrasing, name: str, scorer: str, every: int = 1, choices: bool | None = None
) -> Share:
    """The share of a benchmark's golds. ``told`` are the credited ones and the others, in words."""
    one: Benchmark = official(name)
    judge = one.scorer(scorer)
    unreachable = gold_exceptions(name, scorer)
    n = credited = answered = 0
    told: list[str] = []
    for gold in golds(name)[::every]:
        if gold.item.id in unreachable or choices not in (None, bool(gold.options)):
            continue
        said = phrasing.of(gold)
        if said is None:
            continue
        verdict = judge.score(gold.item, said)
        n += 1
        credited += verdict.correct
        answered += verdict.status == "ok"
        mark = "credited" if verdict.correct else verdict.status
        told.append(
            f"{mark} {gold.item.id} gold {gold.gold}: {said[-160:]!r} -> {verdict.extracted!r}"
        )
    return Share(n, credited, answered, tuple(told))


def _table(phrasings: Sequence[Phrasing], every: int, groups: Sequence[tuple[str, bool]]) -> None:
    for phrasing in phrasings:
        cells = []
        for name, choices in groups:
            pair = [share(phrasing, name, scorer, every, choices) for scorer in SCORERS]
            cells.append(" / ".join(map(str, pair)) if pair[0].n else "")
        print(f"| {phrasing.name} | " + " | ".join(cells) + " |", flush=True)


def groups() -> Iterator[tuple[str, bool]]:
    """The benchmarks, by whether they offer options."""
    for name in SOURCES:
        for choices in (True, False):
            if any(bool(gold.options) == choices for gold in golds(name)):
                yield name, choices


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    asked.add_argument("--every", type=int, default=1, help="take each so-many-th item")
    every = asked.parse_args().every
    shown = list(groups())
    sizes = [sum(bool(g.options) == kind for g in golds(name)[::every]) for name, kind in shown]
    heads = [f"{name}, {'choices' if kind else 'free form'}" for name, kind in shown]
    for title, phrasings in (("right", RIGHT), ("unanswered", UNANSWERED), ("wrong", WRONG)):
        print(f"\n% credited ({' / '.join(SCORERS)}): {title}\n")
        print(
            "| phrasing | "
            + " | ".join(f"{h} ({n})" for h, n in zip(heads, sizes, strict=True))
            + " |"
        )
        print("|---|" + "---|" * len(heads))
        _table(phrasings, every, shown)


if __name__ == "__main__":
    main()
