r"""What an answer is made of: several values, a point, an interval, a matrix, a ratio.

``x=1 or x=-2``, ``\{1,-2\}`` and ``\frac{-1\pm 3}{2}`` are lists, whose order tells nothing;
``(1,2)`` is a point or an interval, which ``1<x<2`` is too. All texts here are cleaned
(:mod:`benchmarks.answers.notation`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import lru_cache

from benchmarks.answers.notation import ROW
from benchmarks.answers.quantities import name

#: Lists of more parts are compared as text only.
MAX_PARTS = 40
#: What has more brackets in brackets is one part.
MAX_DEPTH = 12


@dataclass(frozen=True)
class Shape:
    """``kind``: ``list``, the two brackets of a point or interval, ``matrix``, ``ratio`` or
    ``atom``. ``labels`` are the names that stand before the parts ("" for none). ``free``: a list
    that says by braces or words that it has no order."""

    kind: str
    parts: tuple[str, ...]
    labels: tuple[str, ...]
    free: bool = False

    @property
    def label(self) -> str:
        """The one name that stands before all of it."""
        return self.labels[0] if len(set(self.labels)) == 1 else ""


_TOKEN = re.compile(
    r"\\begin|\\end|\\langle|\\rangle|\\[{}|]|\\(?:cup|pm|mp|le|ge|ne|in)(?![A-Za-z])|\\[A-Za-z]+"
    r"|(?<![A-Za-z])(?:and|or|to)(?![A-Za-z])|[或和]|[()\[\]{},;:=<>]"
)
_OPENING = frozenset((r"\begin", r"\langle", r"\{", "(", "[", "{"))
_CLOSING = frozenset((r"\end", r"\rangle", r"\}", ")", "]", "}"))
_BETWEEN = frozenset((",", "and", "or", "或", "和"))
_NAMING = ("=", r"\in")
_PAIRS = {
    "(": "(", ")": ")", "[": "[", "]": "]", r"\langle": "(", r"\rangle": ")",
}  # fmt: skip
_RELATIONS = {"<": ("<", False), ">": (">", False), r"\le": ("<", True), r"\ge": (">", True)}
_NO_NAMING = _BETWEEN | frozenset((";", r"\ne", *_RELATIONS))
_BUILDER = re.compile(r"\\\{ ?[a-z](?: ?\\in ?\\mathbb\{r\}| ?\\in ?r)? ?(?:\||:) ?(.*)\\\}")
_MATRIX = re.compile(r"\\begin\{matrix\}((?:(?!\\begin|\\end).)*)\\end\{matrix\}")
_SINGLE = re.compile(
    r"(?:[a-z]|\\(?:alpha|beta|gamma|delta|theta|phi|omega|lambda|mu|sigma|rho))'?(?:_(?:\w|\{\w{1,9}\}))?"
)
_APPLIED = re.compile(r"[f-hw](?:_\w)?\([a-z]\)")
_INDEX = re.compile(r"(.*)_\{?(\d+)\}?")
_CLOCK = re.compile(r"\d{1,2}:\d\d(?!\d).*")


def single(label: str) -> str:
    """The variable that a label is: one letter, perhaps with an index; a function of a variable is
    ``y``. Empty for a name of any other kind."""
    if _APPLIED.fullmatch(label):
        return "y"
    return label if _SINGLE.fullmatch(label) else ""


def unbuilt(text: str) -> str:
    r"""The condition of a set: of ``\{x \mid x>3\}`` what is behind the bar."""
    builder = _BUILDER.fullmatch(text)
    return builder[1].strip() if builder else text


def is_clock(text: str) -> bool:
    """Whether a text is a time of day."""
    return bool(_CLOCK.fullmatch(text))


@lru_cache(maxsize=50_000)
def shape(text: str) -> Shape:
    """What a text is made of, and its parts."""
    if depth(text) > MAX_DEPTH:
        return Shape("atom", (text,), ("",))
    if (rows := _MATRIX.fullmatch(text)) is not None:
        lines = [row.split("&") for row in rows[1].split(ROW) if row.strip()]
        cells = tuple(cell.strip() for line in lines for cell in line)
        size = "x".join(str(len(line)) for line in lines)
        return Shape(f"matrix {size}", cells, ("",) * len(cells))
    if (several := _several(text)) is not None:
        return several
    label, core = split_label(text)
    if label:
        inner = shape(core)
        named = any(inner.labels)
        return inner if named else replace(inner, labels=(label,) * len(inner.parts))
    for read in (_signs, _enclosed, _union, _interval, _ratio):
        if (found := read(text)) is not None:
            return found
    return Shape("atom", (text,), ("",))


def split_label(text: str) -> tuple[str, str]:
    r"""The name before the first ``=`` or ``\in`` of a text, and what is behind the last; the name
    is empty where there is none."""
    signs = _top(text)
    marks = [mark for mark in signs if mark[2] in _NAMING]
    if not marks or any(sign in _NO_NAMING for _, _, sign in signs):
        return "", text
    first, last = text[: marks[0][0]].strip(), text[marks[-1][1] :].strip()
    return (first, last) if last and name(first) else ("", text)


def sides(text: str) -> tuple[str, str] | None:
    """What stands before and behind the one ``=`` of an equation; None for any other text."""
    signs = _top(text)
    marks = [mark for mark in signs if mark[2] == "="]
    if len(marks) != 1 or any(sign in _NO_NAMING for _, _, sign in signs):
        return None
    left, right = _cut(text, marks)
    return (left, right) if left and right else None


def _top(text: str) -> list[tuple[int, int, str]]:
    """The signs of a text that stand in no brackets: from, to, and which."""
    found, depth = [], 0
    for match in _TOKEN.finditer(text):
        sign = match.group()
        if sign in _OPENING:
            depth += 1
        elif sign in _CLOSING:
            depth -= 1
        elif depth == 0:
            found.append((match.start(), match.end(), sign))
    return found if depth == 0 else []


def _cut(text: str, marks: list[tuple[int, int, str]]) -> list[str]:
    ends = [0, *(end for _, end, _ in marks)]
    starts = [*(start for start, _, _ in marks), len(text)]
    return [text[a:b].strip() for a, b in zip(ends, starts, strict=True)]


def _several(text: str) -> Shape | None:
    """A list: between semicolons, or commas and words."""
    marks = _top(text)
    cuts = [m for m in marks if m[2] == ";"] or [m for m in marks if m[2] in _BETWEEN]
    if not cuts:
        return None
    parts, labels, label = [], [], ""
    for part in filter(None, _cut(text, cuts)):
        if cuts[0][2] == ";":
            parts.append(part)
            labels.append("")
            continue
        own, core = split_label(part)
        label = own or label
        inner = _signs(core)
        for one in inner.parts if inner else (core,):
            parts.append(one)
            labels.append(label)
    if not 0 < len(parts) <= MAX_PARTS:
        return None
    return Shape("list", tuple(parts), tuple(labels), any(sign.isalpha() for _, _, sign in cuts))


def _signs(text: str) -> Shape | None:
    r"""The two values of an expression with ``\pm``."""
    if r"\pm" not in text or any(sign == "," for _, _, sign in _top(text)):
        return None
    plus = text.replace(r"\pm", "+").replace(r"\mp", "-")
    minus = text.replace(r"\pm", "-").replace(r"\mp", "+")
    both = tuple(one.strip().removeprefix("+").strip() for one in (plus, minus))
    return Shape("list", both, ("", ""), True)


def _enclosed(text: str) -> Shape | None:
    """What stands in one pair of brackets: a set in braces, a point or an interval."""
    opening = next(
        (sign for sign in (r"\langle", r"\{", "(", "[", "{") if text.startswith(sign)), ""
    )
    closing = next((sign for sign in (r"\rangle", r"\}", ")", "]", "}") if text.endswith(sign)), "")
    if not opening or not closing:
        return None
    inner = text[len(opening) : len(text) - len(closing)].strip()
    braces = opening[-1] == "{"
    if braces != (closing[-1] == "}") or depth(inner) > MAX_DEPTH:
        return None
    marks = _top(inner)
    cuts = [m for m in marks if m[2] == ";"] or [m for m in marks if m[2] == ","]
    if braces:
        found = shape(inner)
        if found.kind == "list":
            return replace(found, free=True)
        return found if opening == "{" else Shape("list", (inner,), ("",))
    if not cuts or len(cuts) >= MAX_PARTS:
        return None
    parts = tuple(_cut(inner, cuts))
    return Shape(_PAIRS[opening] + _PAIRS[closing], parts, ("",) * len(parts))


def depth(text: str) -> int:
    """How many brackets stand in one another at most; more than any may where they do not pair."""
    now = deepest = 0
    for match in _TOKEN.finditer(text):
        now += (match.group() in _OPENING) - (match.group() in _CLOSING)
        deepest = max(deepest, now)
        if now < 0:
            return len(text) + MAX_DEPTH
    return deepest if now == 0 else len(text) + MAX_DEPTH


def _union(text: str) -> Shape | None:
    cuts = [m for m in _top(text) if m[2] == r"\cup"]
    if not cuts or len(cuts) >= MAX_PARTS:
        return None
    parts: list[str] = []
    for part in _cut(text, cuts):
        inner = _enclosed(part)
        parts += inner.parts if inner and inner.kind == "list" else (part,)
    return Shape("list", tuple(parts), ("",) * len(parts))


def _interval(text: str) -> Shape | None:
    """The interval that a chain of inequalities about one name says that it is in."""
    marks = _top(text)
    if not 1 <= len(marks) <= 2 or any(sign not in _RELATIONS for _, _, sign in marks):
        return None
    parts = _cut(text, marks)
    signs = [_RELATIONS[sign] for _, _, sign in marks]
    if any(direction == ">" for direction, _ in signs):
        if len({direction for direction, _ in signs}) > 1:
            return None
        parts, signs = parts[::-1], signs[::-1]
    if len(parts) == 3 and name(parts[1]) and not (name(parts[0]) and name(parts[2])):
        (low, named, high), (left, right) = parts, (signs[0][1], signs[1][1])
    elif len(parts) == 2 and name(parts[0]) and not name(parts[1]):
        low, named, high, left, right = r"-\infty", parts[0], parts[1], False, signs[0][1]
    elif len(parts) == 2 and name(parts[1]) and not name(parts[0]):
        low, named, high, left, right = parts[0], parts[1], r"\infty", signs[0][1], False
    else:
        return None
    return Shape(("[" if left else "(") + ("]" if right else ")"), (low, high), (named, named))


def _ratio(text: str) -> Shape | None:
    cuts = [m for m in _top(text) if m[2] in (":", "to")]
    if not cuts or len({sign for _, _, sign in cuts}) > 1 or len(cuts) > 5:
        return None
    parts = tuple(_cut(text, cuts))
    return Shape("ratio", parts, ("",) * len(parts)) if all(parts) else None


def same_letter(labels: tuple[str, ...]) -> bool:
    """Whether labels are one name, or the roots of one: ``x_1, x_2``."""
    if len(set(labels)) == 1:
        return True
    found = [_INDEX.fullmatch(label) for label in labels]
    return len({m[1] for m in found if m}) == 1 and [m and m[2] for m in found] == [
        str(n) for n in range(1, len(labels) + 1)
    ]


def in_sequence(several: Shape) -> bool:
    """Whether the order of a list must tell something: a value is repeated, or the numbers from 1
    on are put in an order of their own."""
    parts = several.parts
    if several.free or parts[0].startswith("("):
        return False
    numbered = len(parts) > 2 and set(parts) == {str(n) for n in range(1, len(parts) + 1)}
    return numbered or len(set(parts)) < len(parts)
