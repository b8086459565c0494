"""What the owners of MathVision read in a response, and what they call equal.

Rules of ``evaluation/evaluate.py`` and ``evaluation/utils.py`` of mathllm/MATH-V, bug for bug. They
evaluate what their LaTeX parser makes of a text as Python; here nothing is evaluated: see
:mod:`benchmarks.official.latex2sympy`.
"""

from __future__ import annotations

import re

from benchmarks.answers.candidates import MAX_RESPONSE
from benchmarks.official.latex2sympy import value

LETTERS = list("ABCDE")


# ----------------------------------------------------------------------------- their extraction


def official_extraction(response: str) -> str:
    """The answer that the owners' rules read, in their normal form.

    A letter at the end (`` C.``, `` (C).``) or on the first line; a number after the last "is ";
    else, without a box, what follows "the answer is" and the like up to the end of line or
    sentence; else the last box. They read all of a response that says none of these.
    """
    text = response.strip()[-MAX_RESPONSE:]
    for c in LETTERS:
        starts = (f"{c}\n", f"({c})\n", f"({c}) {c}\n")
        if text.endswith((f" {c}.", f" ({c}).")) or text.startswith(starts):
            text = c
    tail = text.rsplit("is ", 1)[-1].rstrip(".")
    if _is_number(tail):
        text = tail
    if "oxed{" not in text:
        for stated in ("final answer is", "answer is", "correct answer is", "answer should be"):
            for flag in (f"the {stated}", f"The {stated}"):
                found = flag in text
                text = text.rsplit(flag, 1)[-1].strip()
                if found:
                    text = text.split("\n", 1)[0].split(". ", 1)[0]
    elif text.count("oxed{") > 1:
        text = "\\boxed{" + text.rsplit("oxed{", 1)[-1]
    return letter(clean(text))


def letter(text: str) -> str:
    """An answer in normal form without the brackets of a letter, and the stop and colon around."""
    for c in "abcde":
        text = text.replace(f"({c})", c)
    for c in "abcde":
        text = text.replace(f"{{{c}}}", c)
    return text.rstrip(".").lstrip(":").strip()


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


#: In this order; what an earlier one leaves may be a later one's.
_REPLACED = (
    (" ", ""), ("\\,", ""), ("∞", "\\infty"), ("+\\infty", "\\infty"), ("\\\\", "\\"), ("\n", ""),
    ("\\text", ""), ("\\mbox", ""), ("bmatrix", "pmatrix"), ("\\left", ""), ("\\right", ""),
    ("^{\\circ}", ""), ("^\\circ", ""), ("{m}^3", ""), ("m^3", ""), ("{units}", ""), ("units", ""),
    ("{km}", ""), ("km", ""), ("\\!", ""), ("\\\\", "\\"), ("tfrac", "frac"), ("dfrac", "frac"),
    ("\\left", ""), ("\\right", ""), ("^{\\circ}", ""), ("^\\circ", ""), ("\\$", ""), ("$", ""),
    ("\\%", ""), ("{.", "{0."),
)  # fmt: skip


def clean(text: str) -> str:
    """The owners' normal form of an answer: the content of its box, what follows the last ``=``,
    without spaces, sizes, degrees and a few units, fractions and roots in braces."""
    text = text.lower().replace("{}", "")
    box = text.find("oxed{")
    if box >= 0 and (close := text.rfind("}")) > box + 4:
        text = text[box + len("oxed{") : close]
    brace, closed = text.find("{"), text.find("}")
    if closed >= 0 and (brace < 0 or closed < brace):
        text = text[:closed]
    text = text.rsplit("=", 1)[-1].rsplit("\\approx", 1)[-1]
    for old, new in _REPLACED:
        text = text.replace(old, new)
    if text.startswith("."):
        text = "0" + text
    if text.count("\\approx") == 1:
        text = text.partition("\\approx")[2]
    if "sqrt" in text:
        text = _braced_fractions(re.sub(r"\\sqrt(?!\\sqrt)([^{])", r"\\sqrt{\1}", text))
    if text == "0.5":
        return "\\frac{1}{2}"
    ratio = re.fullmatch(r"(0|-?[1-9][0-9]{0,4299})/(0|-?[1-9][0-9]{0,4299})", text)
    return f"\\frac{{{ratio[1]}}}{{{ratio[2]}}}" if ratio else text


def _braced_fractions(text: str) -> str:
    """``\\frac12`` as ``\\frac{1}{2}``; a text with a fraction of less than two characters stays as
    it is."""
    found, *fractions = text.split("\\frac")
    parts = [found]
    for fraction in fractions:
        if not fraction.startswith("{"):
            if len(fraction) < 2:
                return text
            upper, lower, rest = fraction[0], fraction[1], fraction[2:]
            fraction = f"{{{upper}}}" + ("{" if lower == "{" else f"{{{lower}}}") + rest
        parts.append(fraction)
    return "\\frac".join(parts)


# ------------------------------------------------------------------------------- their equality


def is_equal(answer: str, gold: str) -> bool:
    """The owners' equality: the same text in lower case, else tuples whose parts round to the same
    two decimals, else expressions whose values do."""
    answer, gold = answer.lower(), gold.lower()
    if not answer.replace(" ", "") or not gold.replace(" ", ""):
        return False
    if answer.strip() == gold.strip():
        return True
    answer, gold = _rounded_tuple(answer), _rounded_tuple(gold)
    if answer == gold:
        return True
    found = value(answer)
    return found is not None and found == value(gold)


def _rounded_tuple(text: str) -> str:
    """A tuple or list with the values of its parts; the same text where one has none."""
    parts = text[1:-1].split(",")
    if text[0] + text[-1] not in ("()", "[]") or len(parts) < 2:
        return text
    rounded = []
    for part in parts:
        if "infty" in part or part in ("a", "-a"):
            rounded.append(part)
            continue
        number = value(part)
        if number is None:
            return text
        try:
            rounded.append(str(number))
        except ValueError:  # more digits than Python writes
            return text
    return text[0] + ",".join(rounded) + text[-1]
