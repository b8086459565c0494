"""A response in prose: its clean sentences, and which of them count most.

Models that were not told to box their answer say it in a sentence: first and then explain, or last
and after other numbers. Statements ("the answer is") are read before conclusions ("so",
"therefore"), conclusions before the first and the last sentence. Only the ends of a long response
are read, and every pattern takes time in proportion to the text.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence

#: Of a longer response the first and the last so many characters are read.
MAX_END = 6_000
#: Of a longer sentence only its two ends.
MAX_SENTENCE = 600


def _mojibake() -> dict[str, str]:
    """UTF-8 that was once read as Windows-1252 or GBK: wrong text -> the sign that was meant."""
    table = {}
    for sign in "°×÷π√≈≠≤≥−–—’‘“”²³·∠△½¼¾£€":
        for wrong_codec in ("cp1252", "gbk"):
            try:
                table[sign.encode().decode(wrong_codec)] = sign
            except UnicodeDecodeError:
                continue
    return table


_MOJIBAKE = _mojibake()
_BROKEN = re.compile("|".join(map(re.escape, sorted(_MOJIBAKE, key=len, reverse=True))))
_DIGIT = re.compile(r"[^\x00-\x7f]")
_WIDE = str.maketrans(
    {chr(0xFF01 + i): chr(0x21 + i) for i in range(94)} | {"\u3000": " ", "«": '"', "»": '"'}
)
_DASHES = str.maketrans({"−": "-", "–": "-", "‐": "-", "‑": "-", "﹣": "-", "－": "-", "．": "."})
_NEXT_QUESTION = re.compile(r"(?<=\S)\s{0,9}\n\s{0,9}(?:question|hint|human|user)\s?:", re.I)
_EMPHASIS = re.compile(r"\*\*|__|`+|^#{1,6}\s", re.M)
_SENTENCE = re.compile(r"(?<=[.!?])[\"'”)]{0,2}\s+(?=[^\s])|[\n\r]+|[。！？]")
_CONTINUES = re.compile(
    r"(?:\b(?:e\.g|i\.e|vs|approx|mr|dr|fig)|^\(?(?:\d{1,2}|[A-Za-z]))\.$"
    r"|\b(?:is|are|answer|option)\s?:$",
    re.I,
)
_BULLET = re.compile(r"^(?:[-•]\s{1,3}|\|\s{0,3}){1,3}|\s{1,3}-+$")
#: "I am not sure, but ..." goes on to answer.
_DOUBT = re.compile(
    r"^[^,.;]{0,120}\b(?:not sure|unsure|cannot see|can't see|not (?:very )?clear|don't know|"
    r"hard to (?:see|tell))\b[^,.;]{0,80},?\s(?:but|so)\s",
    re.I,
)
#: Where a sentence goes on to what follows from it: "There are 5 and 7, so 12."
_FOLLOWS = re.compile(
    r"(?<=[^\s,;:]),?\s(?=i\.e\.)|(?<=[^\s,;:])[,;]\s(?=(?:and\s)?"
    r"(?:so\s(?!that|far|on|[^,.]{1,20}(?:more|less|fewer)\sthan)|therefore|thus|hence|which\s(?:makes\s|gives\s|leaves\s|is\s\d)|that\sis,?\s))",
    re.I,
)
#: A step of a list: "2. We add them."
_STEP = re.compile(r"^\(?(-?\d{1,9})[.)]\s(?=\S)")
_BRACKETED = re.compile(r"\([A-Z]\)")
_CLOSER = re.compile(
    r"(?:i hope|let me know|do you (?:have|want)|is there anything|please (?:let|provide|note)|"
    r"if you have|feel free|note that|note:|explanation|sure\b.{0,40}$)",
    re.I,
)  # fmt: skip


def before_next_question(response: str) -> str:
    """A response up to where the model goes on to ask itself a question of its own."""
    runaway = _NEXT_QUESTION.search(response)
    return response[: runaway.start()] if runaway else response


_CODE_LINE = re.compile(
    r"\s|```|[#@)\]}]|(?:import|from|def|class|if|elif|else|for|while|return|try|except|with|print)\b|"
    r"[\w.\[\]\"', ]{1,80}\s?[-+*/]?=|[\w.]{1,80}\("
)
_OUTPUT = re.compile(r"^[ \t]*(?:print\(|return\b)", re.M)


_PROSE = re.compile(r"(?<![A-Za-z])[A-Za-z]{2,}\s+[A-Za-z]{2,}\s+[A-Za-z]{2,}")
_TEXT_COMMAND = re.compile(r"\\(?:text|mathrm|textbf|mbox)\s?\{|\\(?=[a-z])")
_A_NUMBER = r"(?:\d[\d,.]{0,15}|one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve)"
_HEDGED = re.compile(
    r"\b(?:between|either|(?:more|less|fewer|greater|larger|smaller|higher|lower)\sthan|at\s(?:least|most)|"
    r"up\sto|over|under|above|below|or\s(?:more|less|fewer))\b|[<>≤≥±]|\\(?:pm|mp|leq?|geq?|lt|gt)(?![a-z])"
    rf"|(?<![\w.]){_A_NUMBER}\b[^\d=]{{0,25}}?(?:\b(?:or|to|and)\b|[;~–—]|,\s)[^\d=]{{0,12}}?{_A_NUMBER}\b",
    re.I,
)


#: A response that is longer and ends within a sentence was cut.
MAX_UNFINISHED = 60
_TOTAL = re.compile(r"\n(?:total|sum|result|altogether)\b[^\n]{0,80}=\s?[\d.,]+\Z", re.I)
_UNFINISHED = re.compile(r"[\w,:;+\-=*/(\[{\\]\Z")


def is_cut(text: str) -> bool:
    """Whether prose ends within a sentence: it has not come to its answer, unless it stated it."""
    text = text.strip()
    if _TOTAL.search(text):
        return False
    return text.endswith((":", "：", "=")) or (
        len(text) > MAX_UNFINISHED and bool(_UNFINISHED.search(text))
    )


def is_prose(text: str) -> bool:
    """Whether a text has three words in a row."""
    return bool(_PROSE.search(_TEXT_COMMAND.sub(" ", text)))


def is_hedged(text: str) -> bool:
    """Whether an answer that should be one number is several, a range or a bound."""
    return bool(_HEDGED.search(text))


_NOT = (
    r"(?:\b(?:is|are|was|were|be|would|can|could|should|must|do|does|did|will|has|have)"
    r"\s?(?:not|n't)\b|\b(?:isn|aren|wasn|weren|can|couldn|wouldn|doesn|don|didn|won)['’]t\b"
    r"|\bcannot\b)"
)
_TO_CLAUSE_END = (
    r"(?:[^,.;:!?，。；]|[.:,](?=\d)){0,120}?"
    r"(?=[,;!?，；](?!\d)|[.。:](?!\d)|\b(?:but|so|the answer|therefore)\b|$)"
)
_DENIED = re.compile(
    rf"(?:{_NOT}|(?:^|\b(?:it|but|so|and)\s)\s{{0,3}}not\b|\banything but\b"
    rf"|\bI doubt (?:that|whether|if)\b|不是|不选|不等于|并非){_TO_CLAUSE_END}",
    re.I,
)
#: What is denied stands before the verb: "B is incorrect", "2/3 of it is not grey".
_DENIED_SUBJECT = re.compile(
    r"^(?:(?:so|but|and|the answer|answer|option|choice|the value)\s){0,3}"
    r"(?:[(\[$\"'“]{0,2}(?:[A-Z]|-?\d[\d.,/]{0,15})[)\]$°%\"'”]{0,2}(?:\sof\s(?:\w+\s){1,3}?)?)\s?"
    rf"(?:{_NOT}|(?:is|was|are|were)\s(?:incorrect|wrong|false|no\b)|错误|不对|不正确){_TO_CLAUSE_END}"
)
_SAYS_NOT = re.compile(r"\b(?:not|cannot|incorrect|wrong|false)\b|n['’]t\b", re.I)


def affirmed(sentence: str, question: str = "") -> str:
    """A sentence without what it denies: "The angle is not 40° but 50°" names 50°. What stands
    before the verb is denied too ("2/3 is not grey"), but where the question asks for just that."""
    if not _SAYS_NOT.search(question):
        sentence = _DENIED_SUBJECT.sub(" ", sentence, count=1)
    return _DENIED.sub(" ", sentence)


def affirmed_answer(sentence: str, question: str = "") -> str:
    """A sentence without what it denies; one that refuses to answer stays as it is."""
    return sentence if REFUSAL.search(sentence) else affirmed(sentence, question)


_BEFORE_BOUND = re.compile(
    r"(?:\b(?:at (?:least|most)|up to|maybe|perhaps|between|(?:more|less|fewer|greater|larger|"
    r"smaller|longer|shorter|higher|lower) than)\s(?:about\s)?|大于|小于|超过|至少|至多|不到|[<>≤≥]"
    r"|\bbetween\s-?[\d.,]{1,12}\s?[°%]?(?:\s?[a-z]{1,6})?\sand\s)\s?[$(]{0,2}$",
    re.I,
)
_OTHER = re.compile(
    rf"\s?[°%]?(?:\s?[a-z]{{1,9}})?,?\s(?:or|and/or)\s(?:maybe\s|perhaps\s|even\s)?[$(]{{0,2}}-?{_A_NUMBER}\b",
    re.I,
)


def is_bound(sentence: str, start: int) -> bool:
    """Whether the number that begins here is only a bound: "at least 9"."""
    return bool(_BEFORE_BOUND.search(sentence[max(0, start - 40) : start]))


def is_choice(sentence: str, end: int) -> bool:
    """Whether the number that ends here is one of two that a sentence leaves open: "9 or 10"."""
    return bool(_OTHER.match(sentence, end))


def is_program(response: str) -> bool:
    """Whether a response is source code throughout, whose output would be the answer."""
    lines = [line for line in response[-MAX_END:].splitlines() if line.strip()]
    return bool(_OUTPUT.search(response[-MAX_END:])) and all(map(_CODE_LINE.match, lines))


_GBK_DEGREE = re.compile(r"(?<=\d)掳")


_PLACEHOLDER = re.compile(
    r"(?:\\(?:text|mathrm)\s?\{)?\W{0,3}(?:none|n/a|null|nan|nil|todo|tbd|no answer|unknown|"
    r"x|_{1,9}|number|value|(?:your\s)?(?:answer|letter|option)(?:\shere)?)?\W{0,3}",
    re.I,
)


def is_placeholder(text: str) -> bool:
    """Whether a text is a word for nothing or for what should stand there: "your answer"."""
    return len(text) < 30 and bool(_PLACEHOLDER.fullmatch(text.strip()))


def full_width(text: str) -> str:
    """A text with full-width letters and signs and all digits as ASCII, and as long as it was."""
    if text.isascii():
        return text
    return _GBK_DEGREE.sub("°", _DIGIT.sub(_ascii_digit, text.translate(_WIDE)))


def plain(text: str) -> str:
    """A text with its digits in ASCII, its mojibake mended and its Markdown emphasis gone."""
    if not text.isascii():
        text = _BROKEN.sub(lambda match: _MOJIBAKE[match.group()], text)
        text = _DIGIT.sub(_ascii_digit, text).translate(_DASHES)
    return _EMPHASIS.sub("", text)


def _ascii_digit(match: re.Match[str]) -> str:
    digit = unicodedata.decimal(match.group(), None)
    return match.group() if digit is None else str(digit)


def sentences(response: str) -> list[str]:
    """The sentences of a response without markup, courtesies, questions and empty lines."""
    if len(response) > 2 * MAX_END:
        response = response[:MAX_END] + "\n" + response[-MAX_END:]
    parts = [
        _BULLET.sub("", part.strip(" \t|>•")) for part in _SENTENCE.split(plain(response).strip())
    ]
    parts = [_DOUBT.sub("", part, count=1) for part in parts]
    joined: list[str] = []
    for part in filter(None, parts):
        goes_on = joined and (
            _CONTINUES.search(joined[-1][-16:])
            or (joined[-1] in ("No.", "no.") and part[0].isdigit())
        )
        if goes_on and len(joined[-1]) < MAX_SENTENCE:
            joined[-1] += " " + part
        else:
            joined.append(part)
    half = MAX_SENTENCE // 2
    return [
        clause if len(clause) <= MAX_SENTENCE else f"{clause[:half]} {clause[-half:]}"
        for part in _unnumbered(joined)
        if not _CLOSER.match(part) and not (part.endswith("?") and not _BRACKETED.search(part))
        for clause in _FOLLOWS.split(part)
    ]


def _unnumbered(lines: Sequence[str]) -> Iterator[str]:
    """The sentences without the numbers of a list. A number other than 1 that only the first one
    begins with is an answer: "12. There are 8 small and 4 large ones."."""
    steps = [bool(_STEP.match(line)) for line in lines]
    for line, step in zip(lines, steps, strict=True):
        found = _STEP.match(line) if step else None
        if found and found[1] != "1" and sum(steps) == 1 and steps[0]:
            yield found[1] + "."
        yield line[found.end() :] if found else line


# -------------------------------------------------------------------------------- which one counts

STATED = re.compile(
    r"\b(?:answer|final (?:value|result|number)|result|missing (?:number|term|value)|"
    r"total (?:sum|number|value|amount|count))\b"
    r"(?:[^:=\n]{0,120}?\b(?:is|are|was|be|equals)\b|\s*[:=])"
    r"|^(?:sum|total|difference|altogether|average|mean|product)\s?[:=]",
    re.I,
)
CONCLUSION = re.compile(
    r"^[*\-\s]{0,4}(?:\d{1,2}[.)]\s)?(?:therefore|thus|hence|so\b|"
    r"in (?:conclusion|total|summary|all)|finally|as a result|this means|altogether|i\.e\.|"
    r"that is\b|which (?:makes|gives|leaves|means|is \d)|consequently|overall|∴|所以|因此|故|综上)",
    re.I,
)
#: A sentence that refuses to answer.
REFUSAL = re.compile(
    r"\b(?:cannot|can't|unable|impossible|insufficient|unclear|incomplete|please provide|"
    r"sorry(?!,? I (?:mis|was wrong|made a))|"
    r"not (?:possible|provided|clear|specified|given|mentioned|visible|"
    r"(?:have )?(?:enough|sufficient) (?:information|context|data|details?|evidence))|"
    r"(?:does|do|did) ?(?:not|n't) (?:provide|contain|give|specify|include|have any)|"
    r"answer (?:none|neither) of|need more|more information|no idea|not sure|unsure|"
    r"(?:do not|don't|does not|doesn't) know|un(?:known|determined)|"
    r"(?:not|n't) (?:be )?determined?|n/a|nan)\b"
    r"|无法|不能确定|不确定|不知道|抱歉|看不清|没有足够|条件不足",
    re.I,
)
#: Says that no option is right, which may be an option.
NONE_RIGHT = re.compile(
    r"(?!no answer\W*$)(?:no|none)\b[^.]{0,12}"
    r"(?:\b(?:correct|right|answers?|above|these|those|options?|choices?)\b[^.]{0,30})"
    r"|(?:没有|无)正确(?:答案|选项)|以上都不(?:对|是)",
    re.I,
)
_WORD = re.compile(
    r"\b(?!(?:the|and|are|was|were|there|this|that|with|from|for|what|which|how|many|much|does|did|"
    r"has|have|image|picture|shown)\b)[a-z]{3,}",
    re.I,
)


def by_weight(
    lines: Sequence[str], question: str, emphasised: Sequence[str] = ()
) -> Iterator[tuple[str, list[str]]]:
    """The sentences that may hold the answer, best first, under the rule that they come by:
    ``stated`` (what follows "the answer is"), ``emphasis``, ``conclusion``, ``first`` where no
    other takes up more of the question, ``last``."""
    stated = [(line, list(STATED.finditer(line))) for line in reversed(lines)]
    yield (
        "stated",
        [line[found[-1].end() - (found[-1][0][-1] in ":=") :] for line, found in stated if found],
    )  # the sign counts
    yield "emphasis", list(emphasised)
    yield "conclusion", [line for line in reversed(lines) if is_conclusion(line)]
    shares = [share(line, question) for line in lines]
    if lines and shares[0] >= max(1 / 3, *shares):
        yield "first", [lines[0]]
    yield "last", list(reversed(lines))


def is_conclusion(line: str) -> bool:
    """Whether a sentence concludes: by its first word, or as it says what there is in all."""
    return bool(CONCLUSION.match(line) or _IN_ALL.search(line))


_IN_ALL = re.compile(r"\d[^\d]{0,40}\b(?:in (?:total|all)|altogether)\b", re.I)


def share(line: str, question: str) -> float:
    """The share of a sentence's words that are the question's, or the other way round."""
    asked, said = ({word.lower() for word in _WORD.findall(text)} for text in (question, line))
    return len(asked & said) / min(len(asked), len(said)) if asked and said else 0.0
