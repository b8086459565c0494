"""Options in prose: the one that a response settles on, by letter, text, value or yes and no."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from fractions import Fraction

from benchmarks.answers.equality import equivalent
from benchmarks.answers.numerals import is_span, measured, numbers, pick, usable
from benchmarks.answers.prose import (
    CONCLUSION,
    NONE_RIGHT,
    REFUSAL,
    STATED,
    affirmed,
    affirmed_answer,
    by_weight,
    is_bound,
    is_choice,
    plain,
    sentences,
    share,
)

_LETTER_STATED = re.compile(
    r"(?:\b(?:answer|option|choice|letter|solution)s?\b[^\n]{0,80}?(?:\b(?:is|be|are)\b|[:=])"
    r"|\b(?:choose|select|pick)\b|答案(?:选项)?[是为]?|选项?|故选)"
    r"[\s:：]{0,3}(?:(?:the|correct|option|choice|letter|answer|therefore|thus)\s{1,2}){0,3}"
    r"[\"'“(\[{]{0,2}([A-Za-z])(?![A-Za-z0-9_'’])",
    re.I,
)
_LETTER_OPTION = re.compile(r"\b(?:option|choice|letter)\s{1,2}[\"'(\[]?([A-Z])\b", re.I)
_LETTER_BRACKETS = re.compile(r"[(\[]\s?([A-Za-z])\s?[)\]]")
_LETTER_LEADS = re.compile(r"\(?([A-Z])(?:\)|[.:,](?=\s|$)|$)")
_LETTER_ENDS = re.compile(r"\b(?:is|be)\s{1,2}[($]?([A-Z])[)$]?[.\s]{0,3}$")
_WRONG = re.compile(
    r"[\s\"')\]},:]{0,4}(?:\w+\s){0,3}?(?:is|are|was)(?:n't|\s+(?:not|incorrect|wrong|false))\b",
    re.I,
)
_SPACES = re.compile(r"\s+")
_TEX = re.compile(r"\\(?:text|mathrm|left|right|circ|degree)|[\\${}*]|°|\bdegrees?\b")
_ARTICLE = re.compile(r"\b(?:an?|the)\s(?=[a-z]{3})")
_YES_NO = re.compile(
    r"^(?:[^,.]{0,60},\s*)??(?:so\s)?(yes|no|true|false)\b(?!,?\s(?:or|and)\s(?:yes|no|true|false)\b)"
    r"(?!\s(?:image|picture|figure|diagram|photo|chart|object|objects|information|other)\b)",
    re.I,
)
#: Yes and no in Chinese, and "It is.", "They do not.".
_NO_WORD = re.compile(
    r"^(?:不是|否|不对|错|没有|不会|不能|并不|不)(?!知道|确定|清楚)"
    r"|^(?:it|they|he|she|this|that|there)\s(?:is|are|do|does|did|was|were|can|has|have)(?:\snot|n't)\.?$",
    re.I,
)
_YES_WORD = re.compile(
    r"^(?:是的?|对的?|正确|没错|会|能|有)(?=[,，.]|$)"
    r"|^(?:it|they|he|she|this|that|there)\s(?:is|are|do|does|did|was|were|can|has|have)\.?$",
    re.I,
)
_NEGATIVE = re.compile(r"\b(?:not|no|never|neither|cannot|without|false|incorrect)\b|n't\b", re.I)
_ORDER: Mapping[str, str] = {
    word: kind
    for kind, words in {
        "more": "greater more larger higher bigger longer taller older above",
        "less": "less fewer smaller lower shorter younger below",
        "same": "same equal",
    }.items()
    for word in words.split()
}


def read_choice(response: str, question: str, options: Mapping[str, str]) -> tuple[str | None, str]:
    """The letter of ``options`` (letter -> text) that a response settles on, and the rule.

    ``letter``: stated by its letter; ``text``: named by its text, ``words``: by a part of it;
    ``value``: by the number it is; ``polarity``: yes or no, by what a sentence affirms or denies.
    None where it names none of them (``none``; ``none of the options``: it gives a number that is
    none of them), or several (``several``).
    """
    lines = sentences(response)
    if not lines:
        return None, "none"
    forms = {letter: form for letter, text in options.items() if (form := _form(text))}
    lines = _unlisted(lines, options)
    binary = {form: letter for letter, form in forms.items()}
    if set(binary) not in ({"yes", "no"}, {"true", "false"}) and not any(
        _NEGATIVE.search(text) and not NONE_RIGHT.fullmatch(text.strip(" ."))
        for text in options.values()
    ):
        lines = [line for each in lines if (line := affirmed_answer(each)).strip()]
        if not lines:
            return None, "none"
    if any(_misnumbered(line, forms) for line in lines):
        return None, "several"
    said = [affirmed(line) for line in lines if not _refuses(line)]
    if letter := _letter([line for line in said if line.strip()], options):
        return letter, "letter"
    if set(binary) in ({"yes", "no"}, {"true", "false"}):
        return _polarity(lines, question, binary)
    if not forms:
        return None, "none"
    none = [letter for letter, text in options.items() if NONE_RIGHT.fullmatch(text.strip(" ."))]
    if len(none) == 1 and any(NONE_RIGHT.match(line) for line in lines):
        return none[0], "text"
    return _named(lines, question, forms, options)


def _refuses(line: str) -> bool:
    """Whether a sentence refuses, and does not go on to answer."""
    refusal = REFUSAL.search(line)
    return refusal is not None and not _STILL.search(line[refusal.end() :])


_STILL = re.compile(r"\b(?:but|so|however|therefore|still)\b|但|所以")


def _unlisted(lines: list[str], options: Mapping[str, str]) -> list[str]:
    """The sentences without a list of the options, which is no answer."""
    leads = {m[1] for line in lines if (m := _LETTER_LEADS.match(line)) and m[1] in options}
    return [line for line in lines if not _LETTER_LEADS.match(line)] if len(leads) > 1 else lines


def _misnumbered(line: str, forms: Mapping[str, str]) -> bool:
    """Whether the text of an option stands behind a letter that is another's: "A: No"."""
    if not (leads := _LETTER_LEADS.match(line)):
        return False
    said = _form(re.split(r"[,.;](?!\d)", line[leads.end() :])[0])
    named = [letter for letter, form in forms.items() if form == said and form]
    return len(named) == 1 and named[0] != leads[1]


def _letter(lines: Sequence[str], options: Mapping[str, str]) -> str | None:
    if not lines:
        return None
    whole = lines[0].strip(" .\"'()")
    if len(lines) == 1 and whole.upper() in options:
        return whole.upper()
    for pattern in (_LETTER_STATED, _LETTER_OPTION):
        for line in reversed(lines):
            for match in reversed(list(pattern.finditer(line))):
                if _names(match, line, options):
                    return match[1].upper()
    for line in (lines[0], lines[-1]):
        if (leads := _LETTER_LEADS.match(line)) and leads[1] in options:
            return leads[1]
    ends = _LETTER_ENDS.search(lines[-1])
    if ends and ends[1] in options and len(options) > 2:
        return ends[1]
    bracketed = [
        match[1].upper()
        for line in lines
        for match in _LETTER_BRACKETS.finditer(line)
        if match[1].upper() in options and not _WRONG.match(line[match.end() :])
    ]
    return bracketed[0] if len(set(bracketed)) == 1 else None


def _names(match: re.Match[str], line: str, options: Mapping[str, str]) -> bool:
    letter, rest = match[1], line[match.end(1) :]
    if letter.upper() not in options or _WRONG.match(rest):
        return False
    opened = line[match.start(1) - 1 : match.start(1)] in tuple("([{\"'“")
    if opened:
        return True
    return letter.isupper() and not (letter in "AI" and re.match(r"\s[a-z]", rest))


def _form(text: str) -> str:
    return _ARTICLE.sub("", _SPACES.sub(" ", _TEX.sub("", plain(text).lower()))).strip(" .")


def _mentions(line: str, forms: Mapping[str, str]) -> list[str]:
    """The letters whose text stands in a sentence; a text within a longer one does not count."""
    text = _form(line)
    found = []
    for letter, form in sorted(forms.items(), key=lambda pair: -len(pair[1])):
        if form and _within(form, text):
            denied = _DENYING.search(re.split(_bounded(form), text, maxsplit=1)[0])
            found += [] if denied else [letter]
            text = re.sub(_bounded(form), "\0", text)
    return found


_DENYING = re.compile(r"(?:\b(?:not|no|never|neither|nor)|n't)\s$")


def _named(
    lines: Sequence[str], question: str, forms: Mapping[str, str], options: Mapping[str, str]
) -> tuple[str | None, str]:
    if all(len(form) == 1 and form.isalpha() for form in forms.values()):
        return _lettered(lines, question, options)
    if len(lines) == 1 and (whole := _form(lines[0])).replace(" ", "").isalpha():
        around = [
            letter
            for letter, form in forms.items()
            if len(form) > 2 and _most(whole, form) and not NONE_RIGHT.fullmatch(form)
        ]
        if len(around) == 1:
            return around[0], "text"
    values = _values(options)
    given = {number.value for number in numbers(plain(question))}
    several = False
    for rule, candidates in by_weight(lines, question):
        for line in candidates:
            named = _mentions(line, forms) or _paraphrased(line, forms)
            if values:
                named = [letter for letter in named if _valued(line, letter, values, options)]
            if REFUSAL.search(line) and not any(REFUSAL.search(forms[name]) for name in named):
                if rule in ("stated", "conclusion"):
                    return None, "none"
                continue
            if len(named) > 1 and (before := _mentions(_AGAINST.split(line)[0], forms)):
                named = before
            if len(named) == 1 and _left_open(line, forms[named[0]]):
                return None, "several"
            if len(named) == 1 and not values:
                return named[0], "text"
            if values and any(
                is_bound(line, n.start) or is_choice(line, n.end) or is_span(line, n)
                for n in numbers(line)
                if n.value in values.values()
            ):
                several = True
                continue
            if len(named) == 1:
                return named[0], "text"
            if values and (said := pick(line, given, "", rule)) is not None:
                if said.text.count("-") > 1 or len(list(numbers(said.text))) > 1:
                    return None, "several"
                whole = measured(line, said)
                same = [k for k in values if equivalent(options[k], whole)]
                if not same and whole == said.text:
                    same = [letter for letter, other in values.items() if other == said.value]
                return (same[0], "value") if same else (None, "none of the options")
            if len(named) == 2 and _EITHER.search(line):
                return None, "several"
            several = several or len(named) > 1
    for line in (lines[0], lines[-1]):
        if not REFUSAL.search(line) and len(told := _told(line, question, forms)) == 1:
            return told[0], "words"
    return None, "several" if several else "none"


_EITHER = re.compile(r"^(?:either\s)?[^,.]{1,60}\sor\s[^,.]{1,60}$", re.I)


def _left_open(line: str, form: str) -> bool:
    """Whether a sentence goes on behind an option with another: "would increase or decrease"."""
    behind = re.split(_bounded(form), _form(line), maxsplit=1)
    return len(behind) > 1 and bool(re.match(r"\sor\s(?!not\b)[a-z]{3,20}\.?$", behind[1]))


def _valued(
    line: str, letter: str, values: Mapping[str, Fraction], options: Mapping[str, str]
) -> bool:
    """Whether an option whose text stands in a sentence stands there as its value, in its unit."""
    if letter not in values:
        return True
    said = [n for n in usable(line) if n.value == values[letter]]
    return any((m := measured(line, n)) == n.text or equivalent(options[letter], m) for n in said)


def _lettered(
    lines: Sequence[str], question: str, options: Mapping[str, str]
) -> tuple[str | None, str]:
    """Where the texts are letters: the one that a sentence names before it compares."""
    by_text = {text.strip(" ."): letter for letter, text in options.items()}
    for rule, candidates in by_weight(lines, question):
        for line in candidates if rule != "stated" else ():
            said = _AGAINST.split(line)[0]
            found = {name for name in _CAPITAL.findall(said) if name in by_text}
            if len(found) == 1 and not REFUSAL.search(line):
                return by_text[found.pop()], "text"
    return None, "none"


def _most(words: str, form: str) -> bool:
    """Whether words stand in a form and are more than half of it."""
    return 2 * len(words.split()) > len(form.split()) and _within(words, form)


def _told(line: str, question: str, forms: Mapping[str, str]) -> list[str]:
    """The letters of which at least one word, that is no other option's, is in a sentence."""
    said = _stems(_NOT_SO.sub("", _CONDITION.sub("", _form(line))))
    stems = {letter: _stems(form) for letter, form in forms.items()}
    asked = _stems(_form(question))
    shared = [w for words in stems.values() for w in words]
    return [
        letter
        for letter, words in stems.items()
        if any(word in said and word not in asked and shared.count(word) == 1 for word in words)
    ]


def _within(form: str, text: str) -> bool:
    """Whether a form stands in a text, not as a part of a longer word or number."""
    return form in text and bool(re.search(_bounded(form), text))  # few are worth a pattern


def _bounded(form: str) -> str:
    if not form.isascii() and form[0] > "\u2fff":  # no spaces between Chinese words
        return re.escape(form)
    return rf"(?<![\w.^:−-]){re.escape(form)}(?!\w|\.\d|[:/-]\w)"


_AGAINST = re.compile(
    r"\b(?:than|instead of|compared (?:to|with)|rather|unlike|while|whereas|but not|because|"
    r",\s(?:as|since|which))\b",
    re.I,
)
#: A letter that stands for itself: no article, no pronoun.
_CAPITAL = re.compile(r"(?<![\w'’])(?:[B-HJ-Z]|[AI](?!\s[a-z]))(?![\w'’])")
_CONDITION = re.compile(r"^(?:if|when|since|as|because|given)\b[^,]{0,200},", re.I)
_NOT_SO = re.compile(r"\b(?:not|no|never)\s\w{1,20}")
_TELLING = re.compile(
    r"\b(?!(?:it|the|an|of|to|in|would|will|be|is|are|also|stay|likely|no|answer|correct|option|choice|question|picture|image|figure|shown|given)\b)[^\W\d_](?:[^\W\d_]|')+"
)
_ENDING = re.compile(r"(?:es|ed|ing|e|s|d)$")


def _stems(text: str) -> set[str]:
    return {_ENDING.sub("", word) if len(word) > 3 else word for word in _TELLING.findall(text)}


def _paraphrased(line: str, forms: Mapping[str, str]) -> list[str]:
    """The letters whose every telling word stands in what a sentence says after its condition."""
    said = _stems(_CONDITION.sub("", _form(line)))
    stems = {letter: _stems(form) for letter, form in forms.items()}
    if any(not words or re.search(r"\d", forms[letter]) for letter, words in stems.items()):
        return []
    sure = _stems(_NOT_SO.sub("", _CONDITION.sub("", _form(line))))
    named = [
        letter
        for letter, words in stems.items()
        if words <= (said if _NEGATIVE.search(forms[letter]) else sure)
    ]
    return [a for a in named if not any(stems[a] < stems[b] for b in named)]


def _values(options: Mapping[str, str]) -> dict[str, Fraction] | None:
    """The options as numbers, where each is one number and perhaps its unit, or says that none is
    right."""
    values = {}
    for letter, text in options.items():
        found = list(numbers(plain(text)))
        if not text.strip():
            continue
        if not found and (NONE_RIGHT.fullmatch(text.strip(" .")) or REFUSAL.search(text)):
            continue
        if len(found) != 1 or found[0].start > 1 or re.search(r"[√^π(\\]", text):
            return None
        values[letter] = found[0].value
    return values or None


def _polarity(
    lines: Sequence[str], question: str, binary: Mapping[str, str]
) -> tuple[str | None, str]:
    yes, no = ("yes", "no") if "yes" in binary else ("true", "false")
    if not lines:
        return None, "none"
    for words, letter in ((_NO_WORD, binary[no]), (_YES_WORD, binary[yes])):
        if words.match(lines[0]):
            return letter, "text"
    settled = (line for line in reversed(lines) if CONCLUSION.match(line) or STATED.search(line))
    for line in (lines[0], *settled):
        if match := _YES_NO.match(line):
            said = match[1].lower()
            return binary[{"true": yes, "yes": yes, "false": no, "no": no}[said]], "text"
    for line in reversed(lines):
        if match := re.search(
            r"\b(?:answer|option)\b.{0,40}?(?:is|:)\W{0,3}(yes|no|true|false)\b", line, re.I
        ):
            said = match[1].lower()
            return binary[{"true": yes, "yes": yes, "false": no, "no": no}[said]], "text"
    concluding = [line for line in reversed(lines) if CONCLUSION.match(line)]
    if any(REFUSAL.search(line) for line in (lines[0], lines[-1], *concluding)):
        return None, "none"
    for line in (*concluding, *lines):
        if REFUSAL.search(line) or share(line, question) < 1 / 3:
            continue
        if (affirms := _affirms(line, question)) is not None:
            return binary[yes if affirms else no], "polarity"
    return None, "none"


def _affirms(line: str, question: str) -> bool | None:
    """Whether a sentence says yes to a question; None where it does not compare as it asks."""
    negative = bool(_NEGATIVE.search(line)) != bool(_NEGATIVE.search(question))
    asked, said = _comparison(question), _comparison(line)
    if asked and said:
        kind = said[0]
        left, right = asked[1] - asked[2], asked[2] - asked[1]
        straight = _tends(left, said[1], said[2]) + _tends(right, said[2], said[1])
        if straight < 0:
            kind = {"more": "less", "less": "more"}.get(kind, kind)
        return (kind == asked[0]) != negative
    if asked and not negative and not _COMPARES.search(line):
        return None
    return not negative


_COMPARES = re.compile(
    rf"\b(?:{'|'.join(_ORDER)}|than|most|least|\w{{3,12}}(?:er|est)|exceeds?|true|correct)\b", re.I
)


def _tends(words: set[str], here: set[str], there: set[str]) -> float:
    """How much more of some words is here than there, from -1 to 1."""
    return (len(words & here) - len(words & there)) / max(1, len(words))


def _comparison(text: str) -> tuple[str, set[str], set[str]] | None:
    words = re.findall(r"[a-z]+", text.lower())
    for place, word in enumerate(words):
        if word in _ORDER and ("than" in words[place:] or _ORDER[word] == "same"):
            link = "than" if "than" in words[place:] else "as"
            split = words.index(link, place) if link in words[place:] else place
            before = set(words[:split]) - {word, "the"}
            return _ORDER[word], before, set(words[split + 1 :]) - {"the"}
    return None
