"""What a question asks for, and which of its options an answer names."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from benchmarks.answers.equality import MAX_ANSWER, equivalent, normalise
from benchmarks.answers.prose import NONE_RIGHT, REFUSAL, full_width, is_placeholder
from benchmarks.answers.quantities import compute

Kind = Literal["choice", "number", "list", "formula", "text"]

#: An option at the start of a line of a question: ``(A) 12``, ``A. 12``, ``A: 12``.
_LINE = re.compile(r"^[ \t]*(?:\(([A-Z])\)|([A-Z])[.:、．)])[ \t]*(.*?)[ \t;]*$", re.M)
#: Shorter sentences of a question are no mark of a repetition.
MIN_REPEATED = 16
#: Of a longer question only the beginning is recognised.
MAX_QUESTION = 4_000
_SENTENCE_OF = re.compile(r"(?<=[.?!。？])\s+|\n+")
_HEADING = re.compile(r"\s*(?:\n[ \t]*(?:choices|options)[ \t]*:)?\s*\Z", re.I)
_BOXED_GOLD = re.compile(r"\s*\$?\\boxed\s?\{(.*)\}\$?\s*", re.S)


@dataclass(frozen=True)
class Asked:
    """What an item asks for.

    ``question`` is its text without the options. ``options`` are texts by letter; an answer of kind
    ``choice`` is a letter of them. A ``number`` is in ``unit``, and compared as a value or, with
    ``decimals``, rounded to so many; a ``list`` is one of numbers; a ``formula`` is whatever means
    the same, a number included; a ``text`` has the same words. ``gold`` is the right answer, which
    the reader of a response never looks at.
    """

    kind: Kind = "formula"
    question: str = ""
    gold: str = ""
    options: Mapping[str, str] = field(default_factory=dict, hash=False)
    unit: str = ""
    decimals: int | None = None


def asked_of(question: str, meta: Mapping[str, Any] | None = None, gold: str = "") -> Asked:
    """What a question asks for, by what it comes with.

    ``meta`` may say ``options`` (a list, or texts by letter), of which the gold is a letter or the
    text, or ``choices``, ``answer_type`` (``integer``, ``float``, ``list``), ``precision`` and
    ``unit`` as MathVista has them, where the gold is the text of a choice. Without options there,
    those that the text lists at the start of its lines count. A gold that is none of the options
    is an answer of free form.
    """
    meta = meta or {}
    stem, listed = split_options(question)
    if options := _named(meta.get("choices")):
        letter = letter_of_text(gold, options)
    elif options := _named(meta.get("options")) or listed:
        letter = letter_of(gold, options)
    if options and (letter or not gold):
        return Asked("choice", stem, letter, options)
    kind = meta.get("answer_type")
    if kind == "list":
        return Asked("list", question, gold)
    if kind in ("integer", "float"):
        precision = meta.get("precision")
        decimals = int(precision) if kind == "float" and precision is not None else None
        return Asked("number", question, gold, unit=meta.get("unit") or "", decimals=decimals)
    box = _BOXED_GOLD.fullmatch(gold)  # as a few golds are written
    return Asked("formula", question, box[1] if box else gold)


def split_options(question: str) -> tuple[str, dict[str, str]]:
    """A question's text up to the line that begins with option A, and the options; none where fewer
    than two lines begin with A, B, ... in order."""
    found: dict[str, str] = {}
    start = len(question)
    for match in _LINE.finditer(question):
        letter = match[1] or match[2]
        if letter == "A":
            found, start = {}, match.start()
        if len(found) < 26 and letter == chr(ord("A") + len(found)):
            found[letter] = match[3]
    stem = _HEADING.sub("", question[:start], count=1) if start else question
    return stem, found if len(found) > 1 else {}


def unasked(text: str, asked: Asked) -> str:
    """A response with line ends in place of what it repeats of the question word for word: all of
    it, its longer sentences, and a list of all options."""
    question = full_width(asked.question[:MAX_QUESTION]).strip()
    for sentence in (question, *_SENTENCE_OF.split(question)):
        if len(sentence) < MIN_REPEATED:
            continue
        text = text.replace(sentence, "\n" * len(sentence))
        begun = text.rfind(sentence[:MIN_REPEATED])
        if begun >= 0 and sentence.startswith(text[begun:].rstrip()):  # and is cut there
            text = text[:begun] + "\n" * (len(text) - begun)
    if len(asked.options) > 1:
        place = r"[.:、．)\]]?\s{0,3}"
        lines = (
            rf"[(\[]?{k}{place}{re.escape(full_width(v.strip()))}" for k, v in asked.options.items()
        )
        listed = r"[\s;,]{1,6}(?:(?:and|or)\s)?".join(lines)
        text = re.sub(listed, lambda match: "\n" * len(match[0]), text)
    return text


def letter_of(gold: str, options: Mapping[str, str]) -> str:
    """The letter of a gold that is written as a letter or as the text of an option; empty where it
    is neither."""
    plain = gold.strip()
    bare = plain.strip("().:").upper()
    if plain in options:
        return plain
    return letter_of_text(plain, options) or (bare if bare in options else "")


def letter_of_text(gold: str, options: Mapping[str, str]) -> str:
    """The letter of the first option whose text is the gold; empty where none is."""
    return next((letter for letter, text in options.items() if text.strip() == gold.strip()), "")


def _named(given: Any) -> dict[str, str]:
    if isinstance(given, Mapping):
        return {str(letter): str(text) for letter, text in given.items()}
    if isinstance(given, list | tuple):
        return {chr(ord("A") + i): str(text) for i, text in enumerate(given[:26])}
    return {}


# ---------------------------------------------------------------------------- which option is named

_WRAPPER = re.compile(
    r"\\(?:text|textbf|textit|textrm|mathrm|mathbf|mathit|mathsf|bm|boldsymbol|mbox|operatorname|"
    r"boxed|fbox|rm|bf)\s{0,3}\{([^{}]{0,400})\}"
)
_WRAPPED = re.compile(r"\s*\\(?:text|textbf|mathrm|mathbf|mbox)\s{0,3}\{(.*)\}\s*", re.S)
_SIGNS = re.compile(r"\\[()\[\]]|\$|\*\*|__|`|<<|>>|\\[,;:! ]|\\q?quad(?![a-z])|~")
_PREFIX = re.compile(
    r"(?:1[.)]\s)?(?:(?:the|my|final|correct|probably|therefore|thus|clearly|simply|just)\s{1,3}){0,4}"
    r"(?:(?:options?|choices?|letters?|answers?|选项?|答案)(?:\s{0,3}(?:is|:|：|#))?\s{0,3})?"
    r"(?=[(\[{\"'“]{0,3}[A-Za-z](?![A-Za-z]))",
    re.I,
)
_LETTER = r"[(\[{\"'“]{0,3}\s?([A-Za-z])\s?[)\]}\"'”]{0,3}"
_ARTICLE = re.compile(r"(?:an?|the)\s(?=[a-z]{3})")
_LEAD = re.compile(r"[(\[{\"'“]{0,3}[A-Za-z][)\]}\"'”]{0,3}\s{0,3}(?:[.:,、-]\s{0,3}|is\s)?")
_ALONE = re.compile(rf"{_LETTER}\s{{0,3}}[.:,;!、。．]?")
_LETTERED = re.compile(
    r"[\"'“]?(?:[(\[{]\s?(?P<in>[A-Za-z])\s?[)\]}]|(?P<out>[A-Za-z])\s?[)\]}])[\"'”]?"
    r"\s{0,3}[.:,、，．-]?\s{0,3}(?P<bracketed>.*)"
    r"|[\"'“]?(?P<dotted>[A-Za-z])[\"'”]?\s{0,2}"
    r"(?:[.:、．]|[,，;](?=\s|[\u4e00-\u9fff])|\s[-–—]{1,2}\s|(?P<equal>\s=\s)|\s?(?=\()|\n)"
    r"\s{0,3}(?P<behind>.*)"
    r"|[\"'“]?(?P<plain>[A-Z])[\"'”]?\s(?P<said>.*)",
    re.S,
)
_SEVERAL = re.compile(
    rf"(?:both\s|either\s)?{_LETTER}"
    r"(?:\s{0,3}[,/&、]|(?:\s{0,3}[.:]?\s{0,3}[^,\n]{0,40}?)??\s{0,3}(?:\bor\b|\band\b|或|和))\s{0,3}"
    rf"(?:(?:or|and|option|choice|maybe|perhaps|possibly|even)\s){{0,3}}{_LETTER}(?![A-Za-z\d])",
    re.I,
)
#: What may follow "A" for it to be a letter and no article.
_GOES_ON = re.compile(
    r"(?:because|as|since|for|given|due|by|based|according|which|with|is|was|from|where|when|so|"
    r"and|in|on|at|but|since|if|after|using|would|must|should|considering)\b|[^A-Za-z\d]"
)
#: A letter that is denied, or stands under a condition: "B is wrong", "B unless ...".
_DENIED_LETTER = re.compile(
    rf"{_LETTER}\s(?:is|was|seems)\s(?:not|n't|wrong|incorrect|false)\b|{_LETTER}[^.\n]{{0,40}}\sunless\b",
    re.I,
)
#: What is said of a value in brackets behind it: "90° (right angle)".
_ASIDE = re.compile(r"(?<=\S)\s{0,3}\([^()]{0,40}?[A-Za-z]{3}[^()]{0,40}\)\Z")


def named(answer: str, options: Mapping[str, str]) -> tuple[str | None, str]:
    """The letter of ``options`` (letter -> text) that an answer names, and how.

    ``letter``: the letter alone, or with what it says behind it (``B. 12 cm``, ``(B) because``);
    ``text``: the text of exactly one option; ``value``: exactly one option has its value. None
    where it names ``several``, a value that is ``none of the options``, is ``refused``, or says
    nothing of them (``none``).
    """
    if len(answer) > MAX_ANSWER:
        return None, "none"
    plain = _plain(answer)
    if not plain:
        return None, "none"
    forms = {k: normalise(_ARTICLE.sub("", text.strip(), count=1)) for k, text in options.items()}
    bare = _PREFIX.sub("", plain, count=1)
    if _DENIED_LETTER.match(bare):
        return None, "refused"
    if (match := _ALONE.fullmatch(bare)) and match[1].upper() in options:
        return match[1].upper(), "letter"
    exact = [letter for letter, text in options.items() if _squashed(text) == _squashed(plain)]
    if len(exact) == 1:
        return exact[0], "text"
    form = normalise(plain)
    same = [letter for letter, text in forms.items() if text and text == form]
    if len(same) == 1:
        return same[0], "text"
    if (match := _SEVERAL.match(bare)) and (match[1] + match[2]) != (match[1] + match[2]).lower():
        both = {match[1].upper(), match[2].upper()}
        if len(both) == 2 and both <= set(options):
            return None, "several"
    if letter := _lettered(bare, options):
        said = normalise(_LEAD.sub("", bare, count=1))
        others = [name for name, text in forms.items() if text == said != "" and name != letter]
        return (None, "several") if others and forms[letter] != said else (letter, "letter")
    none = [letter for letter, text in options.items() if NONE_RIGHT.fullmatch(text.strip(" ."))]
    if len(none) == 1 and NONE_RIGHT.match(plain):
        return none[0], "text"
    head = normalise(re.split(r"[,.;，；]\s", plain, maxsplit=1)[0])
    same = [letter for letter, text in forms.items() if text and text == head]
    if len(same) == 1 and head:
        return same[0], "text"
    if REFUSAL.search(plain) or is_placeholder(plain):
        return None, "refused"
    same = [letter for letter, text in options.items() if text and equivalent(text, plain)]
    if len(same) == 1 or (same and len({_squashed(options[letter]) for letter in same}) == 1):
        return same[0], "value"
    if (whole := _ASIDE.sub("", plain)) != plain and not _LETTERED.match(bare):
        return named(whole, options)
    if compute(plain) is not None:
        return None, "none of the options"
    own = _without_common_words(options)
    same = [letter for letter, text in own.items() if text and text == plain.casefold()]
    return (same[0], "text") if len(same) == 1 else (None, "none")


def _squashed(text: str) -> str:
    return " ".join(_plain(text).casefold().strip(" .").split())


def _without_common_words(options: Mapping[str, str]) -> dict[str, str]:
    """The texts without the words that all of them begin with: of "point P", "point Q"."""
    words = {letter: text.casefold().split() for letter, text in options.items() if text.strip()}
    common = 0
    while len({tuple(each[: common + 1]) for each in words.values()}) == 1 and all(
        len(each) > common + 1 for each in words.values()
    ):
        common += 1
    return {letter: " ".join(each[common:]) for letter, each in words.items()} if common else {}


def _plain(answer: str) -> str:
    text = full_width(answer).replace("\\$", "")
    while (unwrapped := _WRAPPER.sub(r"\1", text)) != text:
        text = unwrapped
    if whole := _WRAPPED.fullmatch(text):
        text = whole[1]
    text = _SIGNS.sub(lambda m: " " if m[0] in ("~", "\\ ") else "", text)
    return _ARTICLE.sub("", text.strip(" *_\t\r\n"), count=1)


def _lettered(text: str, options: Mapping[str, str]) -> str | None:
    """The letter at the head of an answer that goes on behind it."""
    if not (match := _LETTERED.match(text)):
        return None
    letter = match["in"] or match["out"] or match["dotted"] or match["plain"]
    if letter.upper() not in options:
        return None
    if match["equal"] and not equivalent(options[letter.upper()], match["behind"]):
        return None
    if match["plain"] is None:
        if letter.islower() and match["dotted"] and not match["behind"]:
            return None
        return letter.upper()
    said = match["said"]
    if letter in "AI" and not _GOES_ON.match(said):
        same = normalise(said) == normalise(options[letter])
        return letter if same else None
    return letter
