r"""Units of measurement: which text behind a number is one, and what it measures.

A unit is a product of powers of dimensions with a size: ``km/h`` is length by time, 5/18 of the
base. Any other noun (``12 triangles``) is no unit: it says what was counted, and counts compare as
numbers.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

from benchmarks.answers.notation import DEGREE, DOLLAR


@dataclass(frozen=True)
class Unit:
    """``dimensions`` with their powers, and the ``size`` in base units; ``name`` is how it is
    written, the same for all spellings."""

    dimensions: tuple[tuple[str, int], ...]
    size: Fraction | float
    name: str


#: Whatever is counted, or nothing at all.
NOUN = Unit((), Fraction(1), "")

#: dimension: its units, each with its size and other spellings, in singular.
_TABLE = {
    "length": "m 1 meter metre 米; cm 1/100 centimeter centimetre 厘米 公分;"
    "dm 1/10 decimeter 分米; mm 1/1000 millimeter millimetre 毫米;"
    "km 1000 kilometer kilometre 千米 公里; in 127/5000 inch;"
    r"\mum 1/1000000 micron micrometer; nm 1/1000000000 nanometer; ft 381/1250 foot feet;"
    "yd 1143/1250 yard; mi 201168/125 mile",
    "mass": "g 1 gram gramme gm 克; mg 1/1000 milligram 毫克; kg 1000 kilogram 千克 公斤;"
    "t 1000000 tonne 吨; lb 45359237/100000 pound; oz 45359237/1600000 ounce",
    "time": "s 1 second sec 秒; ms 1/1000 millisecond; min 60 minute 分钟; h 3600 hour hr 小时;"
    "day 86400 天; week 604800 wk 周",
    "year": "year 1 yr 年; month 1/12 月",
    "angle": f"{DEGREE} 1 degree deg 度; rad {180 / math.pi!r} radian 弧度",
    "degree celsius": f"{DEGREE}C 1 celsius {DEGREE}celsius 摄氏度",
    "degree fahrenheit": f"{DEGREE}F 1 fahrenheit {DEGREE}fahrenheit",
    "kelvin": "K 1 kelvin",
    "per cent": "% 1",
    "dollar": f"{DOLLAR} 1 dollar usd US{DOLLAR} 美元; cent 1/100",
    "euro": "€ 1 euro eur 欧元",
    "pound": "£ 1 gbp 英镑",
    "rupee": "₹ 1 rupee rs inr",
    "yuan": "yuan 1 元 rmb cny 人民币; 角 1/10",
    "yen": "yen 1 日元 jpy",
    "force": "N 1 newton 牛; kN 1000",
    "energy": "J 1 joule 焦耳; kJ 1000",
    "power": "W 1 watt 瓦; kW 1000 kilowatt",
    "voltage": "V 1 volt 伏",
    "current": "A 1 ampere amp 安; mA 1/1000",
    "resistance": r"\Omega 1 ohm 欧",
    "frequency": "Hz 1 hertz; kHz 1000; MHz 1000000",
    "pressure": "Pa 1 pascal; kPa 1000",
}


#: Units of several dimensions, or of one to a power: name, which, size, other spellings.
_COMPOSED: tuple[tuple[str, dict[str, int], str, str], ...] = (
    ("L", {"length": 3}, "1/1000", "liter litre l 升"),
    ("mL", {"length": 3}, "1/1000000", "milliliter millilitre ml cc 毫升"),
    ("mph", {"length": 1, "time": -1}, "1397/3125", ""),
    ("kph", {"length": 1, "time": -1}, "5/18", "kmh"),
)


def _table() -> dict[str, Unit]:
    found: dict[str, Unit] = {}
    for dimension, line in _TABLE.items():
        for entry in line.split(";"):
            name, size, *spellings = entry.split()
            unit = Unit(((dimension, 1),), float(size) if "." in size else Fraction(size), name)
            found |= dict.fromkeys((name, *spellings), unit)
    for name, dimensions, size, other in _COMPOSED:
        unit = Unit(tuple(dimensions.items()), Fraction(size), name)
        found |= dict.fromkeys((name, *other.split()), unit)
    return found


_KNOWN = _table()
#: Units of one letter that may stand at a digit without a space: ``5m``.
_TIGHT = frozenset("mgs")
_TOKEN = re.compile(
    rf"""\s*(?:
    (?P<power>\^\s?\{{\s?-?\d\s?\}}|\^\s?-?\d|\d(?!\d)|(?:squared|cubed)\b)
    |(?P<by>/|\bper\b|每)
    |(?P<times>\\(?:cdot|times)(?![a-zA-Z])|[*·-])
    |(?P<raised>\b(?:sq(?:uare)?|cu(?:bic)?)\b\.?|平方|立方)
    |(?P<unit>{DEGREE}\s?(?:[CF]|celsius|fahrenheit)\b|US{DOLLAR}|[{DEGREE}%{DOLLAR}€£₹]
        |\\mu\s?m\b|\\Omega(?![a-zA-Z])|[A-Za-z]+\.?|(?:(?!平方|立方|每)[\u4e00-\u9fff])+))""",
    re.IGNORECASE | re.VERBOSE,
)
_QUOTIENT = re.compile(r"\\frac\{([^{}]*)\}\{([^{}]*)\}")
_SQUARED = ("sq", "square", "squared", "平方")
_CHINESE_NOUN = re.compile(r"(?:(?![或和至到不于多少约与是])[\u4e00-\u9fff]){1,8}")
_RAISED = re.compile(r"\^(?:\{[23]\}|[23])$")
_PUNCTUATION = re.compile(r"[().'’-]")
#: What a count does not lose its meaning without: "in total", "square units".
_IDLE = re.compile(
    r"\b(?:in (?:total|all)|altogether|of (?:them|these|those)|only|exactly"
    r"|(?:sq(?:uare)?|cu(?:bic)?)?\.? ?units?)\b|单位",
    re.I,
)
#: A phrase with one of these says more than what was counted.
_MORE_THAN_A_NOUN = """
    or and to than is are was were not no nor between if when minus plus divided mod modulo but
    either until after before at least most about because since for so therefore hence it its this
    that these sin cos tan cot sec csc log ln exp sqrt frac cup cap pi undefined cannot unknown more
    less fewer greater larger smaller approximately i we you in on with along by from under over
    away"""
_NO_NOUN = frozenset(_MORE_THAN_A_NOUN.split())


def unit(text: str, tight: bool = False) -> Unit | None:
    """The unit that a text is, :data:`NOUN` for a noun or nothing, None for anything else.

    ``tight`` where no space divides it from its number: ``2abc`` counts nothing.
    """
    text = text.strip()
    return _unit(text, tight) if text else NOUN


@lru_cache(maxsize=10_000)
def _unit(text: str, tight: bool) -> Unit | None:
    if text[0] + text[-1] == "()":
        return unit(text[1:-1])
    if quotient := _QUOTIENT.fullmatch(text):
        text = f"{quotient[1]}/{quotient[2]}"
    if tight and len(text) == 1 and text.isascii() and text.isalpha() and text not in _TIGHT:
        return None
    if (measured := _measure(text)) is not None:
        return measured
    noun = _CHINESE_NOUN.fullmatch(text) or (not tight and _is_noun(text))
    return NOUN if noun else None


def counted(text: str) -> str:
    """What a noun behind a number says that was counted; empty where that is nothing."""
    text = _IDLE.sub(" ", _RAISED.sub("", text))
    return " ".join(_PUNCTUATION.sub(" ", text).lower().split())


def _is_noun(text: str) -> bool:
    """Whether a text is a short phrase that names what was counted: no number, no name of an
    unknown, and nothing about where or when."""
    if not text[0].isalpha():
        return False
    words = counted(text).split()
    if len(words) > 6 or not all(word.isalpha() for word in words):
        return False
    telling = (w for w in words if len(w) > 4 or (len(w) > 2 and w.upper() not in text))
    vowels = any(not w.isascii() or set("aeiouy") & set(w) for w in telling)
    return not words or (vowels and _NO_NOUN.isdisjoint(words) and min(map(len, words)) > 1)


def _measure(text: str) -> Unit | None:
    """The product of units that a text is; None where it is none."""
    factors: list[tuple[Unit, int]] = []
    at, sign, raised, complete = 0, 1, 1, False
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None or match.lastgroup is None:
            return None
        at, kind, token = match.end(), match.lastgroup, match[match.lastgroup]
        if kind == "raised":
            raised, complete = _power(token), False
        elif kind == "unit":
            one = _lookup(token)
            if one is None or len(factors) > 6:
                return None
            factors.append((one, sign * raised))
            raised, complete = 1, True
        elif not complete:
            return None
        elif kind == "power":
            factors[-1] = factors[-1][0], factors[-1][1] * _power(token)
        else:
            sign = -1 if kind == "by" else sign
            complete = False
    return _product(factors) if complete else None


def _power(token: str) -> int:
    digit = re.search(r"-?\d", token)
    return int(digit[0]) if digit else 2 if token.lower().rstrip(".") in _SQUARED else 3


def _product(factors: list[tuple[Unit, int]]) -> Unit | None:
    powers: Counter[str] = Counter()
    size: Fraction | float = Fraction(1)
    for one, power in factors:
        if not 0 < abs(power) < 10:
            return None
        size *= one.size**power
        for dimension, times in one.dimensions:
            powers[dimension] += times * power
    name = " ".join(one.name + (f"^{power}" if power != 1 else "") for one, power in factors)
    return Unit(tuple(sorted((d, p) for d, p in powers.items() if p)), size, name)


def _lookup(token: str) -> Unit | None:
    token = re.sub(r"\s|\.$", "", token)
    for spelling in (token, token.lower()) if len(token) > 1 else (token,):
        singular = spelling.removesuffix("s")
        for form in (spelling, singular, singular.removesuffix("e")):
            if form in _KNOWN and (form == spelling or len(form) > 1):
                return _KNOWN[form]
    return None
