"""Reading the answer that a response gives."""

from __future__ import annotations

import re

#: An answer stands near the end: of a longer response only so many last characters are read.
MAX_RESPONSE = 100_000


#: A response of one line and so many characters is an answer as it stands.
MAX_BARE = 40


#: A statement longer than this states no answer.
MAX_STATEMENT = 200


_BOX = re.compile(r"\\\\|\\[{}]|\\f?box(?:ed)?\s{0,5}\{|[{}]")


_OPENED = re.compile(r"\\f?box|<answer>", re.I)


_SENTENCE = re.compile(r"\S+(?:\s+\S+){3,}[.!?]")


_TAG = re.compile(r"<(/?)answer>", re.I)


_STATEMENT = re.compile(
    r"(?:\b(?:answer|(?:correct|right)\s(?:option|choice))\b(?:\s(?:to|for)\s[^\n.:=]{1,60}?)?"
    r"[\s*_>]{0,6}(?:\bis\b|[:=])[\s*_:<]{0,12}"
    r"|^[#*_ ]{0,8}(?:final\s)?answer[*_ ]{0,6}\n\s{0,6})(?=\S)",
    re.I | re.M,
)


_STATEMENT_END = re.compile(r"\.(?=\s|\*|$)|\n|</|<\|")


_LEAD = re.compile(r"(?:option|choice|approximately|about|equal to)\s+", re.I)


def extract(text: str) -> str | None:
    """The answer that a response gives, or None. See :func:`extract_with_rule`."""
    return extract_with_rule(text)[0]


def extract_with_rule(text: str) -> tuple[str | None, str]:
    r"""The answer that a response gives and the rule that found it.

    The first that applies: ``boxed``, the last brace-balanced ``\boxed{...}``; ``tag``, the last
    ``<answer>...</answer>``; ``statement``, what follows the last "answer is" or "answer:", up to
    the end of its sentence; ``bare``, a response of one short line that is no sentence, as it is;
    ``none``. An empty box or tag is an answer that was not given: None.
    """
    text = text[-MAX_RESPONSE:]
    for rule, find in (("boxed", _boxed), ("tag", _tagged), ("statement", _stated)):
        found = find(text)
        if found is not None:
            return found.strip() or None, rule
    bare = text.strip()
    short = len(bare) <= MAX_BARE and "\n" not in bare
    if bare and short and not (_OPENED.search(bare) or _SENTENCE.fullmatch(bare)):
        return bare, "bare"
    return None, "none"


def _boxed(text: str) -> str | None:
    r"""Content of the closed ``\boxed{`` that opens last, in one pass over the braces."""
    opened: list[tuple[int, bool]] = []
    found: tuple[int, int] | None = None
    for match in _BOX.finditer(text):
        token = match.group()
        if token == "}":
            if opened:
                start, box = opened.pop()
                if box and (found is None or start > found[0]):
                    found = start, match.start()
        elif token == "{" or len(token) > 2:
            opened.append((match.end(), len(token) > 2))
    return None if found is None else text[found[0] : found[1]]


def _tagged(text: str) -> str | None:
    start: int | None = None
    found: str | None = None
    for match in _TAG.finditer(text):
        if not match.group(1):
            start = match.end()
        elif start is not None:
            found, start = text[start : match.start()], None
    return found


def _stated(text: str) -> str | None:
    found = list(_STATEMENT.finditer(text))
    if not found:
        return None
    last = found[-1]
    rest = text[last.end() : last.end() + MAX_STATEMENT + 1]
    end = _STATEMENT_END.search(rest)
    if end is None and len(rest) > MAX_STATEMENT:
        return None
    stated = rest[: end.start()] if end else rest
    stated = stated.strip().strip("*_>").strip()
    return _LEAD.sub("", stated, count=1) if _LEAD.match(stated) else stated or None
