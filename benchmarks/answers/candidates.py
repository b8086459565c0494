"""Where a response may give its answer: outside its thoughts, in tags, boxes and statements.

Everything here keeps the places of a text: what is taken out is blanked, so that a span in the
result is a span of the response.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

#: An answer stands near the end: of a longer response only so many last characters are read.
MAX_RESPONSE = 100_000
#: A statement longer than this states no answer.
MAX_STATEMENT = 200
#: A response of one line and so many characters is an answer as it stands.
MAX_BARE = 40
#: So many places of a kind are asked, the last first.
MAX_PLACES = 20


@dataclass(frozen=True)
class Candidate:
    """A part of a response that may be its answer: its text, where it stands, and the rule that
    found it: ``tag``, ``boxed``, ``statement`` or ``bare``."""

    text: str
    start: int
    end: int
    rule: str

    def part(self, start: int, end: int) -> Candidate:
        """A part of it, by places in its text."""
        return Candidate(self.text[start:end], self.start + start, self.start + end, self.rule)

    def stripped(self, signs: str = " \t\r\n") -> Candidate:
        """Without these signs around it."""
        start = len(self.text) - len(self.text.lstrip(signs))
        return self.part(start, max(start, len(self.text.rstrip(signs))))


def blanked(text: str, start: int, end: int) -> str:
    """The text with line ends in place of a part of it."""
    return text[:start] + "\n" * (end - start) + text[end:]


# --------------------------------------------------------------------------------------- thoughts

_THOUGHT = re.compile(
    r"<\s?(?P<close>[/\\])?\s?(?:seed:)?(?:think(?:ing)?|thoughts?|reason(?:ing)?|analysis|reflection)"
    r"\s?>|◁(?P<kimi>/)?think▷|\[(?P<mistral>/)?THINK\]"
    r"|<\|(?:begin|(?P<end>end))_of_(?:thought|thinking)\|>"
    r"|<\|channel\|>(?:analysis|commentary|(?P<final>final))<\|message\|>",
    re.I,
)
_END_MARK = re.compile(
    r"<\|im_start\|>\s?assistant\b|<\|start_header_id\|>\s?assistant\s?<\|end_header_id\|>"
    r"|<start_of_turn>\s?model\b|</s>|<\|(?!begin_of_box|end_of_box)[a-z_]{1,20}\|>|<(?:end_of_turn|eos|pad)>|<br\s{0,9}/?>",
    re.I,
)
#: Where a model that does not stop goes on to ask itself something.
_NEXT_TURN = re.compile(
    r"(?<=\S)\s{0,9}(?:<\|im_start\|>|<\|start_header_id\|>|<start_of_turn>)\s?(?:user|system|human)\b",
    re.I,
)
#: The steps that We-Math's prompt asks for: ``<Thought process>: <<...>>``.
_STEPS = re.compile(
    r"<\s?thought process\s?>(?:(?!<<)[^<]){0,9}(?:<<)?.*?(?:>>|(?=<\s?answer\s?>)|(?P<cut>\Z))",
    re.I | re.S,
)
#: Marks of HTML, zero-width signs, pictographs and the role that a chat template begins with.
_MARKUP = re.compile(
    r"</?(?:b|strong|i|em|u|p|div|span|center|font|h[1-6]|code|mark)\s?>"
    r"|[\u200b-\u200f\u2060\ufeff]|[\U0001f300-\U0001faff]"
    r"|(?:\A|(?<=\n))(?i:assistant|model)(?:\s?:|\n)"
)


def answered(response: str) -> tuple[str, bool]:
    """A response with its thoughts and marks of no meaning blanked, and whether a thought is cut.

    A thought stands between its marks, in the forms of Qwen, DeepSeek, Kimi, Mistral and others.
    Before a closing mark without an opening one everything is thought: the template had opened it.
    Behind an opening one that never closes, too: there is no answer yet. What stands behind the
    mark of a user's next turn is not the response.
    """
    if turn := _NEXT_TURN.search(response):
        response = response[: turn.start()]
    opened: int | None = None
    thoughts: list[tuple[int, int]] = []
    for mark in _THOUGHT.finditer(response):
        if any(mark.group("close", "kimi", "mistral", "end", "final")):
            thoughts.append((opened if opened is not None else 0, mark.end()))
            opened = None
        elif opened is None:
            opened = mark.start()
    if opened is not None:
        thoughts.append((opened, len(response)))
    parts, at = [], 0
    for start, end in thoughts:
        if end > at:
            parts += [response[at:start], "\n" * (end - max(start, at))]
            at = end
    text = _END_MARK.sub(_empty, "".join((*parts, response[at:])))
    steps = [match["cut"] is not None for match in _STEPS.finditer(text)]
    text = _MARKUP.sub(lambda mark: " " * len(mark[0]), _STEPS.sub(_empty, text))
    return text, opened is not None or any(steps)


def _empty(match: re.Match[str]) -> str:
    return "\n" * len(match[0])


# -------------------------------------------------------------------------------- tags and boxes

_TAG = re.compile(
    r"<\s?(?P<close>/)?\s?(?:answer|ans|final_?(?:answer)?|conclusion)\s?>(?!\s?:)"
    r"|\[\s?(?P<bracket>/)?\s?answer\s?\]"
    r"|<\|(?:begin|(?P<end>end))_of_box\|>",
    re.I,
)
#: With its backslash doubled, as text that was escaped twice has it, it is a box too.
_BOX = re.compile(r"\\{1,2}f?box(?:ed)?\s{0,5}\{|\\\\|\\[{}]|[{}]")
_OPEN_BOX = re.compile(r"\\f?box(?:ed)?\s{0,5}\{")
_SPACE = r"(?:[\s$~]|\\[\[\]() ,;:!]|\\q?quad(?![a-z])){0,9}"
_CONNECTED = re.compile(
    rf"{_SPACE}(?:(?P<comma>[,，、;]){_SPACE})?"
    r"(?:(?:\\(?:text|mathrm|mbox)\s?\{[^{}]{0,40}?)?\s?(?P<word>\b(?:and|or)\b|和|或|与)\s?\}?)?"
    rf"{_SPACE}(?:[A-Za-z](?:_\{{?\w{{1,3}}\}}?)?\s{{0,3}}=\s{{0,3}})?",
    re.I,
)


def tagged(text: str) -> list[Candidate]:
    """What stands in answer tags, the last first."""
    start: int | None = None
    found: list[Candidate] = []
    for tag in _TAG.finditer(text):
        if not any(tag.groups()):
            start = tag.end()
        elif start is not None:
            found.append(Candidate(text[start : tag.start()], start, tag.start(), "tag"))
            start = None
    return found[: -MAX_PLACES - 1 : -1]


def untagged(text: str) -> str:
    """The text without its tags and what is in them; an opened one reaches to the end."""
    start: int | None = None
    for tag in _TAG.finditer(text):
        if not any(tag.groups()):
            start = tag.start() if start is None else start
        else:
            begin = tag.start() if start is None else start
            text, start = blanked(text, begin, tag.end()), None
    return text if start is None else blanked(text, start, len(text))


def boxed(text: str) -> list[Candidate]:
    r"""What stands in closed ``\boxed{...}``, of nested ones the innermost, the last first.

    Boxes with nothing but a comma, "and" or "or" between them are one answer of several parts.
    """
    found: list[Candidate] = []
    for begin, start, end in _boxes(text):
        one = Candidate(text[start:end], start, end, "boxed")
        between = _CONNECTED.fullmatch(text, found[-1].end + 1, begin) if found else None
        if between and (between["comma"] or between["word"]) and found[-1].text != one.text:
            word = f" {between['word']} " if between["word"] else ", "
            before = found.pop()
            one = Candidate(before.text + word + one.text, before.start, end, "boxed")
        found.append(one)
    return found[: -MAX_PLACES - 1 : -1]


def unboxed(text: str) -> str:
    """The text without its boxes; one that is not closed reaches to the end."""
    for begin, _, end in _boxes(text):
        text = blanked(text, begin, end + 1)
    while (opened := _OPEN_BOX.search(text)) is not None:
        text = blanked(text, opened.start(), len(text))
    return text


def _boxes(text: str) -> list[tuple[int, int, int]]:
    """Where closed boxes begin, where their content begins and ends, in one pass over the braces;
    of nested ones the innermost."""
    opened: list[tuple[int, int, bool]] = []
    found: list[tuple[int, int, int]] = []
    for match in _BOX.finditer(text):
        token = match.group()
        if token == "}":
            if opened:
                begin, start, box = opened.pop()
                if box and not (found and found[-1][0] > begin):
                    found.append((begin, start, match.start()))
        elif token == "{" or len(token) > 2:
            opened.append((match.start(), match.end(), len(token) > 2))
    return found


# ------------------------------------------------------------------------------------- statements

_MODAL = r"(?:(?:should|would|must|will|could|can|may|might|has to|ought to)\s)?"
_SURELY = (
    r"(?:\s(?:therefore|thus|hence|then|clearly|simply|indeed|definitely|actually|also|just|now"
    r"|still|probably|most likely))?"
)
_LINK = (
    rf"(?:{_MODAL}\b(?:is|are|was|be|equals)\b{_SURELY}|[:=：→⇒]|->|=>|[=-]{{1,2}}>|[-–—](?=\s))"
)
_DISPLAY = r"(?:(?:\$\$|\\\[)\s{0,9})?"
#: A formula that an answer is followed by without a word or sign between: "Answer $9$".
_THEN = (
    r"(?=\s(?:\$[^$\n]{1,100}\$|\$\$[^$\n]{1,100}\$\$|\\\([^\n]{1,100}?\\\)|\\\[[^\n]{1,100}?\\\])"
    r"[.*\s]{0,4}$)\s"
)
_ANSWER = (
    r"\b(?:answers?|ans|final_answer|(?:correct|final)(?=\s?:)"
    r"|(?:correct|right|best)\s(?:option|choice|one|letter|result|value))\b"
    r"(?:\s(?:to|for|of|in|from|among)\s[^\n.:=]{1,60}?)?"
)
_HEADING = r"^[#*_ \t✅]{0,12}(?:the\s)?(?:final\s|correct\s)?answer[*_: \t]{0,6}\n\s{0,6}[*_]{0,3}"
_CHOOSE = (
    r"\b(?:I|we|I'd|I'll|would|will|should)\s(?:therefore\s|thus\s|would\s|will\s|should\s)?"
    r"(?:choose|select|pick|go\swith|opt\sfor)[\s*_:\"'`]{1,6}"
)
_CHINESE = (
    r"【?(?:正确|最终|本题|最后)?(?:的)?(?:答案|选项)】?(?:选项)?(?:应该|应当|应|就)?(?:是|为|选)?[\s:：*]{0,6}"
    r"|(?:故|应|因此|所以|我|答[:：]?)\s?选(?:择|项)?[\s:：*]{0,4}|^\s{0,3}选(?:择|项)?[\s:：*]{0,4}"
)
_STATEMENT = re.compile(
    rf"(?:{_HEADING}{_DISPLAY}"
    rf"|{_ANSWER}[\s*_>)\]\"'`]{{0,6}}{_LINK}[\s*_:：<\"'`“”]{{0,12}}{_DISPLAY}"
    rf"|^[#*_ \t]{{0,12}}(?:the\s)?(?:final\s|correct\s)?answer[*_]{{0,3}}{_THEN}{_DISPLAY}"
    rf"|^\s{{0,3}}####\s{{1,3}}|{_CHOOSE}|{_CHINESE})(?=\S)",
    re.I | re.M,
)
#: Said of a letter before or behind it: "B is correct", "Only B fits", "So B.".
_PRAISED = re.compile(
    r"(?<![A-Za-z0-9\\])(?:(?:option|choice|answer|letter|statement|选项)\s?)?"
    r"[(\[*\"'“]{0,4}(?P<letter>[A-Z])[)\]*\"'”]{0,4}\s{0,2}"
    r"(?:(?:is|was|would be|must be|should be|seems)\s(?:therefore\s|thus\s|indeed\s|clearly\s)?"
    r"(?:the\s)?(?:only\sone\b|(?:only\s|most\s)?"
    r"(?:correct|right|best|true|appropriate|answer)\b(?:\s(?:answer|option|choice|one))?)"
    r"|(?:选?项)?(?:是|为)?(?:正确|对的|符合题意)"
    r"|(?<!A)(?<!A\s)\s?(?:the\s)?(?:correct|right)\s(?:answer|option|choice)"
    r"|[.:)]?\s[^\n]{0,60}?\s?(?:[✓✔✅]|[-–—(:]\s?(?:correct|true|right)\)?)\s*$)"
    r"|(?:\b(?i:only|leaving|leaves|it's|it is|it must be|say|so|guess|hence|thus|therefore)"
    r"|答[:：]|∴)[,:]?\s{0,3}(?P<last>[B-H])(?=\s?(?:[.,。!]|$|fits|works|is|gives|matches))"
    r"|,\s?not\s[A-H]\s?[:;,]\s?(?:so\s)?(?P<left>[A-H])\.?$",
    re.M,
)
#: A formula that is called the answer: "$x \leq 2$ is our answer".
_CALLED = re.compile(
    r"(?:\$(?P<dollar>[^$\n]{1,100})\$|\\\((?P<inline>[^\n]{1,100}?)\\\))\s{1,3}(?:is|are)\s"
    r"(?:therefore\s|thus\s|indeed\s)?(?:our|the|my)\s(?:(?:final|correct|desired|required)\s)?"
    r"(?:answer|solution|result)s?\b"
)
_DISPRAISED = re.compile(
    r"(?!\bif I (?:had|have) to\b)\b(?:whether|if)\b[^.\n]{0,25}$"
    r"|\b(?:not|isn't|never|doubt)\b[^.,;\n]{0,25}$",
    re.I,
)
_STATEMENT_END = re.compile(r"[.．](?=\s|\*|$|\")|\n|</|<\||[。！!?？；]|\"(?=\s{0,3}[,}])")
_UNSURE = re.compile(
    r"(?:\b(?:if|suppose|supposing|assum\w{1,6}|whether|unless)\b[^.\n]{0,25}"
    r"|\b(?:wrong|incorrect|isn't|not|never|no)\s(?:(?:the|an?|my|final|correct)\s){0,3})\Z",
    re.I,
)
_DENIED = re.compile(
    r"(?:not|n't|neither|never)\b(?:.{1,80}?(?:[,;.]?\s?\bbut(?:\srather|\sinstead)?"
    r"|[,;.]\s?(?:rather|instead)|[,;.]\s?(?:it|this|that|the answer)(?:'s|\sis|\sequals))"
    r"\s(?P<rest>.+))?"
    r"|(?:不是|不为|不选|并非)(?:.{1,80}?[,，]\s?(?:而|应该?)?(?:是|为|选)(?P<instead>.+))?",
    re.I | re.S,
)
_REST = re.compile(
    r"[,;(]?\s{0,9}\b(?:because|since|given that|due to|based on|according to|so that"
    r"|for the reason|as (?:we|it|the|this|is|can|shown|seen|per|they|both|there|each|all|a|in)"
    r"|which (?:is|was|means|gives|can|equals|follows|matches)|by (?:the|using|counting))\b"
    r"|[,;]\s{1,9}(?:as|so|for|where|while|whereas|and|but|which|with|since|the)\s",
    re.I,
)
_RETRACTED = re.compile(
    r"[\s.,;*!—-]{0,6}(?:but\s)?(?:wait|hmm|hold on|actually|oops|correction|sorry"
    r"|no\b[,:]\s(?:it|that|this|wait|the answer|I)\b"
    r"|(?:that|this)(?:'s| is| was) (?:wrong|not right|incorrect|a mistake)|let me (?:re|double))",
    re.I,
)
#: Behind a letter its statement goes on to the text of the option: "B. 40°".
_LETTER_POINT = re.compile(r"[(\[*_]{0,3}[A-Z][)\]*_]{0,3}")
_SIGNS = " \t\r\n*_>`"


def stated(text: str) -> Iterator[Candidate]:
    """What a response states behind "the answer is", "Answer:", "I choose", up to the end of its
    sentence, the last first. What is denied or only supposed is passed over: of "not A but B" the
    second part is stated."""
    found = list(_STATEMENT.finditer(text))[-MAX_PLACES:]
    for match in reversed(found):
        if _UNSURE.search(text[max(0, match.start() - 40) : match.start()]):
            continue
        rest = text[match.end() : match.end() + MAX_STATEMENT + 1]
        ends = _STATEMENT_END.search(rest)
        if ends is None and len(rest) > MAX_STATEMENT:
            continue
        if ends and ends[0] in "?？":
            continue
        stop = ends.start() if ends else len(rest)
        if ends and ends[0] == "." and _LETTER_POINT.fullmatch(rest, 0, stop):
            stop = _behind_letter(rest, ends)
        end = match.end() + stop
        one = Candidate(text[match.end() : end], match.end(), end, "statement").stripped(_SIGNS)
        if denied := _DENIED.match(one.text):
            if denied.lastgroup is None:
                continue
            one = one.part(*denied.span(denied.lastgroup)).stripped(_SIGNS)
        if one.text:
            yield one


_FINAL = re.compile(r"\bfinal(?:\s|_)answer\b.{0,30}\Z", re.I | re.S)


def finally_stated(text: str, start: int) -> Iterator[Candidate]:
    """What is stated behind a place as the *final* answer: it overrules a box before it."""
    for one in stated(text):
        if one.start > start and _FINAL.search(text[max(start, one.start - 60) : one.start]):
            yield one


def _behind_letter(rest: str, point: re.Match[str]) -> int:
    """Where a statement ends that begins with a letter and a point: behind the option's text."""
    further = _STATEMENT_END.search(rest, point.end())
    stop = further.start() if further else len(rest)
    if _RETRACTED.match(rest, point.start()) or stop > MAX_STATEMENT:
        return point.start()
    return stop if rest[point.end() : stop].strip() else point.start()


def retracted(text: str, one: Candidate) -> str | None:
    """What a response says behind a statement that it takes back, in its place; None where it
    stands by it."""
    back = _RETRACTED.match(text, one.end)
    return blanked(text, 0, back.end()) if back else None


def praised(text: str) -> Iterator[Candidate]:
    """The letters that are called right: "B is correct", the last first."""
    for match in reversed(list(_PRAISED.finditer(text))[-MAX_PLACES:]):
        which = match.lastgroup or "letter"
        before = text[max(0, match.start() - 40) : match.start()]
        if which == "left" or not _DISPRAISED.search(before):
            yield Candidate(match[which], match.start(which), match.end(which), "statement")


def called(text: str) -> Iterator[Candidate]:
    """The formulas that are called the answer, the last first."""
    for match in reversed(list(_CALLED.finditer(text))[-MAX_PLACES:]):
        which = match.lastgroup or "dollar"
        yield Candidate(match[which], match.start(which), match.end(which), "statement")


_NOT = re.compile(
    r"[,;]?\s{1,9}(?:and\s|but\s)?(?:(?:is\s)?not|rather than|instead of|as opposed to|unlike)\s"
    r"|[,，]\s{0,3}而?(?:不是|并非|不选)",
    re.I,
)
#: What an answer is introduced with: a blank, "It is", "At", a verb in Chinese.
_LEAD = re.compile(
    r"(?:[?？□]|\\(?:square|Box)|_{2,9})\s{0,3}=\s{0,3}(?=\S)"
    r"|(?i:it|this|that)(?:'s|\s(?:is|was))\s(?:(?:on|at)\s)?(?=[^a-z])"
    r"|(?i:the\s)(?:[a-z]{1,20}\s){1,4}(?:\$[^$]{1,30}\$\s)?(?:is|equals)\s(?:equal\sto\s)?"
    r"(?=[-\d$\\√π])"
    r"|(?i:on|at|in)\s(?=[A-Z\d])|(?i:(?:the\s)?(?:letter|point)\s)(?:is\s)?(?=[A-Z](?![A-Za-z]))"
    r"|[^=≠<>?？]{0,40}(?<![不非])[为是占填得即]\s?(?=[-\d(\[\\$√π|])(?![^\n]{0,40}吗)"
)
#: What an answer has behind it in brackets: "12 triangles (8 small, 4 large)".
_ASIDE = re.compile(
    r"(?<=\S)\s{1,3}\((?:[^()\[\]\\,]{0,60}?[A-Za-z]{3}[^()\[\]\\,]{0,60}"
    r"|\d{1,6}\s[A-Za-z]{3}[^()\[\]\\]{0,80})\)\.?\Z"
)


def without_denial(one: Candidate) -> Candidate:
    """A candidate without what it says that the answer is not: "12, not 13"."""
    rest = _NOT.search(one.text)
    return one.part(0, rest.start()).stripped(_SIGNS + ",;") if rest and rest.start() else one


def without_reason(one: Candidate) -> Candidate:
    """A statement without what it goes on to say: a reason, another answer that it is not."""
    rest = _REST.search(one.text)
    return one.part(0, rest.start()).stripped(_SIGNS + ",;") if rest else one


def without_lead(one: Candidate) -> Candidate:
    """An answer without the words that introduce it ("It is 12", "At 10:30"), nor an aside."""
    lead, aside = _LEAD.match(one.text), _ASIDE.search(one.text)
    if not lead and not aside:
        return one
    start, end = lead.end() if lead else 0, aside.start() if aside else len(one.text)
    return one.part(start, max(start, end)).stripped(_SIGNS + "。")


#: Behind it stand a reason or a courtesy, and the answer before it.
_EXPLAINS = re.compile(
    r"\n[ \t*#_]{0,9}(?:(?:reason(?:ing)?|explanation|justification|理由|解析|解释)[\s*_]{0,4}[:：]"
    r"|(?:I\s)?hope (?:this|that) helps|let me know if|feel free to)",
    re.I,
)


def unexplained(text: str) -> str:
    """A response up to where it begins to give its reasons, or to take its leave."""
    reason = _EXPLAINS.search(text)
    return text[: reason.start()] if reason else text


# ------------------------------------------------------------------------------------------- bare

_SENTENCE = re.compile(r"\S+(?:\s+\S+){3,}[.!?]")


def bare(text: str) -> Candidate | None:
    """All of a response that is one short line and no sentence."""
    start, end = len(text) - len(text.lstrip()), len(text.rstrip())
    one = Candidate(text[start:end], start, end, "bare")
    if (
        start >= end
        or len(one.text) > MAX_BARE
        or "\n" in one.text
        or _SENTENCE.fullmatch(one.text)
    ):
        return None
    return one
