"""The one reader: which answer a response gives, if any.

Rewards, votes, maj@k and every scorer that starts from a response ask it; what differs between
scorers is which answers they call equal. Thoughts are not read. Then the places are asked in turn:
answer tags, boxes, statements ("the answer is"), a response that is nothing else, prose. What names
no option and states no value is not final, and the next place is asked. A refusal, a hedge ("3 or
4"), a range, a denial and a repeated question are no answers.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

from benchmarks.answers import candidates
from benchmarks.answers.asked import Asked, named, unasked
from benchmarks.answers.candidates import MAX_RESPONSE, Candidate
from benchmarks.answers.equality import MAX_ANSWER
from benchmarks.answers.numerals import in_words, is_scaled, leading_number, read_number
from benchmarks.answers.options import read_choice
from benchmarks.answers.prose import (
    CONCLUSION,
    REFUSAL,
    affirmed,
    before_next_question,
    full_width,
    is_bound,
    is_cut,
    is_hedged,
    is_placeholder,
    is_program,
    is_prose,
    plain,
    sentences,
)
from benchmarks.answers.quantities import compute
from benchmarks.base import Status

_LIST = re.compile(r"\[[^\[\]]{0,400}\]")
_LISTED = re.compile(
    r"(?:^|\b(?:are|is|be|marks|numbers?)\b|[:=])[\s$({\[【]{0,6}"
    r"(-?\d[\d.]{0,15}(?:\s{0,3}(?:[,;、]\s{0,3}(?:and\s)?|\band\s)\s{0,3}-?\d[\d.]{0,15}){1,40})"
    r"[\s$)}\]】.]*$"
)
_FORMULA = re.compile(r"\$([^$]{1,200})\$(?!\d)|\\\((.{1,200}?)\\\)|\\\[(.{1,200}?)\\\]", re.S)
_BEHIND = re.compile(
    r"(?:\b(?:is|are|be|to|at|equals)\b(?:\s(?:at|as)\b)?|[=≈]|(?<!\d):(?!\d)|[为是占填得即])\s{0,3}"
    r"([^=≈为是]{1,100})$"
)
#: A name that a sentence ends with, or begins with: "It rains most on Wednesday."
_NAME = re.compile(
    r"\b(?:is|are|was|on|at|in|called)\s(?P<last>[A-Z]\w{0,20}(?:\s[A-Z]\w{0,20})?)[.\s]*$"
    r"|^(?P<first>[A-Z]\w{0,20}),?\s(?:because|since|as)\b"
)
_BOTH = re.compile(r"\b(?:are|is)\s([^=.]{1,9}=[^=]{1,40}\b(?:and|or)\s[^=]{1,9}=[^=]{1,40})$")
_YES_NO = re.compile(r"(yes|no|true|false)\b(?=[,.;:!]|$)", re.I)
_DIGIT = re.compile(r"\d")
_EITHER_OR = re.compile(r"\beither\b[^.\n]{1,200}?\bor\b[^\n]{0,200}", re.I)
_EITHER = re.compile(r"\beither\b|\bor\s\$", re.I)
_DOUBT = re.compile(r"\bnot sure\b|\bunsure\b|\b(?:don't|do not) know\b|\bno idea\b", re.I)
#: An answer that is announced and not given: its reasons follow.
_NOT_GIVEN = re.compile(r"\banswer\W{0,9}(?=\n\W{0,9}(?:reason|explanation|justification))", re.I)
_RANGE = re.compile(r"\d\s?(?:[-–—~:]|to\b|and\b)\s?\d")
_SYMBOLS = re.compile(
    r"[\\^√π≤≥≠<>]|!=|[(\[]\s?-?[\d.]+\s?,|\d\s?:\s?\d|\)\s?/|[a-z]\s?/\s?[\da-z]|\bto \d|=.*="
)


@dataclass(frozen=True)
class Reading:
    """What was read of a response.

    ``answer`` is the letter of an option where options were asked for and one is named, else the
    answer as it is written (full-width signs as ASCII); None: there is none. ``rule`` says where it
    was found and how it was read (``boxed/letter``), ``span`` where it stands in the response, by
    characters. ``status`` is ``ok``, ``unparsed`` where nothing was given, ``undecided`` where
    several answers were, or a program, or words that rules cannot weigh.
    """

    answer: str | None
    rule: str
    span: tuple[int, int] | None = None
    status: Status = "ok"


NOTHING = Reading(None, "none", None, "unparsed")


def read(response: str, asked: Asked | None = None) -> Reading:
    """The answer that a response gives to what was asked (default: a free answer). Takes time in
    proportion to the text and never raises."""
    asked = asked or Asked()
    skipped = max(0, len(response) - MAX_RESPONSE)
    text, cut = candidates.answered(full_width(response[skipped:]))
    if not text.strip():
        return Reading(None, "thought" if cut or response.strip() else "none", None, "unparsed")
    if is_program(candidates.unexplained(text)):
        return Reading(None, "program", None, "undecided")
    part = before_next_question(text)
    found = _Reader(candidates.unexplained(part), asked).read()
    for longer in (part, text):
        if found.status == "unparsed" and longer != candidates.unexplained(longer):
            again = _Reader(longer, asked).read()
            if not (_NOT_GIVEN.search(part) and again.rule.startswith("prose")):
                found = again
    if found.span and skipped:
        return replace(found, span=(found.span[0] + skipped, found.span[1] + skipped))
    return found


def inside(one: Candidate, find: Callable[[str], Iterable[Candidate]]) -> Iterator[Candidate]:
    """The places in a candidate, by the places of the whole."""
    for part in find(one.text):
        yield replace(part, start=one.start + part.start, end=one.start + part.end)


class _Reader:
    def __init__(self, text: str, asked: Asked) -> None:
        self.text = text
        self.asked = asked
        self.settle = {
            "choice": self.option,
            "number": self.number,
            "list": self.list,
            "formula": self.formula,
            "text": self.words,
        }[asked.kind]
        #: What is taken if nothing better is found: words, or a value in a box that is no option,
        #: unless an option's letter is stated beside it.
        self.doubtful: Reading | None = None
        self.valued = False

    def read(self) -> Reading:
        for one in candidates.tagged(self.text):
            for part in (*inside(one, candidates.boxed), *inside(one, candidates.stated), one):
                if found := self.settle(part):
                    return found
        rest = candidates.untagged(self.text)
        boxes = candidates.boxed(rest)
        for one in (*candidates.finally_stated(rest, boxes[0].end), *boxes) if boxes else ():
            if found := self.settle(one):
                return found
        rest = candidates.unboxed(rest)
        whole = rest == self.text
        rest = unasked(rest, self.asked)
        off = self.doubtful if self.valued else None
        for one in candidates.stated(rest):
            if (found := self.settle(one)) and (off is None or found.rule.endswith("letter")):
                after = candidates.retracted(rest, one)
                return found if after is None else _Reader(after, self.asked).read()
        called = candidates.praised if self.asked.kind == "choice" else candidates.called
        for one in called(rest):
            if found := self.settle(one):
                return found
        bare = candidates.bare(rest) if whole else None
        if bare and self.asked.kind != "choice" and (found := self.settle(bare)):
            return found
        if bare and (found := self.settle(bare)) and found.rule.endswith("/several"):
            return found
        said = self.prose(rest)
        settled = said is not None and said.answer is not None
        if said and settled and (off is None or said.rule.endswith("letter")):
            return said
        if bare and (found := self.settle(bare)):
            return found
        return (said if off is None else None) or self.doubtful or NOTHING

    def found(self, one: Candidate, how: str = "", answer: str | None = None) -> Reading:
        return Reading(
            one.text if answer is None else answer,
            f"{one.rule}/{how}" if how else one.rule,
            (one.start, one.end),
        )

    def none(self, one: Candidate, how: str) -> Reading:
        """A place that says that there is no answer, or several."""
        status: Status = "undecided" if how == "several" else "unparsed"
        return Reading(None, f"{one.rule}/{how}", (one.start, one.end), status)

    # ------------------------------------------------------------------------ by what is asked

    def option(self, one: Candidate) -> Reading | None:
        options = self.asked.options
        for part in self.parts(one):
            letter, how = named(part.text, options)
            if letter is not None:
                return self.found(part, how, letter)
            if how in ("several", "refused"):
                return self.none(part, how)
            if how == "none of the options":
                if one.rule not in ("tag", "boxed"):
                    return self.found(part, how)
                if not self.valued:  # "It is (B) ... \\boxed{9}"
                    self.doubtful, self.valued = self.found(part, how), True
                return None
        if one.rule == "tag" or one.rule == "statement":
            letter, how = read_choice(one.text, self.asked.question, options)
            if letter is not None and how != "words":
                return self.found(one, how, letter)
        marked = one.rule in ("tag", "boxed") and one.text.strip()
        if marked and _DOUBT.search(one.text):
            return self.none(one, "refused")
        if marked and self.doubtful is None and not is_placeholder(one.text):
            self.doubtful = self.found(one, "none of the options")
        return None

    def number(self, one: Candidate) -> Reading | None:
        if is_placeholder(one.text):
            return self.none(one, "refused")
        for part in self.parts(one):
            if number := in_words(part.text):
                return self.found(part, "words", number)
            if compute(part.text) is not None and not is_scaled(part.text):
                return self.found(part)
        if is_hedged(part.text) and (one.rule != "bare" or len(sentences(one.text)) == 1):
            return self.none(part, "several")
        if one.rule == "boxed":
            return None
        if REFUSAL.search(one.text):
            return self.none(one, "refused")
        if place := leading_number(one.text):
            return self.found(one.part(*place))
        if one.rule == "tag":
            said, how = read_number(one.text, self.asked.question, self.asked.unit)
            if said is not None:
                return self.found(one, how, said)
        return None

    def list(self, one: Candidate) -> Reading | None:
        if lists := list(_LIST.finditer(one.text)):
            return self.found(one.part(*lists[-1].span()), "list")
        behind = _LISTED.search(one.text)
        return self.found(one.part(*behind.span(1)), "list") if behind else None

    def formula(self, one: Candidate) -> Reading | None:
        if not one.text.strip():
            return None
        if is_placeholder(one.text) and one.text.strip(" $.") not in ("x", "X"):
            return self.none(one, "refused")
        for part in self.parts(one):
            if number := in_words(part.text):
                return self.found(part, "words", number)
            if not is_prose(part.text) and len(part.text) <= MAX_ANSWER:
                if REFUSAL.search(part.text):
                    return self.none(part, "refused")
                return self.found(part)
            if compute(part.text) is not None:
                return self.found(part)
        if REFUSAL.search(one.text):
            return self.none(one, "refused")
        if one.rule != "boxed":
            if (inner := _FORMULA.match(one.text)) and not is_prose(inner[0]):
                return self.found(one.part(*inner.span(inner.lastindex or 0)))
            if place := leading_number(one.text):
                return self.found(one.part(*place))
        if one.rule == "bare" and is_prose(part.text):
            self.doubtful = self.doubtful or replace(self.found(part), status="undecided")
            return None
        if "\\" in part.text or (one.rule == "bare" and not _DIGIT.search(part.text)):
            return self.found(part)
        if one.rule == "tag" and (found := self.prose(one.text)):
            return replace(found, rule=f"tag/{found.rule}", span=(one.start, one.end))
        if self.doubtful is None:
            self.doubtful = replace(self.found(part), status="undecided")
        return None

    def words(self, one: Candidate) -> Reading | None:
        return self.found(one) if one.text.strip() else None

    def parts(self, one: Candidate) -> tuple[Candidate, ...]:
        """A candidate, and without what it goes on to say."""
        one = one.stripped()
        if self.asked.kind in ("number", "formula"):
            one = candidates.without_lead(one)
        if one.rule == "boxed":
            return (one,)
        if not any(" not " in text for text in self.asked.options.values()) and not (
            REFUSAL.search(one.text) and is_prose(one.text)
        ):
            one = candidates.without_denial(one)
        short = candidates.without_reason(one)
        return (one,) if short.text == one.text or not short.text else (one, short)

    # -------------------------------------------------------------------------------------- prose

    def prose(self, text: str) -> Reading | None:
        kind, question = self.asked.kind, self.asked.question
        if not text.strip():
            return None
        if (settled := _EITHER_OR.sub(lambda match: "\n" * len(match[0]), text)) != text:
            return self.prose(settled) or Reading(None, "prose/several", None, "undecided")
        cut = is_cut(text)
        if kind == "choice":
            letter, how = read_choice(text, question, self.asked.options)
            if letter is not None and (how == "letter" or not cut):
                return self.located(text, letter, f"prose/{how}", self.asked.options[letter])
            status: Status = "undecided" if how == "several" else "unparsed"
            if how in ("none", "several") and not cut and (formula := _last_formula(text)):
                named_by, by = named(formula.rpartition("=")[2], self.asked.options)
                if named_by is not None and by != "letter":
                    return self.located(text, named_by, f"prose/{by}", formula)
            if how == "none of the options":
                status = "ok"
            return Reading(None, f"prose/{how}", None, status) if how != "none" else None
        if kind == "list":
            lists = _LIST.findall(plain(text[-20000:]))
            lists = lists or [m[1] for line in sentences(text) if (m := _LISTED.search(line))]
            return self.located(text, lists[-1], "prose/list") if lists else None
        if kind == "text":
            return None
        if kind == "formula" and not cut:
            first = next(iter(sentences(text)), "")
            if said_so := _YES_NO.match(first):
                return self.located(text, said_so[1], "prose/first")
            formula = _last_formula(text)
            if formula and _SYMBOLS.search(formula) and not is_prose(formula):
                return self.located(text, formula, "prose/formula")
        said, how = read_number(text, question, self.asked.unit)
        if said is None and kind == "formula" and not cut:
            for line in reversed(sentences(text)):
                if (name := _NAME.search(line)) and not REFUSAL.search(line):
                    return self.located(text, name["last"] or name["first"], "prose/name")
        if said is None or (cut and how not in ("stated", "blank", "emphasis")):
            return None
        if kind == "formula" and said == "0" and not _DIGIT.search(text):
            return None  # "none"
        if kind == "formula" and how in ("first", "last") and not _DIGIT.search(said):
            return None  # "one" is no number then
        if _RANGE.search(said) or compute(said) is None:
            return Reading(None, "prose/several", None, "undecided")
        return self.located(text, said, f"prose/{how}")

    def located(self, text: str, answer: str, rule: str, also: str = "") -> Reading:
        """An answer read in prose, where it stands last."""
        for said in (answer, also):
            if said and (places := list(re.finditer(rf"(?<!\w){re.escape(said)}(?!\w)", text))):
                return Reading(answer, rule, places[-1].span())
        return Reading(answer, rule, None)


def _last_formula(text: str) -> str | None:
    """The last formula of the last sentence that concludes, or of the last one: between ``$``, or
    behind its ``=`` or verb."""
    lines = sentences(text)
    for line in [line for line in reversed(lines) if CONCLUSION.match(line)] + lines[-1:]:
        if _IS_NOT.search(line):
            continue
        line = _unreasoned(affirmed(line)).rstrip(" .。")
        found = [one for one in _FORMULA.finditer(line) if not is_bound(line, one.start())]
        if found and _EITHER.search(line):
            return None
        if found:
            return next(filter(None, found[-1].groups()))
        if both := _BOTH.search(line):
            return both[1]
        if behind := _BEHIND.search(line):
            return behind[1].partition(": ")[0].strip(" .")
        rest = CONCLUSION.sub("", line, count=1).strip(" ,:")
        if rest != line and _DIGIT.search(rest) and not is_prose(rest):
            return rest
    return None


def _unreasoned(line: str) -> str:
    """A sentence that gives a formula without its reason."""
    reason = _BECAUSE.search(line)
    return line[: reason.start()] if reason and _DIGIT.search(line[: reason.start()]) else line


#: Said of a formula.
_IS_NOT = re.compile(r"(?:\$|\\[)\]])\s(?:is|are|was|were)(?:\snot|n['’]t|\swrong|\sincorrect)\b")
_BECAUSE = re.compile(r",?\s(?:because|since|as)\s", re.I)
