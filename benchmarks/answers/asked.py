"""What a question asks for, as far as its answer is read and compared."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from benchmarks.answers.prose import full_width

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
    """A response with line ends in place of what it repeats of the question word for word: its
    sentences, and a list of all options."""
    for sentence in _SENTENCE_OF.split(full_width(asked.question[:MAX_QUESTION])):
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
        listed = r"[ \t;]{0,3}\s[\s;]{0,3}".join(lines)
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
