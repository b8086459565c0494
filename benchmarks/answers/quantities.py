r"""The one number that an answer states, and its unit.

A number is computed, not mined: ``\sqrt{36}`` is 6, ``0.5 \times 100 = 50`` is 50, and ``3 or 4``,
``more than 10`` or ``2x+3`` is none.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

from benchmarks.answers import arithmetic
from benchmarks.answers.arithmetic import Value
from benchmarks.answers.notation import ABOUT, DOLLAR, clean
from benchmarks.answers.units import NOUN, Unit, counted, unit

#: Floating point is as good as this, relative to the larger of two numbers.
TOLERANCE = 1e-9
#: A number of more digits is left as it is written.
MAX_WRITTEN = 60
#: What is said to be about a value is that value to a twentieth.
ROUGHLY = 0.05


@dataclass(frozen=True)
class Quantity:
    """A number and its unit. ``written`` is the number as it stands in the text; ``about`` are the
    numbers that the text says it comes to about."""

    value: Value
    unit: Unit
    written: str
    about: tuple[Value, ...] = ()
    noun: str = ""

    @property
    def factors(self) -> list[str]:
        """Of a product that is not computed, such as a box's ``4 \\times 6 \\times 16``."""
        factors = _TIMES.split(self.written)
        return sorted(factors) if len(factors) > 1 and all(map(str.isdigit, factors)) else []

    @property
    def rounded(self) -> bool:
        """Whether it is a decimal of so many digits that it must be a computed one."""
        digits = self.written.replace(".", "").lstrip("-+0")
        return "." in self.written and digits.isdigit() and len(digits) >= 10

    @property
    def form(self) -> str:
        """How it is written in normal form."""
        number = "" if self.rounded or self.factors else str(self.value)
        if not isinstance(self.value, Fraction) or not 0 < len(number) <= MAX_WRITTEN:
            number = self.written.replace(" ", "").lower()
        rough = "".join(ABOUT + str(value) for value in self.about)
        behind = self.unit.name or self.noun
        return number + (" " + behind if behind else "") + rough

    def same(self, other: Quantity) -> bool:
        """Whether both are one quantity: units that measure the same are converted, and a unit that
        only one of them has is free."""
        if not _agree(self, other):
            return False
        if self.factors and other.factors and self.factors != other.factors:
            return False
        a, b = self.unit, other.unit
        scales: tuple[Value, Value] = (Fraction(1), Fraction(1))
        if a.dimensions and b.dimensions:
            if a.dimensions != b.dimensions:
                return False
            scales = (a.size, b.size) if a.size != b.size else scales
        pairs = [(self.value, other.value)]
        pairs += [(self.value, value) for value in other.about]
        pairs += [(value, other.value) for value in self.about]
        exactly = not (self.rounded or other.rounded)
        return any(alike(x * scales[0], y * scales[1], exactly) for x, y in pairs)


_TIMES = re.compile(r" ?\\(?:cdot|times) ?")
_UNITS = "one two three four five six seven eight nine"
_TEENS = "ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen"
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety"
_WORDS = {word: n for n, word in enumerate(f"zero {_UNITS} {_TEENS}".split())}
_WORDS |= {word: 10 * n for n, word in enumerate(_TENS.split(), 2)}
_SCALES = {"hundred": 100, "thousand": 1000, "million": 10**6, "billion": 10**9}
_IN_WORDS = re.compile(
    rf"(?:{'|'.join([*sorted(_WORDS, key=len, reverse=True), *_SCALES])}|(?<=d )and(?= [a-z]))"
    r"(?:[ -]|$|(?![A-Za-z]))",
    re.I,
)
_GROUPED = re.compile(r"(?<!\d)[1-9]\d{0,2}(?:,\d{3})+(?![\d,])")
_LEAD = re.compile(
    r"(?:(?:about|approximately|approx\.?|around|roughly|exactly|circa|a total of) "
    r"|(?!(?:more|less|not?|over|under|between|at|greater|fewer|up|above|below|than|either)\b)"
    r"[A-Za-z][A-Za-z' -]{1,40}: ?)(?=\S)",
    re.I,
)
_CURRENCY = re.compile(rf"([-+]?) ?(US{DOLLAR}|[{DOLLAR}€£₹]|Rs\.?|USD|EUR)(?![a-z]) ?", re.I)
_COMPOUND = re.compile(
    r"(\d{1,6}) ?([A-Za-z°小时米元]+),? ?(?:and )?(\d{1,6}(?:\.\d{1,6})?) ?([A-Za-z分钟厘米秒]+)"
)
_DASHES = re.compile(r"\d+(?:\.\d+)?(?: ?- ?\d+(?:\.\d+)?)+(?![\d.])")
_MARK = re.compile(r"[\d]|\\pi|[A-Za-z]{3}")
_LETTER = re.compile(r"[^\W\d_]")
#: What stands left of an equals sign and names what is right of it: ``x``, ``m+n``, ``|AB|``,
#: ``f(2)``, ``S_{\triangle ABC}``, ``m\angle ABC``, ``\frac{NO}{BO}``, ``The area``.
_NAME = re.compile(
    r"""(?!-)(?>
    (?<=[A-Za-z])\([^()=]{1,20}\)
    |_(?:\{[^{}=]{1,20}\}|\w)
    |\^(?:\{\\?\w{1,9}\}|[*'])
    |\\(?!(?:ne|le|ge|in|pm|sqrt|cup)(?![a-z]))[A-Za-z]++
    |[^\W\d_]|[\ |:+'°{}()\[\],/-]
    )++""",
    re.VERBOSE,
)


def compute(text: str) -> Value | None:
    """The one number that an answer states, whatever its unit; exact where it is rational.

    None for a range, a hedge, several numbers, an expression with unknowns, and for prose.
    """
    found = read(clean(text))
    return None if found is None else found.value


@lru_cache(maxsize=50_000)
def read(text: str) -> Quantity | None:
    """The quantity that a cleaned text states.

    ``text`` is as :func:`benchmarks.answers.notation.clean` leaves it.
    """
    if not text or not _MARK.search(text):
        return None
    if text.isdigit() and text.isascii() and len(text) < 400:
        return Quantity(Fraction(int(text)), NOUN, text.lstrip("0") or "0")
    stated, *about = text.split(ABOUT)[:4]
    found = _stated(stated.strip())
    rough = tuple(q for part in about if (q := _stated(part.strip())))
    if found is None:
        named = not stated.strip() or name(stated.removesuffix("=")) is not None
        return rough[0] if rough and named else None
    near = tuple(q.value for q in rough if alike(q.value, found.value, False, ROUGHLY))
    return Quantity(found.value, found.unit, found.written, near) if near else found


def name(text: str) -> str | None:
    """The text, where it is the name of something and no number or formula."""
    text = text.strip()
    is_name = len(text) <= 80 and _NAME.fullmatch(text) and _LETTER.search(text)
    return text if is_name else None


def is_order(text: str) -> bool:
    """Whether a text is a range or an order of numbers, no difference: ``10-15 cm``, ``3-1-2``."""
    dashes = _DASHES.match(text)
    return dashes is not None and measure(text, dashes.end()) is not None


def measure(text: str, at: int) -> Unit | None:
    """The unit that a text is from some place on."""
    return unit(text[at:], tight=text[at : at + 1] != " ")


def alike(a: Value, b: Value, exactly: bool = True, tolerance: float = TOLERANCE) -> bool:
    """Whether two numbers are equal: ``exactly``, where both are rational, else within a relative
    tolerance."""
    if exactly and isinstance(a, Fraction) and isinstance(b, Fraction):
        return a == b
    try:
        return abs(float(a) - float(b)) <= tolerance * max(abs(float(a)), abs(float(b)))
    except OverflowError:
        return False


def _stated(text: str) -> Quantity | None:
    """What a text states in which each part but one, left of an equals sign, is a name or a number
    too."""
    *before, last = text.split("=") if "=" in text else (text,)
    found = None if is_order(last.strip()) else _measured(last.strip())
    if found is None and len(before) == 1 and name(last):  # "12 = x"
        return _measured(before[0].strip())
    if found is None or not all(name(part) or _measured(part.strip()) for part in before):
        return None
    return found


def _measured(text: str) -> Quantity | None:
    """A number and what it counts or measures, and nothing else."""
    if lead := _LEAD.match(text):
        text = text[lead.end() :]
    money: Unit | None = None
    text = text.removeprefix("¥").lstrip()  # yuan or yen
    if currency := _CURRENCY.match(text):
        text = currency[1] + text[currency.end() :]
        money = unit(currency[2])
    if "," in text and not re.search(r"[()\[\]{}]", text):
        text = _GROUPED.sub(lambda group: group[0].replace(",", ""), text)
    found = arithmetic.prefix(text) or _in_words(text)
    if found is None:
        return None
    number, end = found
    rest = text[end:]
    if rest and (again := arithmetic.value(rest.strip(" ()"))) is not None and rest.endswith(")"):
        rest = "" if alike(again, number) else rest
    kind = measure(rest, 0)
    if kind is None and (parts := _COMPOUND.fullmatch(text)):
        return _compound(*parts.groups())
    if kind is None or (kind is not NOUN and money not in (None, kind)):
        return None
    noun = counted(rest) if kind is NOUN else ""
    return Quantity(number, money or kind, text[:end].strip(), noun=noun)


def _agree(one: Quantity, other: Quantity) -> bool:
    """Whether two quantities can be of one thing, as far as they name it: two nouns, or a noun and
    a unit, where one says no more than the other."""
    for counts, measures in ((one, other), (other, one)):
        if counts.noun and measures.unit.name:
            return measures.unit in map(unit, counts.noun.split())
    a, b = ({word.rstrip("s") for word in q.noun.split()} for q in (one, other))
    return a <= b or b <= a


def _compound(much: str, large: str, more: str, small: str) -> Quantity | None:
    """``1 h 35 min``, in the larger unit."""
    whole, part = unit(large), unit("min" if small == "m" and large[0] == "h" else small)
    if not whole or not part or not whole.dimensions == part.dimensions != ():
        return None
    if part.size >= whole.size:
        return None
    value: Value = Fraction(much) + Fraction(more) * (part.size / whole.size)
    return Quantity(value, whole, str(value))


def _in_words(text: str) -> tuple[Fraction, int] | None:
    """The number that a text begins with in English words, and where that ends."""
    total = group = at = 0
    while match := _IN_WORDS.match(text, at):
        word, at = match[0].strip(" -").lower(), match.end()
        if word in _WORDS:
            if group % 10 or group % 100 == 10 or (group % 100 and _WORDS[word] >= 10):
                return None  # "one two"
            group += _WORDS[word]
        elif word == "hundred":
            group = (group or 1) * 100
        elif word in _SCALES:
            total, group = total + (group or 1) * _SCALES[word], 0
    if at and text[at - 1] in " -":
        at -= 1
    return (Fraction(total + group), at) if at else None
