"""Which option an answer names: by its letter, its text or its value."""

from __future__ import annotations

import re
from collections.abc import Mapping

from benchmarks.answers.equality import MAX_ANSWER, equivalent, normalise
from benchmarks.answers.prose import NONE_RIGHT, REFUSAL, full_width, is_placeholder
from benchmarks.answers.quantities import compute

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
    if is_placeholder(plain) and plain not in options.values():
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
    if REFUSAL.search(plain):
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
