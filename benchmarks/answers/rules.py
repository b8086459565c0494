"""The reader without a judge that every benchmark can use: an answer is read, and compared.

A benchmark says what it asked as an :class:`Asked`: the kind of answer, the options, the gold. The
answer is read wherever a response gives it (box, tag, statement, option text, bare value, the
sentence that concludes), judged as its kind says, and gets no credit where it is not there. A
verdict says what it rests on: ``ok``, an answer was read and judged; ``unparsed``, none was found;
``undecided``, one was found, and rules cannot tell whether it is right. A response that is a
program is ``undecided``: model output is never run.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from functools import wraps
from typing import Concatenate, Literal, ParamSpec

from benchmarks.answers.equality import MAX_ANSWER, choice, equivalent, rational
from benchmarks.answers.numerals import numbers, read_number
from benchmarks.answers.options import read_choice
from benchmarks.answers.prose import (
    CONCLUSION,
    answered,
    before_next_question,
    is_program,
    plain,
    sentences,
)
from benchmarks.answers.reading import MAX_RESPONSE, extract_with_rule
from benchmarks.base import Item, Status, Verdict

#: Part of the scorers' ids: raised by hand whenever a verdict can change.
VERSION = 2

#: Where a format says which part is the answer, that part alone is read.
MARKED = ("boxed", "tag")
_LIST = re.compile(r"\[[^\[\]]{0,400}\]")
_FORMULA = re.compile(r"\$([^$]{1,200})\$")
_BEHIND = re.compile(r"(?:\bis|\bare|\bbe|\bto|[=:≈])\s{0,3}([^=:≈]{1,100})$")
_DIGITS = re.compile(r"-?\d+(?:\.\d+)?")
_SYMBOLS = re.compile(r"[\\^√π]")
_PROSE = re.compile(r"[A-Za-z]{2,}\s+[A-Za-z]{2,}\s+[A-Za-z]{2,}")


Kind = Literal["choice", "number", "list", "formula", "text"]


@dataclass(frozen=True)
class Asked:
    """What an item asks for, as far as its answer is read and compared.

    ``question`` is its text without the options. ``gold`` is of ``kind``: the letter of one of
    ``options`` (a text by letter); a number, in ``unit``, compared as a value or, with
    ``decimals``, as it is written with so many; a list of numbers in brackets; a formula that means
    the same; a text of the same words.
    """

    kind: Kind
    question: str
    gold: str
    options: Mapping[str, str] = field(default_factory=dict)
    unit: str = ""
    decimals: int | None = None


P = ParamSpec("P")


def settled(
    judge: Callable[Concatenate[Item, str, P], Verdict],
) -> Callable[Concatenate[Item, str, P], Verdict]:
    """The judge on what a response says before the model goes on to ask its own next question;
    where that is no answer, on all of it."""

    @wraps(judge)
    def judged(item: Item, response: str, *args: P.args, **kwargs: P.kwargs) -> Verdict:
        whole = answered(response[-MAX_RESPONSE:])
        if is_program(whole):
            return Verdict(item.id, False, None, "undecided", "program")
        part = before_next_question(whole)
        verdict = judge(item, part, *args, **kwargs)
        if verdict.status == "unparsed" and part != whole:
            return judge(item, whole, *args, **kwargs)
        return verdict

    return judged


def score_choice(
    item: Item, response: str, options: Mapping[str, str], gold: str, question: str
) -> Verdict:
    """Right if the option that the response settles on is the gold's letter, or has its text."""
    extraction, rule = extract_with_rule(response)
    if extraction is None and rule in MARKED:
        return Verdict(item.id, False, None, "unparsed", rule)
    letter, how = None, rule
    if extraction is not None and rule != "bare":
        letter = _option(extraction, options)
    if letter is None and extraction is not None and rule in MARKED:
        letter, _ = read_choice(extraction, question, options)
    if letter is None:
        letter, how = read_choice(response, question, options)
        if rule in MARKED and how != "letter":  # "(B) ... so it is \\boxed{9.5}" says B
            return Verdict(item.id, False, extraction, "ok", rule)
    if letter is None and extraction is not None and rule == "bare":
        letter, how = _option(extraction, options), rule
    if letter is None:
        status: Status = "ok" if how == "none of the options" else "unparsed"
        return Verdict(item.id, False, extraction, "undecided" if how == "several" else status, how)
    right = letter == gold or options[letter] == options.get(gold) != ""
    return Verdict(item.id, right, letter, "ok", how)


def _option(answer: str, options: Mapping[str, str]) -> str | None:
    """The letter that an answer names. A number is compared with numbers only: what it would take
    to find that it equals an option such as ``\\sqrt{16}`` is not spent."""
    number = rational(answer)
    if number is None:
        return choice(answer, options)
    same = [letter for letter, text in options.items() if rational(text) == number]
    return same[0] if len({options[letter] for letter in same}) == 1 else None


def read_value(item: Item, response: str, question: str, unit: str) -> tuple[str | None, str]:
    """The number that a response gives, as it is written, and the rule that found it."""
    extraction, rule = extract_with_rule(response)
    if extraction is None and rule in MARKED:
        return None, rule
    if extraction is not None and rule != "statement":
        if rational(extraction) is not None:
            return extraction, rule
        found = list(numbers(plain(extraction)))
        if found and (rule in MARKED or len(found) == 1):
            return found[-1].text, rule
        if rule in MARKED:
            return extraction, rule
    return read_number(response, question, unit)


def value(text: str) -> Fraction | None:
    """The number that a text states."""
    known = rational(text)
    if known is None:
        found = list(numbers(plain(text)))
        known = found[0].value if len(found) == 1 else None
    return known


Reader = Callable[[str], tuple[str | None, str]]


def extract_or_read(response: str, read: Reader) -> tuple[str | None, str]:
    """What :func:`benchmarks.answers.reading.extract_with_rule` finds; where that is nothing, what
    ``read`` finds in the prose, which knows what was asked: under its own rule behind ``prose/``.

    An empty box or tag is no answer, whatever stands around it, and a program none either.
    """
    extraction, rule = extract_with_rule(response)
    if rule != "none":
        return extraction, rule
    whole = answered(response[-MAX_RESPONSE:])
    if is_program(whole):
        return None, "program"
    for part in dict.fromkeys((before_next_question(whole), whole)):
        said, rule = read(part)
        if said is not None:
            return said, f"prose/{rule}"
    return None, rule


def choice_reader(question: str, options: Mapping[str, str]) -> Reader:
    """Reads the letter of the option that a response settles on."""
    return lambda response: read_choice(response, question, options)


def number_reader(question: str, unit: str) -> Reader:
    """Reads a number, in digits."""

    def read(response: str) -> tuple[str | None, str]:
        said, rule = read_number(response, question, unit)
        if said is None or _DIGITS.fullmatch(said) or (number := value(said)) is None:
            return said, rule
        return str(number), rule

    return read


def formula_reader(question: str) -> Reader:
    """Reads the formula that a response ends with, else a number."""

    def read(response: str) -> tuple[str | None, str]:
        formula = _last_formula(response)
        if formula and _SYMBOLS.search(formula) and not _PROSE.search(formula):
            return formula, "formula"
        return number_reader(question, "")(response)

    return read


def list_reader(response: str) -> tuple[str | None, str]:
    """Reads the last list in brackets."""
    lists = _LIST.findall(plain(response[-20000:]))
    return (lists[-1], "list") if lists else (None, "none")


def score_number(item: Item, response: str, asked: Asked) -> Verdict:
    """Right if the number that the response gives is the gold, at its number of ``decimals``."""
    answer, rule = read_value(item, response, asked.question, asked.unit)
    if answer is None:
        return Verdict(item.id, False, None, "unparsed", rule)
    number = value(answer)
    if number is None:
        return Verdict(item.id, False, answer, "undecided", rule)
    if asked.decimals is None:
        return Verdict(item.id, number == value(asked.gold), answer, "ok", rule)
    try:
        right = str(round(float(number), asked.decimals)) == asked.gold
    except OverflowError:
        right = False
    return Verdict(item.id, right, answer, "ok", rule)


def score_list(item: Item, response: str, gold: str) -> Verdict:
    """Right if the last list in brackets has the gold's numbers."""
    extraction, rule = extract_with_rule(response)
    lists = _LIST.findall(extraction if rule in MARKED and extraction else plain(response[-20000:]))
    if not lists:
        return Verdict(item.id, False, None, "unparsed", "none")
    given, wanted = ([n.value for n in numbers(text)] for text in (lists[-1], gold))
    return Verdict(item.id, given == wanted, lists[-1], "ok", rule if rule in MARKED else "list")


def score_free_form(item: Item, response: str, gold: str) -> Verdict:
    """Right if the answer means the same as the gold: equal mathematics, or the same number where
    the response gives one in prose. ``undecided`` where either is prose that is no number."""
    if response.strip() == gold.strip():
        return Verdict(item.id, bool(gold.strip()), gold, "ok", "verbatim")
    extraction, rule = extract_with_rule(response)
    if extraction is None and rule in MARKED:
        return Verdict(item.id, False, None, "unparsed", rule)
    if extraction is not None and equivalent(extraction, gold):
        return Verdict(item.id, True, extraction, "ok", rule)
    prose = extraction is None or bool(_PROSE.search(extraction))
    if extraction is not None and (rule in MARKED or (not prose and value(extraction) is not None)):
        decided = len(extraction) <= MAX_ANSWER and not prose
        return Verdict(item.id, False, extraction, "ok" if decided else "undecided", rule)
    wanted = value(gold)
    if wanted is None:
        formula = _last_formula(response)
        if formula is not None and not _PROSE.search(formula):
            return Verdict(item.id, equivalent(formula, gold), formula, "ok", "formula")
        return Verdict(item.id, False, extraction, "undecided" if extraction else "unparsed", rule)
    said, rule = read_number(response, item.question, "")
    if said is None:
        return Verdict(item.id, False, extraction, "undecided" if extraction else "unparsed", rule)
    number = value(said)
    return Verdict(item.id, number == wanted, said, "undecided" if number is None else "ok", rule)


def _last_formula(response: str) -> str | None:
    """The last formula of the last sentence that concludes, or of the last one: between ``$``, or
    behind its ``=`` or verb."""
    lines = sentences(response)
    for line in [line for line in reversed(lines) if CONCLUSION.match(line)] + lines[-1:]:
        if found := _FORMULA.findall(line):
            return str(found[-1])
        if behind := _BEHIND.search(line):
            return behind[1].strip(" .")
    return None


def score_text(item: Item, response: str, gold: str) -> Verdict:
    """Right if the answer has the gold's words, whatever their case and the spaces between."""
    extraction, rule = extract_with_rule(response)
    if extraction is None:
        return Verdict(item.id, False, None, "unparsed", rule)
    return Verdict(item.id, _words(extraction) == _words(gold), extraction, "ok", rule)


def _words(text: str) -> list[str]:
    return text.strip(" .").casefold().split()


def reader(asked: Asked) -> Reader:
    """Reads an answer of this kind in prose."""
    if asked.kind == "choice":
        return choice_reader(asked.question, asked.options)
    if asked.kind == "number":
        return number_reader(asked.question, asked.unit)
    if asked.kind == "list":
        return list_reader
    return formula_reader(asked.question)


def judge_settled(item: Item, response: str, asked: Asked) -> Verdict:
    """As :func:`judge`, of a response that is cut to what it settles on."""
    if asked.kind == "choice":
        return score_choice(item, response, asked.options, asked.gold, asked.question)
    if asked.kind == "number":
        return score_number(item, response, asked)
    if asked.kind == "list":
        return score_list(item, response, asked.gold)
    if asked.kind == "text":
        return score_text(item, response, asked.gold)
    return score_free_form(item, response, asked.gold)


@settled
def judge(item: Item, response: str, asked: Asked) -> Verdict:
    """The verdict of the rules on a response, as the kind of answer says."""
    return judge_settled(item, response, asked)
