"""Answers: read one from a response, normalise it, tell whether two are the same.

The one notion of "the same answer" that rewards, votes and scorers share. Model output is
untrusted: nothing here evaluates it, every pattern is linear in the text, and what only a computer
algebra system can decide is asked in a child process with a time limit
(:mod:`benchmarks.answers._equivalence`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from fractions import Fraction
from functools import lru_cache

from benchmarks.answers import _equivalence, arithmetic
from benchmarks.answers.candidates import MAX_RESPONSE

#: A longer answer is compared as text only.
MAX_ANSWER = 400

# ------------------------------------------------------------------------------------- extraction


# ---------------------------------------------------------------------------------- normalisation

_CHARACTERS = str.maketrans(
    {
        "−": "-", "–": "-", "—": "-", "，": ",", "：": ":", "（": "(", "）": ")", "％": "%",
        "°": "", "˚": "", "º": "", "℃": "", "²": "^2", "³": "^3", "×": r"\times ", "·": r"\cdot ",
        "÷": "/", "⁄": "/", "π": r"\pi ", "√": r"\sqrt ", "∞": r"\infty ", "½": r"\frac{1}{2}",
        "¼": r"\frac{1}{4}", "¾": r"\frac{3}{4}", "≈": "", "\u00a0": " ", "\u202f": "",
        "\u200b": "", "`": "", "$": "",
    }
)  # fmt: skip
_WRAPPER = re.compile(
    r"\\(?:text|textbf|textit|textrm|mathrm|mathbf|mathit|mathsf|bm|boldsymbol|mbox|operatorname|"
    r"boxed|fbox|rm|bf)\s*\{([^{}]*)\}"
)
_DROP = re.compile(
    r"\\(?:left|right|displaystyle|textstyle|quad|qquad|approx|big|Big|bigg|Bigg|limits|degree)"
    r"(?![a-zA-Z])\s?|\\[,;:!()\[\] ]|~|\^\s*\{?\s*\\circ\s*\}?"
)
_SHORT_FRACTION = re.compile(r"\\frac\s*(\d)\s*(\d)(?!\d)")
_SHORT_ROOT = re.compile(r"\\sqrt\s*(\d+|[a-zA-Z])(?![a-zA-Z])")
_LEFT_SIDE = re.compile(r"(?:[^\W\d_]|[ ∠△{}\\']|_\{?\d\}?|\([a-z]\)){1,40}=(?=\s*[^=\s])")
_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)"
_GROUPED = re.compile(r"[-+]?\d{1,3}(?:,\d{3})+(?:\.\d+)?")
_UNIT = re.compile(
    r"(?P<value>.*?[\d}).a-z])\s*(?:(?:\bsq(?:uare)?|\bcu(?:bic)?)\.?\s*)?(?<![a-z\\])"
    r"(?:[mcdk]?m|in|inch|inches|ft|foot|feet|yd|yards?|mi|miles?|(?:centi|milli|deci|kilo)?met(?:er|re)s?|"
    r"[mk]?g|(?:kilo|milli)?grams?|tons?|lbs?|pounds?|oz|ounces?|m?l|(?:milli)?lit(?:er|re)s?|"
    r"s|secs?|seconds?|min|mins|minutes?|h|hrs?|hours?|days?|weeks?|months?|years?|years?\sold|"
    r"degrees?|deg|percent|dollars?|cents?|yuan|usd|units?|[ck]?m/s|km/h|mph|people|students?)"
    r"(?:\s*\^\s*\{?[23]\}?|[23])?\.?",
    re.S,
)  # fmt: skip
_SIGNED = rf"({_NUMBER})"
_PLAIN = re.compile(_NUMBER)
_RATIO = re.compile(rf"\(?{_SIGNED}\)?\s*/\s*\(?{_SIGNED}\)?")
_FRACTION = re.compile(rf"([-+]?)\\frac\s*\{{\s*{_SIGNED}\s*\}}\s*\{{\s*{_SIGNED}\s*\}}")
_MIXED = re.compile(
    r"([-+]?)(\d+)(?:\s*\\frac\s*\{\s*(\d+)\s*\}\s*\{\s*(\d+)\s*\}|\s+(\d+)\s*/\s*(\d+))"
)
_SCIENTIFIC = re.compile(
    rf"{_SIGNED}\s*(?:e|(?:\\times|\\cdot|\*|x)\s*10\s*\^)\s*\{{?\s*([-+]?\d{{1,3}})\s*\}}?"
)
_CHOICE = re.compile(r"[(\[]?\s*([A-Za-z])\s*[)\].:]?")
_OPTION_WORD = re.compile(r"(?:option|choice|answer)\s*:?\s*(?=\(?[A-Za-z]\b)", re.I)
_SPACE = re.compile(r"\s+")


def normalise(answer: str) -> str:
    r"""A canonical form: answers of equal form are the same answer.

    Without case, white space, ``$``, LaTeX wrappers and sizes, degree and percent signs, currency,
    units, thousands separators, closing punctuation and a left side (``x=5`` is ``5``); a choice
    ``(A)`` is ``a``; a rational number, written as a fraction, decimal, mixed number or in
    scientific notation, is its reduced fraction. ``50%`` is ``50`` and a unit's size does not
    count, as in the graders of the field. An answer that holds nothing is the empty string.
    """
    if len(answer) > MAX_ANSWER:
        return _SPACE.sub("", answer[:MAX_RESPONSE]).lower()
    return _normalise(answer)


@lru_cache(maxsize=50_000)
def _normalise(answer: str) -> str:
    form = _pass(answer)
    while form != answer:  # every pass but the first shortens, or changes nothing
        answer, form = form, _pass(form)
    return form


def _pass(answer: str) -> str:
    s = answer.strip()
    if s.isascii() and s.isdigit():
        return s.lstrip("0") or "0"
    if choice := _CHOICE.fullmatch(s):
        return choice.group(1).lower()
    s = s.strip("*_ ").replace("**", "^").translate(_CHARACTERS)
    s = _DROP.sub("", s)
    while (unwrapped := _WRAPPER.sub(r"\1", s)) != s:
        s = unwrapped
    s = s.replace(r"\$", "").replace("\\%", "").replace("%", "").replace("{,}", ",")
    s = s.replace(r"\dfrac", r"\frac").replace(r"\tfrac", r"\frac").replace("\\{", "{")
    s = s.replace("\\}", "}")
    s = _SHORT_FRACTION.sub(r"\\frac{\1}{\2}", s)
    s = _SHORT_ROOT.sub(r"\\sqrt{\1}", s)
    s = s.lower().strip(" \t\r\n.,;:")
    s = s.lstrip("=").strip().lstrip("£€¥").strip()
    if left := _LEFT_SIDE.match(s):
        s = s[left.end() :].strip()
    s = _unbracket(s)
    for _ in range(2):
        unit = _UNIT.fullmatch(s)
        if unit is None or not _number_like(unit["value"]):
            break
        s = unit["value"].rstrip()
    if _GROUPED.fullmatch(s):
        s = s.replace(",", "")
    number = _rational(s)
    if number is not None:
        return str(number)
    if choice := _CHOICE.fullmatch(s):
        return choice.group(1)
    return re.sub(r"(?<!\d)\s+|\s+(?!\d)", "", s)


def _unbracket(s: str) -> str:
    """Without parentheses, or plain braces, around the whole, where they hold no tuple."""
    while len(s) > 1 and s[0] + s[-1] in ("()", "{}") and "," not in s:
        depth = 0
        for i, c in enumerate(s):
            depth += (c == s[0]) - (c == s[-1])
            if depth == 0 and i < len(s) - 1:
                return s
        s = s[1:-1].strip()
    return s


def _number_like(s: str) -> bool:
    """Whether a unit may follow: a number, or an expression without words of its own."""
    return bool(re.search(r"\d|\\pi", s)) and not re.search(r"(?<![\\a-z])[a-z]{2,}", s)


def rational(answer: str) -> Fraction | None:
    """The rational number that an answer states, unit and separators aside; None for any other."""
    return _rational(normalise(answer)) if len(answer) <= MAX_ANSWER else None


_LETTERED = re.compile(r"\(?\s*([A-Za-z])\s*(?:[):、]|[.．](?!\d)|\n).*", re.S)


def choice(answer: str, options: Mapping[str, str]) -> str | None:
    """The letter of ``options`` (letter -> text) that an answer names, by letter or by text.

    A letter alone (``B``, ``(b)``, ``\\text{B}``), a letter and what follows it (``B. 12 cm``), or
    the text of exactly one option. None where it names none, or several.
    """
    if len(answer) > MAX_ANSWER:
        return None
    plain = answer.replace("$", "").strip(" *\n\t")
    while (unwrapped := _WRAPPER.sub(r"\1", plain)) != plain:
        plain = unwrapped
    plain = _OPTION_WORD.sub("", plain.strip(), count=1)
    for pattern in (_CHOICE, _LETTERED):
        if (match := pattern.fullmatch(plain)) and match[1].upper() in options:
            return match[1].upper()
    form, head = normalise(answer), normalise(answer.partition(",")[0])
    texts = {letter: normalise(text) for letter, text in options.items()}
    named = [letter for letter, text in texts.items() if text and text == form]
    if not named and head.isalpha():  # "no, there are fewer"
        named = [letter for letter, text in texts.items() if text == head]
    if not named:
        named = [letter for letter, text in options.items() if equivalent(text, answer)]
    return named[0] if len(named) == 1 else None


def _rational(s: str) -> Fraction | None:
    """The rational number that is written here, exactly."""
    if not s or len(s) > 80:
        return None
    try:
        if _PLAIN.fullmatch(s):
            return Fraction(s.rstrip("."))
        if match := _RATIO.fullmatch(s):
            return Fraction(match[1].rstrip(".")) / Fraction(match[2].rstrip("."))
        if match := _FRACTION.fullmatch(s):
            value = Fraction(match[2].rstrip(".")) / Fraction(match[3].rstrip("."))
            return -value if match[1] == "-" else value
        if match := _MIXED.fullmatch(s):
            value = int(match[2]) + Fraction(int(match[3] or match[5]), int(match[4] or match[6]))
            return -value if match[1] == "-" else value
        if (match := _SCIENTIFIC.fullmatch(s)) and abs(int(match[2])) <= 100:
            return Fraction(match[1].rstrip(".")) * Fraction(10) ** int(match[2])
    except (ValueError, ZeroDivisionError):
        pass
    return None


# ------------------------------------------------------------------------------------ equivalence

_FUNCTIONS = (
    "sqrt|frac|pi|sin|cos|tan|cot|sec|csc|log|ln|exp|infty|cup|cap|times|cdot|pm|leq|geq|le|ge|in"
)
_KNOWN = re.compile(
    rf"\\(?:{_FUNCTIONS}|theta|alpha|beta|gamma|phi|lt|gt|neq|ne|emptyset|lg)(?![a-z])"
)
_UNKNOWN = re.compile(r"\\(?:theta|alpha|beta|gamma|phi)(?![a-z])")
_KNOWN_NUMBER = re.compile(r"\\[a-z]+|(?:sqrt|frac|pi|sin|cos|tan|log|ln|exp)(?![a-z])")
_LETTERS = re.compile(r"[a-z]{3,}|[^\x00-\x7f]|[\"@#&?;\\!]")
_TOWER = re.compile(r"\^\s*(?:\{[^{}]*\^|\d+\s*\^|\{?-?\d{4,}|\([^()]*\^)|\d{40,}")


def equivalent(a: str, b: str) -> bool:
    r"""Whether two answers say the same.

    Equal after :func:`normalise`; or tuples of equivalent parts; or, where both are mathematics and
    at least one is more than a number or a word, equal for math-verify. What it cannot decide
    within its limits counts as different. An empty answer is equivalent to nothing.
    """
    x, y = normalise(a), normalise(b)
    return bool(x and y) and (x == y or _equal_forms(min(x, y), max(x, y)))


@lru_cache(maxsize=50_000)
def _equal_forms(x: str, y: str) -> bool:
    if len(x) > MAX_ANSWER or len(y) > MAX_ANSWER:
        return False
    left, right = _parts(x), _parts(y)
    if left and right:
        return (
            left[0] == right[0]
            and len(left) == len(right)
            and all(map(equivalent, left[1:], right[1:]))
        )
    for parts, other in ((left, y), (right, x)):
        if parts and parts[0] == "()" and arithmetic.value(other) is not None:
            return False  # a tuple is no number
    if {_kind(x), _kind(y)} not in ({"formula"}, {"formula", "number"}):
        return False
    if not (_mathematical(x) and _mathematical(y)) or _constant(x) != _constant(y):
        return False
    if _constant(x):  # a value for each formula is cheaper than an answer for each pair
        left_value, right_value = _value(x), _value(y)
        if left_value is not None and right_value is not None:
            margin = 1e-6 * max(1.0, abs(left_value), abs(right_value))
            if abs(left_value - right_value) > margin:
                return False
    return _equivalence.same(x, y) is True


def _parts(s: str) -> list[str] | None:
    """The brackets and the parts of a tuple, list or bare enumeration; None for anything else."""
    brackets = s[0] + s[-1] if s[:1] in ("(", "[", "{") and s[-1:] in (")", "]", "}") else ""
    inner = s[1:-1] if brackets else s
    parts, depth, start = [], 0, 0
    for i, c in enumerate(inner):
        if c in "([{":
            depth += 1
        elif c in ")]}":
            depth -= 1
            if depth < 0:
                return None
        elif c == "," and depth == 0:
            parts.append(inner[start:i])
            start = i + 1
    return [brackets, *parts, inner[start:]] if parts and depth == 0 else None


def _kind(s: str) -> str:
    """``number``: a rational one, compared exactly; ``formula``: there is something to compute."""
    if _rational(s) is not None:
        return "number"
    return "formula" if re.search(r"[\d\\]|.[-+*/^(=<>]", s) else "word"


def _constant(s: str) -> bool:
    """Without an unknown: no letter but the number e and those of commands."""
    return not (_UNKNOWN.search(s) or re.search(r"[a-df-z]", _KNOWN_NUMBER.sub(" ", s)))


@lru_cache(maxsize=50_000)
def _value(s: str) -> float | None:
    """About what a formula comes to, computed once; None where that is no number."""
    value: Fraction | float | None = _rational(s)
    try:
        if value is None:
            value = arithmetic.value(s)
        if value is None:
            value = _equivalence.value(s)
        return None if value is None else float(value)
    except OverflowError:
        return None


def _mathematical(s: str) -> bool:
    """Mathematics of a size that is worth asking about, and no prose."""
    depth = deepest = 0
    for c in s:
        depth += (c in "([{") - (c in ")]}")
        deepest = max(deepest, depth)
    return (
        len(s) <= 200
        and depth == 0
        and deepest <= 8
        and not _TOWER.search(s)
        and not _LETTERS.search(_KNOWN.sub(" ", s))
        and bool(re.search(r"[\da-z]", s))
    )


def classes(answers: Sequence[str | None]) -> list[int | None]:
    """The equivalence class of each answer, numbered from 0 by first appearance; None stays None.

    An answer joins the first class whose first member it is equivalent to.
    """
    members: list[str] = []
    known: dict[str, int] = {}
    out: list[int | None] = []
    for answer in answers:
        form = normalise(answer) if answer else ""
        if not form:
            out.append(None)
            continue
        if form not in known:
            known[form] = next(
                (i for i, member in enumerate(members) if equivalent(form, member)), len(members)
            )
            if known[form] == len(members):
                members.append(form)
        out.append(known[form])
    return out
