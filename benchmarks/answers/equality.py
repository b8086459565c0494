"""Answers: their normal form, and the one relation of "the same answer".

Rewards, votes and scorers share it. Model output is untrusted: nothing here evaluates it, every
pattern is linear in the text, and what only a computer algebra system can decide is asked in a
child process with a time limit (:mod:`benchmarks.answers._equivalence`). ``docs/answers.md`` says
what is one answer and what is not.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextvars import ContextVar
from fractions import Fraction
from functools import lru_cache

from benchmarks.answers import _equivalence, structure
from benchmarks.answers.candidates import MAX_RESPONSE
from benchmarks.answers.notation import ABOUT, DEGREE, DOLLAR, MAX_ANSWER, ROW, clean
from benchmarks.answers.quantities import alike, compute, is_order, name, read
from benchmarks.answers.structure import Shape, shape, single, split_label

_CHOICE = re.compile(r"[(\[]?\s*([A-Za-z])\s*[)\].:]?")
_SPACE = re.compile(r"\s+")
#: Spaces that tell nothing: but for those between letters and digits, and before a word.
_IDLE_SPACE = re.compile(r"(?<![\w}),]) | (?!\w)|(?<=[})]) (?![^\W\d_])")
#: A comma that groups no digits.
_COMMA = re.compile(r", |, ?(?!\d{3}(?!\d))")
_ZEROS = re.compile(r"(?<![\w.:])0+(?=\d)")
#: The name of a point before its coordinates.
_POINT = re.compile(r"^[A-Z]\s?:?\s?(?=\([^()]{1,80},[^()]{1,80}\)$)")
#: Letters that stand alone. Where ``R`` and ``r`` do in one formula, ``R`` becomes ``r_0``.
_SMALL = re.compile(r"(?<![A-Za-z\\])[a-z](?![A-Za-z])")
_CAPITAL = re.compile(r"(?<![A-Za-z\\])[A-Z](?![A-Za-z_])")
_SUM = re.compile(r"[-+/:]|\\cdot")
_YES_NO = re.compile(r"(yes|no|true|false)\b[,.;:!] ", re.I)


def normalise(answer: str) -> str:
    r"""A canonical form: answers of equal form are the same answer, others may be.

    Without case, white space, LaTeX wrappers and sizes, thousands separators and closing
    punctuation; a choice ``(A)`` is ``a``; a rational number, written as a fraction, a decimal, a
    mixed number, in scientific notation or in words, is its reduced fraction, with its unit in one
    spelling. An answer that holds nothing is the empty string.
    """
    if len(answer) > MAX_ANSWER:
        return _SPACE.sub("", answer[:MAX_RESPONSE]).lower()
    return _normalise(answer)


@lru_cache(maxsize=50_000)
def _normalise(answer: str) -> str:
    form = answer
    for _ in range(9):
        before, form = form, _form(clean(form))
        if form == before:
            return form
        if len(form) > MAX_ANSWER:
            break
    return _SPACE.sub("", answer).lower()


@lru_cache(maxsize=50_000)
def _form(text: str) -> str:
    """The normal form of a cleaned text."""
    if choice := _CHOICE.fullmatch(text):
        return choice[1].lower()
    text = _POINT.sub("", text, count=1)
    label, core = split_label(text)
    variable = single(_tight(label)) if label else ""
    if (quantity := read(text)) is not None:
        named = variable or (_tight(label) if _SUM.search(label) else "")
        return f"{named}={quantity.form}" if named else quantity.form
    if label and not variable and _names_value(label, core):
        text = core
    if said := _YES_NO.match(text):
        text = said[1]
    text = structure.unbuilt(_unbracket(_ZEROS.sub("", _tight(text))))
    if variable and variable != _tight(label):
        text = f"{variable}={text.partition('=')[2]}"
    return text


def _names_value(label: str, core: str) -> bool:
    """Whether a label only says what has the value behind it: ``V=abc``, ``AB=2x``; not ``AB=BC``,
    nor ``a+b=2c``."""
    core = _tight(core)
    if single(_tight(label)):
        return not single(core)
    return (
        not _unknowns(core) or shape(core).kind != "atom" or not (name(core) or _SUM.search(label))
    )


def _tight(text: str) -> str:
    if _DECIMAL_COMMA.fullmatch(text):
        return text
    if not _PROSE.search(_COMMAND.sub(" ", text)):
        small = set(_SMALL.findall(text))
        text = _CAPITAL.sub(lambda m: m[0] + "_0" if m[0].lower() in small else m[0], text)
    return _COMMA.sub(", ", _IDLE_SPACE.sub("", text)).lower()


def _unbracket(s: str) -> str:
    """Without parentheses, or plain braces, around the whole, where they hold no tuple."""
    while len(s) > 1 and s[0] + s[-1] in ("()", "{}") and "," not in s and ";" not in s:
        if structure.depth(s[1:-1]) > structure.MAX_DEPTH:
            return s
        s = s[1:-1].strip()
    return s


def rational(answer: str) -> Fraction | None:
    """The rational number that an answer states, unit and separators aside; None for any other."""
    found = compute(answer)
    return found if isinstance(found, Fraction) else None


# ------------------------------------------------------------------------------------ equivalence

_COMMAND = re.compile(r"\\[a-z]+")
_PROSE = re.compile(r"[^\W\d_]{4,}|[^\W\d_]{2,} [^\W\d_]{2,}")
_NO_MATHEMATICS = re.compile(r"[^\x00-\x7f]|[\"@#?~$]")
_FORMULA = re.compile(r"[\d\\+*/^(<=>|-]")
_ANGLE = re.compile(r"\\(?:sin|cos|tan|cot|sec|csc)(?![a-z])")
_OPERAND = re.compile(r"[\da-z]")
_LETTER = re.compile(r"[a-df-hj-z]")
_GREEK = re.compile(r"\\(?:theta|alpha|beta|gamma|phi|lambda|omega)(?![a-z])")
_RELATION = re.compile(r"[<>]|\\(?:le|ge|ne)(?![a-z])")
_SET = re.compile(r"[<>]|\\(?:le|ge|ne|cap|cup|setminus|mathbb|emptyset|in)(?![a-z])|\\begin")
_BASE = re.compile(r"\d_")
_TOWER = re.compile(r"\^\s*(?:\{[^{}]*\^|\d+\s*\^|\{?-?\d{4,}|\([^()]*\^)|\d{40,}")
_DECIMAL_COMMA = re.compile(r"-?\d+,\d+")
_FRACTION = re.compile(r"(?<![\d./])(\d+)/(\d+) (?=[a-z])")
_FACTORS = re.compile(r"(?<![\d.^])(\d+(?:\.\d+)?)\((?=\d)|(\))\((?=\d)")
#: Longer mathematics is compared as text only.
MAX_FORMULA = 240
#: Of two lists so many parts that differ in form are compared with each other.
MAX_COMPARED = 8
#: About one pair of answers math-verify is asked so many times.
MAX_QUESTIONS = 40
_questions: ContextVar[int] = ContextVar("questions", default=MAX_QUESTIONS)


class _Undecided(Exception):
    """math-verify reached its limits."""


def equivalent(a: str, b: str) -> bool:
    r"""Whether two answers say the same: a gold and an answer are treated alike.

    Equal in normal form; or quantities that are equal, units converted; or lists, points,
    intervals, matrices or ratios of equivalent parts; or mathematics that is equal for math-verify.
    What it cannot decide within its limits counts as different. An empty answer is equivalent to
    nothing.
    """
    x, y = normalise(a), normalise(b)
    return bool(x and y) and (x == y or _decided(min(x, y), max(x, y)))


@lru_cache(maxsize=50_000)
def _decided(x: str, y: str) -> bool:
    if len(x) > MAX_ANSWER or len(y) > MAX_ANSWER:
        return False
    before = _questions.set(MAX_QUESTIONS)
    try:
        return _equal(x, y)
    except _Undecided:
        return False
    finally:
        _questions.reset(before)


def _equal(x: str, y: str) -> bool:
    """Whether two normal forms say the same."""
    if x == y:
        return True
    (a, core), (b, other) = split_label(x), split_label(y)
    if a and b and a != b and ((single(a) and single(b)) or _SUM.search(a + b)):
        return _equations(x, y)
    p, q = read(x), read(y)
    if p and q:
        return p.same(q)
    if ABOUT in x + y:
        return _roughly(x, y)
    if a or b:
        valued = all(not n or _names_value(n, c) for n, c in ((a, core), (b, other)))
        if valued and _equal(_form(core), _form(other)):
            return True
        return a != b and _equations(x, y)
    for one, other in ((x, y), (y, x)):
        if "=" not in other and (equation := structure.sides(one)):  # it states what holds anyway
            before, behind = map(_form, equation)
            return _equal(behind, other) and _equal(before, behind)
    left, right = shape(x), shape(y)
    if left.kind == right.kind == "atom":
        return _formulas(x, y)
    if _shapes(left, right, x, y):
        return True
    sets = [s.kind != "atom" or bool(_SET.search(text)) for s, text in ((left, x), (right, y))]
    return "atom" in (left.kind, right.kind) and all(sets) and _ask(x, y)


def _roughly(x: str, y: str) -> bool:
    """Where one says what its value comes to about: the value, or what it is about."""
    parts = [[p for p in s.split(ABOUT)[:4] if p and not name(p)] for s in (x, y)]
    return any(_equal(_form(p.strip("=")), _form(q.strip("="))) for p in parts[0] for q in parts[1])


def _shapes(left: Shape, right: Shape, x: str, y: str) -> bool:
    if left.kind == right.kind == "list":
        return _lists(left, right)
    if left.kind == right.kind == "ratio":
        return _ratios(left, right, x, y)
    if left.kind == right.kind:
        return _one_variable(left, right) and _in_order(left.parts, right.parts)
    for one, other, text, written in ((left, right, y, x), (right, left, x, y)):
        if one.kind == "list":
            if len(one.parts) == 1:
                return _equal(_form(one.parts[0]), text)
            if other.kind == "()":
                return _in_order(one.parts, other.parts)
            if _DECIMAL_COMMA.fullmatch(written) and read(text):
                return _equal(_form(written.replace(",", ".")), text)
        elif one.kind == "ratio" and other.kind == "atom" and len(one.parts) == 2:
            above, below = map(read, one.parts)
            if above and below and below.value and (q := read(text)):
                return not (q.noun or q.unit.name) and alike(above.value / below.value, q.value)
            return _formulas(rf"\frac{{{one.parts[0]}}}{{{one.parts[1]}}}", text)
    return False


def _in_order(parts: Sequence[str], others: Sequence[str]) -> bool:
    return len(parts) == len(others) and all(
        _equal(_form(p), _form(q)) for p, q in zip(parts, others, strict=True)
    )


def _lists(left: Shape, right: Shape) -> bool:
    """Lists say the same in any order, unless they are sequences. Names of different values pair
    them; where one list has them, and the other none, the order must be theirs, but for the roots
    of one unknown."""
    named = [s for s in (left, right) if len(set(s.labels)) > 1]
    if len(named) == 2:
        return _any_order(_with_names(left), _with_names(right))
    if not _one_variable(left, right):
        return False
    free = left.free or right.free
    ordered = any(not structure.same_letter(s.labels) for s in named)
    if ordered or (not free and any(map(structure.in_sequence, (left, right)))):
        return _in_order(left.parts, right.parts)
    return _any_order(left.parts, right.parts)


def _with_names(several: Shape) -> list[str]:
    pairs = zip(several.labels, several.parts, strict=True)
    return [f"{label}={part}" if label else part for label, part in pairs]


def _one_variable(left: Shape, right: Shape) -> bool:
    a, b = single(left.label), single(right.label)
    return not (a and b and a != b)


def _any_order(parts: Sequence[str], others: Sequence[str]) -> bool:
    left, right = ([_form(part) for part in side] for side in (parts, others))
    if all(form.startswith("(") for form in left + right):  # points: one may be named twice
        left, right = list(dict.fromkeys(left)), list(dict.fromkeys(right))
    for form in list(left):
        if form in right:
            left.remove(form)
            right.remove(form)
    if len(left) != len(right) or len(left) > MAX_COMPARED:
        return False
    for form in left:
        found = next((other for other in right if _equal(form, other)), None)
        if found is None:
            return False
        right.remove(found)
    return True


def _ratios(left: Shape, right: Shape, x: str, y: str) -> bool:
    clocks = structure.is_clock(x) and structure.is_clock(y)
    if clocks or len(left.parts) != len(right.parts):
        return False
    numbers = [[read(part) for part in s.parts] for s in (left, right)]
    if None in numbers[0] or None in numbers[1]:
        return _in_order(left.parts, right.parts)
    a, b = ([q.value for q in line if q] for line in numbers)
    if not all((*a, *b)):
        return False
    return all(alike(p * b[0], q * a[0]) for p, q in zip(a, b, strict=True))


def _equations(x: str, y: str) -> bool:
    single_sign = x.count("=") == y.count("=") == 1
    return single_sign and _unknowns(x) == _unknowns(y) and _ask(x, y)


def _formulas(x: str, y: str) -> bool:
    """Whether two expressions, equations or inequalities are equal for math-verify, where that can
    be."""
    if ("=" in x) != ("=" in y) or bool(_RELATION.search(x)) != bool(_RELATION.search(y)):
        return False
    return _unknowns(x) == _unknowns(y) and _ask(x, y)


def _unknowns(s: str) -> set[str]:
    """The letters of a formula but e and i, which may be numbers."""
    return {*_GREEK.findall(s), *_LETTER.findall(_COMMAND.sub(" ", s))}


def _ask(x: str, y: str) -> bool:
    if not (_mathematical(x) and _mathematical(y)):
        return False
    left = _questions.get()
    _questions.set(left - 1)
    verdict = _equivalence.same(_latex(x), _latex(y)) if left else None
    if verdict is None:
        raise _Undecided
    return verdict


def _latex(s: str) -> str:
    """As math-verify reads it: its parser takes ``3(4)`` for the mixed number 7, and ``1/2 h`` for
    1/(2h)."""
    s = _FRACTION.sub(r"\\frac{\1}{\2} ", s)
    s = s.replace(DEGREE, r"^{\circ}" if _ANGLE.search(s) else "").replace(DOLLAR, "")
    s = s.replace(ROW, r"\\").replace("matrix", "pmatrix").replace(r"\mathbb{r}", r"\mathbb{R}")
    return _FACTORS.sub(lambda m: rf"{m[1] or m[2]}\cdot(", s)


def _mathematical(s: str) -> bool:
    """Mathematics of a size that is worth asking about, and no prose."""
    plain = _COMMAND.sub(" ", s.replace("{matrix}", "").replace(ROW, "").replace(DEGREE, ""))
    return (
        len(s) <= MAX_FORMULA
        and structure.depth(s) <= structure.MAX_DEPTH
        and bool(_FORMULA.search(s) and _OPERAND.search(s))
        and not (
            _BASE.search(s)
            or is_order(s)
            or _TOWER.search(s)
            or _PROSE.search(plain)
            or _NO_MATHEMATICS.search(plain)
        )
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
