"""Numbers in prose: all that a text holds, and the one that a response settles on."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

from benchmarks.answers import units
from benchmarks.answers.candidates import MAX_RESPONSE
from benchmarks.answers.prose import (
    REFUSAL,
    affirmed_answer,
    by_weight,
    is_bound,
    is_choice,
    is_hedged,
    plain,
    sentences,
)

_DIGITS = "one|two|three|four|five|six|seven|eight|nine"
_TEENS = "ten|eleven|twelve|thirteen|fourteen|fifteen|sixteen|seventeen|eighteen|nineteen"
_TENS = "twenty|thirty|forty|fifty|sixty|seventy|eighty|ninety"
_WORDS = {word: n for n, word in enumerate(f"zero|{_DIGITS}|{_TEENS}".split("|"))}
_WORDS |= {word: 10 * n for n, word in enumerate(_TENS.split("|"), 2)}
_SCALE = {"hundred": 100, "thousand": 1000, "million": 1_000_000}
_PARTS = {"half": 2, "quarter": 4, "third": 3, "fourth": 4, "fifth": 5, "sixth": 6, "eighth": 8}
_PARTS |= {"ninth": 9, "tenth": 10, "halve": 2}
_HAN = {sign: n for n, sign in enumerate("零一二三四五六七八九十")} | {"两": 2, "〇": 0}
_FRACTION = (
    r"(?<![A-Za-z0-9.])-?\\[dt]?frac\s?\{\s?-?[\d.]{1,15}\s?\}\s?\{\s?[\d.]{1,15}\s?\}"
    r"|(?<![A-Za-z0-9./])-?\d{1,12}\s?/\s?\d{1,12}(?![\d/]|\.\d)"
)
_GROUPED = r"\d{1,3}(?:,\d{3}){1,5}(?![\d,])|(?<=\bis\s)\d{1,3}(?:\s\d{3}){1,3}(?!\s?\d)"
_DECIMAL = (
    rf"(?<![A-Za-z0-9.])-?(?:{_GROUPED}|\d{{1,40}}|(?=\.\d))(?:\.\d{{1,40}})?"
    r"|(?<=[a-z_=$£€(\[{,:/°])-?\d{1,40}(?:\.\d{1,40})?"
)
_WORD = (
    rf"(?:(?:{_TENS})[- ](?:{_DIGITS})|zero|{_DIGITS}|{_TEENS}|{_TENS})"
    r"(?:\s+(?:hundred|thousand|million)\b)?"
)
_NUMBER = re.compile(
    rf"(?P<fraction>{_FRACTION})|(?P<number>{_DECIMAL})(?:\s(?P<scale>hundred|thousand|million)\b)?"
    rf"|\b(?P<above>a|{_DIGITS})[ -](?P<below>{'|'.join(_PARTS)})s?\b"
    rf"|\b(?P<whole>{_DIGITS}|zero)\spoint\s(?P<point>{_DIGITS})\b"
    rf"|\b(?P<word>{_WORD})\b",
    re.I,
)
#: Counted in Chinese: 十二个, 百分之二十八.
_CHINESE = re.compile(
    r"(?P<percent>百分之)?(?P<tens>[一二三四五六七八九]?十)?(?P<ones>[零〇一二两三四五六七八九])?"
    r"(?(percent)|(?=[个只条块种次人元度厘米千根张名]|$))"
)
_MINUS = re.compile(r"(?:(?:^|[^\d)°\s]\s)(?:minus|negative)\s|零下|负)$", re.I)
_BELOW_ZERO = re.compile(r"\s?(?:°C?|degrees?(?:\sCelsius)?)?\s?below\s(?:zero|0)\b", re.I)


@dataclass(frozen=True)
class Number:
    """A number in a text: its value, as it is written (in words: in digits), and where."""

    value: Fraction
    text: str
    start: int
    end: int


def numbers(text: str) -> Iterator[Number]:
    """The numbers of a text in order: decimal, grouped by thousands, a fraction, or in words; in
    Chinese numerals where there are no others."""
    before, none = 0, True
    for match in _NUMBER.finditer(text):
        value = _value(match)
        if value is None or match.start() < before:
            continue
        none = False
        start, end, said = match.start(), match.end(), match.group().strip()
        if match["below"] or match["point"] or match["scale"]:
            said = str(float(value) if match["point"] else value)
        lead = _MINUS.search(text, max(before, start - 12), start)
        below = _BELOW_ZERO.match(text, end)
        if value > 0 and (lead or below):
            end = below.end() if below else end
            value, said = -value, str(-value)
        before = end
        yield Number(value, said, start, end)
    if none and not text.isascii():
        yield from _chinese(text)


def _chinese(text: str) -> Iterator[Number]:
    for match in _CHINESE.finditer(text):
        tens, ones = match["tens"], match["ones"]
        if tens or ones:
            value = 10 * _HAN.get(tens[0], 1) if tens and len(tens) > 1 else 10 * bool(tens)
            value += _HAN[ones] if ones else 0
            yield Number(Fraction(value), str(value), match.start(), match.end())


_GROUPING = str.maketrans("", "", ", ")


def _value(match: re.Match[str]) -> Fraction | None:
    try:
        if match["below"]:
            above = _WORDS.get(match["above"].lower(), 1)
            return Fraction(above, _PARTS[match["below"].lower()])
        if match["point"]:
            whole, tenths = _WORDS[match["whole"].lower()], _WORDS[match["point"].lower()]
            return whole + Fraction(tenths, 10)
        if match["word"]:
            head, _, scale = match["word"].lower().replace("-", " ").rpartition(" ")
            if scale not in _SCALE:
                head, scale = f"{head} {scale}", ""
            return Fraction(sum(_WORDS[word] for word in head.split()) * _SCALE.get(scale, 1))
        if match["fraction"]:
            over, under = re.findall(r"-?[\d.]+", match["fraction"])
            sign = -1 if match["fraction"].startswith("-\\") else 1
            return sign * Fraction(over) / Fraction(under)
        return Fraction(match["number"].translate(_GROUPING)) * _SCALE.get(match["scale"] or "", 1)
    except (ValueError, ZeroDivisionError, KeyError):
        return None


_LEADS = re.compile(
    r"(?:(?:about|approximately|roughly|exactly|around|only|just|equal\sto|equals|a\stotal\sof|"
    r"the\snumber|option|choice|indeed|thus|therefore)\s{1,3}){0,3}(?:\\approx\s?|[≈~=]\s?)?[*_\\$£€¥]{0,4}",
    re.I,
)
_COUNTED = re.compile(
    r"[*_$]{0,4}(?:%|°)?(?:\s{1,3}[A-Za-z(]|(?=[a-z]{2})|[.,;)\]]|:(?!\d)|\s?\(|\s*$)"
)


def leading_number(text: str) -> tuple[int, int] | None:
    """Where the number stands that a phrase begins with, and goes on to say of what: "12 of the
    blocks are left". None where it begins otherwise, or goes on to compute or to hedge."""
    leads = _LEADS.match(text)
    start = leads.end() if leads else 0
    first = next(numbers(text), None)
    if first is None or first.start != start or not _COUNTED.match(text, first.end):
        return None
    if _SCALED.match(text, first.end):
        return None
    if is_hedged(text[first.start : first.end + 40]) or "=" in text[first.end :]:
        return None
    return first.start, first.end


def in_words(text: str) -> str | None:
    """The number that a text is in words, in digits: "two thirds" is 2/3; None for any other."""
    found = list(numbers(text.strip(" ."))) if not text.isdigit() else []
    if len(found) != 1 or found[0].text in text or found[0].end < len(text.strip(" .")):
        return None
    return found[0].text if not text[: found[0].start].strip() or found[0].value < 0 else None


def is_scaled(text: str) -> bool:
    """Whether a number is only a part of what is said: "12 dozen", "12 squared"."""
    first = next(numbers(text), None)
    return first is not None and bool(_SCALED.match(text, first.end))


_SCALED = re.compile(
    r"(?:\s?%)?\s?(?:of\s\d|dozen|hundred|thousand|million|squared|cubed|th\b|o'clock|"
    r"(?:is|was)\s(?:wrong|incorrect|not)|\+(?!\s?[\d$(\\a-z]))",
    re.I,
)
#: A number behind one of these words names a thing, or a part.
_LABEL = re.compile(
    r"\b(?:figure|fig\.?|step|question|problem|part|case|example|table|equation|grade|page|row|"
    r"line|item|no\.|half of|double|twice|triple"
    r"|(?:page|step|question|problem)\s\d{1,3}\sof)\s?$|(?<!#)#$",
    re.I,
)
#: Letters that a number is a part of a word with, a unit aside: "2D", "2-dimensional".
_GLUED = re.compile(r"([A-Za-z])(?![A-Za-z])|-[a-z]{3}")
_POWER = re.compile(r"\^$|(?<![A-Za-z])[A-Z]$")
_MONEY = re.compile(r"[$£€¥]\s?$")
_UNIT = re.compile(r"\s?([°%]|[A-Za-z]{1,12}(?:\^?[23²³])?|[元度厘毫米克千角分]{1,3})(?![A-Za-z])")
_SPAN = re.compile(r"\s?(?:-|–|to)\s?\d")
_POINTS = re.compile(r"\s?(?:points?|marks?)\s?[)\]]")


_COPULA = re.compile(
    r"(?:\b(?:is|are|was|were|be|been|equals?|equal to|has|have|had|approximately|about|around|"
    r"exactly|roughly|only|total of|gives?(?: us)?|makes?|to|by|of|costs?|needs?|remains?|leaves?|"
    r"leaving)|[:=≈])"
    r"[\s$({\[]{0,4}(?:\\approx\s?)?$",
    re.I,
)
_NO_THING = (
    r"(?!\s?(?:picture|image|figure|diagram|way|answer|information|data|need|doubt|question)\b)"
)
_NONE = re.compile(
    r"(?:\b(?:there (?:is|are|was|were|will be)|has|have|with) no(?:ne)?"
    rf"{_NO_THING}|\bnone of|^none(?=\s\w)"
    rf"|^no{_NO_THING}\s(?:\w+\s){{1,3}}(?:is|are|was|were|remain)\s(?!correct|right))\b",
    re.I,
)

_IN_ALL = re.compile(r"(?:\s\w{1,20}){0,2}\s(?:in (?:total|all)|altogether)\b", re.I)
_BOLD = re.compile(r"\*\*([^*\n]{1,60})\*\*")
_ONWARD = re.compile(r"\s?(?:-|to|and|:)\s?\d{1,15}(?:\.\d{1,15})?(?=[\s.,;]|$)")
_BLANK = re.compile(r"\(?_{1,9}\)?(\s\w+\s\w+\b)")


def read_number(response: str, question: str, unit: str = "") -> tuple[str | None, str]:
    """The number that a response settles on, as it is written, and the rule that chose it.

    ``blank``: where the question leaves a blank, before the words that follow it there;
    ``stated``: behind "the answer is"; ``emphasis``: the one number in bold; ``conclusion``: in the
    last sentence that concludes; ``first``: in a first sentence that takes up the question;
    ``last``: in the last sentence with a number of its own. Numbers that the question names are
    passed over where there are others.
    """
    lines = [
        line for each in sentences(response) if (line := affirmed_answer(each, question)).strip()
    ]
    if blank := _BLANK.search(question):
        filled = _filled(lines, blank[1]) or _filled(lines, blank[1].rpartition(" ")[0])
        if filled:
            return filled, "blank"
    given = {number.value for number in numbers(plain(question))}
    if alone := _alone(lines):
        return alone, "first"
    asked = "" if len(_STEPS.findall(response[-MAX_RESPONSE:])) > 1 else question
    refused = bool(lines) and bool(REFUSAL.search(lines[0]))
    for own_only in (True, False):
        for rule, candidates in by_weight(lines, asked, _emphasised(response)):
            weak = rule in ("first", "last")
            for line in candidates if not (weak and refused) else ():
                found = pick(line, given, unit, rule, own_only and weak)
                if found is not None:
                    return found.text, rule
    return None, "none"


#: A response of several of these is worked out step by step, and answers at its end.
_STEPS = re.compile(r"^\s{0,9}\(?\d{1,2}[.)]\s", re.M)
_ALONE = re.compile(r"-?\d[\d,]{0,15}(?:\.\d{1,15})?\.?")


def _alone(lines: Sequence[str]) -> str | None:
    """The number that a response consists of but for the words behind it: "12. There are ..."."""
    if len(lines) < 2 or not _ALONE.fullmatch(lines[0]) or not lines[1][0].isalpha():
        return None
    return None if any(map(_ALONE.fullmatch, lines[1:])) else lines[0].rstrip(".")


def _filled(lines: Sequence[str], behind: str) -> str | None:
    """The last number that stands before these words."""
    words = re.compile(re.escape(behind) + r"\b", re.I)
    found = [n.text for line in lines for n in numbers(line) if words.match(line, n.end)]
    return found[-1] if found else None


def _emphasised(response: str) -> list[str]:
    """What stands in bold, where all of it holds one and the same number."""
    bold = [text for text in _BOLD.findall(response[-MAX_RESPONSE:]) if any(numbers(plain(text)))]
    values = {number.value for text in bold for number in numbers(plain(text))}
    return [plain(bold[-1])] if len(values) == 1 else []


def usable(line: str) -> list[Number]:
    """The numbers of a sentence without those that name a thing, are only a bound, or are a part
    of a word: "figure 2", "at least 9", "2D"."""
    return [
        n
        for n in numbers(line)
        if not (_LABEL.search(line[max(0, n.start - 20) : n.start]) or _POINTS.match(line, n.end))
        and not _SCALED.match(line, n.end)
        and not _glued(line, n)
        and not is_bound(line, n.start)
    ]


def _glued(line: str, number: Number) -> bool:
    """Whether a number is a part of a word or a power: "H2O", "x^2"."""
    if _POWER.search(line[max(0, number.start - 2) : number.start]):
        return True
    behind = _GLUED.match(line, number.end)
    return behind is not None and (behind[1] is None or units.unit(behind[1], tight=True) is None)


def measured(line: str, number: Number) -> str:
    """A number of a sentence with its currency or unit, where it has one."""
    money = _MONEY.search(line[max(0, number.start - 3) : number.start])
    behind = _UNIT.match(line, number.end)
    word = behind[1] if behind else ""
    known = units.unit(word, tight=True) if word else None
    unit = f" {word}" if known is not None and known is not units.NOUN else ""
    return f"{money[0] if money else ''}{number.text}{unit}"


def is_span(line: str, number: Number) -> bool:
    """Whether a number begins a range: "5 to 50"."""
    return "=" not in line and bool(_SPAN.match(line, number.end))


def pick(
    line: str, given: set[Fraction], unit: str, rule: str, own_only: bool = False
) -> Number | None:
    """The number of a sentence that answers: behind its ``=``, else one with the unit, behind a
    verb or preposition, or its last. Numbers that are ``given`` are passed over, where there are
    others, or for good (``own_only``)."""
    found = usable(line)
    if any(is_choice(line, n.end) and n.value not in given for n in found):
        return None
    own = [n for n in found if n.value not in given]
    if not own and not own_only:
        own = found
    if rule != "stated" and REFUSAL.search(line):
        return None
    if not own:
        return Number(Fraction(0), "0", 0, 0) if not found and _NONE.search(line) else None
    if rule == "stated":
        equal = line.rfind("=")
        behind = [n for n in found if n.start > equal] if equal >= 0 else []
        return _range(line, (behind or found)[0])
    if (colon := line.find(":") + 1) and "=" not in line[colon:]:  # "3 are left: 2 red and 1 blue"
        own = [n for n in own if n.end < colon] or own
    own = [n for n in own if not line[: n.start].endswith("out of ")] or own
    own = [n for n in own if _IN_ALL.match(line, n.end)] or own
    if unit:
        own = [n for n in own if line[n.end :].lstrip(" -").startswith(unit)] or own
    linked = [n for n in own if _COPULA.search(line[max(0, n.start - 24) : n.start])]
    equal = max(line.rfind("="), line.rfind("≈"))
    behind = [n for n in own if n.start > equal] or [n for n in found if n.start > equal]
    if equal >= 0 and behind:
        said = [n for n in linked if n in behind[1:]]
        return _range(line, said[-1] if said else behind[0])
    return _range(line, (linked or own)[-1 if rule != "first" else 0])


def _range(line: str, number: Number) -> Number:
    """The number, or the range that it begins, which is no number."""
    onward = _ONWARD.match(line, number.end)
    return replace(number, text=line[number.start : onward.end()]) if onward else number
