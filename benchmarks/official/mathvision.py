"""MathVision, or MATH-V (arXiv 2402.14804): 3040 competition problems, about half with five
options.

Rules of ``evaluation/evaluate.py`` and ``evaluation/utils.py`` of mathllm/MATH-V.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from benchmarks.answers import _equivalence, rules
from benchmarks.answers.asked import asked_of
from benchmarks.answers.candidates import MAX_RESPONSE
from benchmarks.answers.reading import read
from benchmarks.base import DataError, Edition, Item, Scorer, Verdict
from benchmarks.official.benchmark import FunctionScorer, OfficialBenchmark, image

REVISION = "a1f5cc3"
PLACEHOLDER = re.compile(r"[ \t]*<image\d*>")
LETTERS = list("ABCDE")
#: Rows of ``test`` by subject; ``testmini`` has 19 of each.
SUBJECTS = {
    "algebra": 345, "analytic geometry": 84, "arithmetic": 140, "combinatorial geometry": 308,
    "combinatorics": 168, "counting": 67, "descriptive geometry": 104, "graph theory": 90,
    "logic": 119, "metric geometry - angle": 173, "metric geometry - area": 500,
    "metric geometry - length": 449, "solid geometry": 244, "statistics": 58, "topology": 23,
    "transformation geometry": 168,
}  # fmt: skip
#: A word is a product of unknowns to the LaTeX parser: it has no value.
WORD = re.compile(r"(?<![\\a-z])(?!sqrt|frac|sin|cos|tan|log|exp)[a-z]{3,}")
#: Longer text is never handed to the LaTeX parser.
MAX_EXPRESSION = 200


class MathVision(OfficialBenchmark):
    name = "mathvision"
    title = "MathVision (test)"
    headline = "mathvision/accuracy"
    scorers = ("rules", "official+extract", "official")
    templates = ("mathvision",)
    editions = (
        Edition(
            "test",
            3040,
            counts={
                ("level", str(level)): n
                for level, n in enumerate((237, 738, 551, 830, 684), start=1)
            }
            | {("subject", subject): n for subject, n in SUBJECTS.items()},
            source="data/test.jsonl of mathllm/MATH-V",
            kit=("MathVision.tsv",),
        ),
        Edition(
            "testmini",
            304,
            counts={
                ("level", str(level)): n for level, n in enumerate((53, 82, 56, 45, 68), start=1)
            }
            | {("subject", subject): 19 for subject in SUBJECTS},
            source="data/testmini.jsonl of mathllm/MATH-V",
            kit=("MathVision_MINI.tsv",),
        ),
    )
    judged = ("options", "level", "subject")

    def item(self, where: str, row: Mapping[str, Any], pictures: Path | None) -> Item:
        options, answer = [str(option) for option in row["options"]], str(row["answer"])
        if options and answer not in LETTERS[: len(options)]:
            raise DataError(f"{where}: answer {answer!r} names none of the {len(options)} options.")
        question = PLACEHOLDER.sub("", row["question"]).strip()
        said = [
            PLACEHOLDER.sub("", option).strip() for option in options
        ]  # some are in the picture
        query = f"{row['question']}\n"  # the owners' prompt keeps the marks of pictures
        if options and options != LETTERS:
            named = list(zip(LETTERS, options, strict=False))
            query += "".join(f"({letter}) {text}\n" for letter, text in named)
            if any(said):
                question += "".join(f"\n({letter}) {text}" for letter, text in named)
        return Item(
            id=str(row["id"]),
            question=question,
            answer=answer,
            images=image(where, row, pictures),
            cluster=str(row["id"]),
            solution=row.get("solution") or "",
            meta={
                "options": options,
                "level": row["level"],
                "subject": row["subject"],
                "query": query,
            },
        )

    def facets(self, item: Item) -> Iterable[tuple[str, str]]:
        yield "level", str(item.meta["level"])
        yield "subject", item.meta["subject"]
        yield "level_subject", f"{item.meta['level']} {item.meta['subject']}"

    def make_scorers(self) -> Mapping[str, Scorer]:
        base = f"mathvision/official@{REVISION}"
        return {
            "rules": FunctionScorer(
                f"mathvision/rules{rules.VERSION}",
                lambda item, text: rules.judge(item, text, asked(item)),
            ),
            "official+extract": FunctionScorer(f"{base}+extract3", score_extracted),
            "official": FunctionScorer(base, score_official, score_extraction),
        }


def asked(item: Item) -> rules.Asked:
    """What an item asks for, to our reader."""
    return asked_of(item.question, item.meta, item.answer)


def score_extraction(item: Item, extraction: Any, rule: str = "official") -> Verdict:
    """The owners' verdict on an extraction (``model_answer`` in their published files): equal to
    the gold, or to the text of the gold's option. Which is the end of the rule: ``official/gold``,
    ``official/option``, or ``official/neither``."""
    extraction = str(extraction)
    golds = {"gold": item.answer}
    if item.meta["options"]:
        golds["option"] = item.meta["options"][LETTERS.index(item.answer)]
    how = next((name for name, gold in golds.items() if is_equal(extraction, gold)), "neither")
    return Verdict(item.id, how != "neither", extraction, "ok", f"{rule}/{how}")


def score_official(item: Item, response: str) -> Verdict:
    """The owners' extraction and verdict."""
    extraction = official_extraction(response)
    if not extraction:
        return Verdict(item.id, False, None, "unparsed", "official/empty")
    return score_extraction(item, extraction)


def score_extracted(item: Item, response: str) -> Verdict:
    """The owners' clean-up and verdict on the answer that
    :func:`benchmarks.answers.reading.read` reads."""
    reading = read(response, asked(item))
    said = reading.answer
    if said is None:
        return Verdict(item.id, False, None, reading.status, reading.rule, span=reading.span)
    verdict = score_extraction(item, _letter(clean(said)), reading.rule)
    return Verdict(item.id, verdict.correct, said, "ok", reading.rule, span=reading.span)


# ----------------------------------------------------------------------------- the owners'
# extraction


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
    else:
        text = "\\boxed{" + text.rsplit("oxed{", 1)[-1] if text.count("oxed{") > 1 else text
    return _letter(clean(text))


def _letter(text: str) -> str:
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


_REMOVED = (
    (" ", ""), ("\\,", ""), ("∞", "\\infty"), ("+\\infty", "\\infty"), ("\\\\", "\\"), ("\n", ""),
    ("\\text", ""), ("\\mbox", ""), ("bmatrix", "pmatrix"), ("\\left", ""), ("\\right", ""),
    ("^{\\circ}", ""), ("^\\circ", ""), ("{m}^3", ""), ("m^3", ""), ("{units}", ""), ("units", ""),
    ("{km}", ""), ("km", ""),
)  # fmt: skip
_TIDIED = (
    ("\\!", ""), ("\\\\", "\\"), ("tfrac", "frac"), ("dfrac", "frac"), ("\\$", ""), ("$", ""),
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
    for old, new in (*_REMOVED, *_TIDIED):
        text = text.replace(old, new)
    if text.startswith("."):
        text = "0" + text
    if "sqrt" in text:
        text = re.sub(r"\\sqrt([^{])", r"\\sqrt{\1}", text)
        text = re.sub(r"\\frac([^{])(?:([^{])|(?=\{))", _braced, text)
    if text == "0.5":
        return "\\frac{1}{2}"
    ratio = re.fullmatch(r"(0|-?[1-9]\d{0,40})/(0|-?[1-9]\d{0,40})", text)
    return f"\\frac{{{ratio[1]}}}{{{ratio[2]}}}" if ratio else text


def _braced(match: re.Match[str]) -> str:
    return f"\\frac{{{match[1]}}}" + (f"{{{match[2]}}}" if match[2] else "")


# -------------------------------------------------------------------------------- the owners'
# equality


def is_equal(answer: str, gold: str) -> bool:
    """The owners' equality: the same text in lower case, else tuples whose parts round to the same
    two decimals, else expressions whose values do. They evaluate the text as Python; here its value
    is computed in a child process with limits."""
    answer, gold = answer.lower(), gold.lower()
    if not answer.replace(" ", "") or not gold.replace(" ", ""):
        return False
    if answer.strip() == gold.strip():
        return True
    answer, gold = _rounded_tuple(answer), _rounded_tuple(gold)
    if answer == gold:
        return True
    values = value(answer), value(gold)
    return None not in values and values[0] == values[1]


def _rounded_tuple(text: str) -> str:
    parts = text[1:-1].split(",")
    if text[0] + text[-1] not in ("()", "[]") or not 1 < len(parts) <= 20:
        return text
    rounded = []
    for part in parts:
        if "infty" in part or part in ("a", "-a"):
            rounded.append(part)
            continue
        number = value(part)
        if number is None:
            return text
        rounded.append(str(number))
    return text[0] + ",".join(rounded) + text[-1]


@lru_cache(maxsize=50_000)
def value(latex: str) -> int | float | None:
    """The value of an expression, rounded to two decimals; None where it has none."""
    if len(latex) > MAX_EXPRESSION or WORD.search(latex) or not re.search(r"\d|\\pi", latex):
        return None
    plain = latex.strip()
    if re.fullmatch(r"\d{1,15}", plain):
        return int(plain)
    if re.fullmatch(r"\d{1,15}\.\d{1,15}", plain):
        return round(float(plain), 2)
    number = _equivalence.value(latex)
    return None if number is None else round(number, 2)
