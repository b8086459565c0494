r"""One notation for the many in which an answer is written.

LaTeX, plain text and Unicode (``\dfrac12``, ``1/2``, ``½``; ``\text{ cm}``, ``cm``; ``√(13)``,
``sqrt(13)``, ``\sqrt{13}``; full-width signs, every dash) become one kind of LaTeX, which the other
modules read. The case of letters and single spaces stay. Every pattern is linear in the text.
"""

from __future__ import annotations

import re
from functools import lru_cache

#: A longer answer is compared as text only.
MAX_ANSWER = 400
#: Stands for a currency's dollar sign, which is no delimiter of mathematics.
DOLLAR = "＄"
#: Stands for a degree sign, in whatever way it was written.
DEGREE = "°"
#: Stands between a value and what it comes to about.
ABOUT = "≈"
#: Stands between the rows of a matrix.
ROW = "␤"

_CHARACTERS = {chr(0xFF01 + i): chr(0x21 + i) for i in range(94) if i != 3} | {
    "−": "-", "–": "-", "—": "-", "‐": "-", "‑": "-", "﹣": "-", "\u3000": " ", "\u00a0": " ",
    "\u202f": " ", "\u2009": " ", "\u200b": "", "\ufeff": "", "。": ".", "、": ",", "˚": DEGREE,
    "掳": DEGREE, "º": DEGREE, "℃": DEGREE + "C", "℉": DEGREE + "F", "×": r"\times ",
    "·": r"\cdot ", "⋅": r"\cdot ", "∙": r"\cdot ", "÷": "/", "⁄": "/", "π": r"\pi ",
    "∞": r"\infty ", "½": r"\frac{1}{2}", "¼": r"\frac{1}{4}", "¾": r"\frac{3}{4}",
    "⅓": r"\frac{1}{3}", "⅔": r"\frac{2}{3}", "≤": r"\le ", "⩽": r"\le ", "≥": r"\ge ",
    "⩾": r"\ge ", "≠": r"\ne ",
    "±": r"\pm ", "∓": r"\mp ", "∪": r"\cup ", "∩": r"\cap ", "∈": r"\in ", "∅": r"\emptyset ",
    "∠": r"\angle ", "△": r"\triangle ", "Δ": r"\triangle ", "≃": ABOUT, "≅": ABOUT,
    "…": r"\ldots ", "⟨": r"\langle ", "⟩": r"\rangle ", "Ω": r"\Omega ", "\u2126": r"\Omega ",
    "µ": r"\mu ", "μ": r"\mu ", "ℝ": r"\mathbb{R}", "￥": "¥", "`": "", "'": "'", "’": "'",
    "“": '"', "”": '"', "‘": "'", "²": "^2", "³": "^3", "∶": ":", "，": ",", "；": ";",
    "θ": r"\theta ", "α": r"\alpha ", "β": r"\beta ", "∛": r"\sqrt[3]",
}  # fmt: skip
_TABLE = str.maketrans(_CHARACTERS)

#: LaTeX commands by what stands for them here.
_NAMES = {
    "dfrac": r"\frac", "tfrac": r"\frac", "cfrac": r"\frac", "leq": r"\le", "leqslant": r"\le",
    "geq": r"\ge", "geqslant": r"\ge", "neq": r"\ne", "lbrace": r"\{", "rbrace": r"\}",
    "varnothing": r"\emptyset", "dots": r"\ldots", "cdots": r"\ldots", "dotsc": r"\ldots",
    "ast": r"\cdot", "times": r"\cdot", "bullet": r"\cdot", "vartriangle": r"\triangle",
    "measuredangle": r"\angle", "lvert": "|", "rvert": "|", "vert": "|", "mid": "|", "colon": ":",
    "div": "/", "lt": "<", "gt": ">", "approx": ABOUT, "simeq": ABOUT, "thickapprox": ABOUT,
    "doteq": ABOUT, "degree": DEGREE, "textdegree": DEGREE, "quad": " ", "qquad": " ",
    "space": " ", "left": "", "right": "", "mleft": "", "mright": "", "displaystyle": "",
    "textstyle": "", "limits": "", "big": "", "Big": "", "bigg": "", "Bigg": "", "bigl": "",
    "bigr": "", "Bigl": "", "Bigr": "", "rm": "", "bf": "", "it": "", "lbrack": "[",
    "rbrack": "]", "land": " and ", "lor": " or ", "euro": "€", "pounds": "£", "cr": ROW,
    "textdollar": DOLLAR, "percent": "%",
}  # fmt: skip
_COMMAND = re.compile(r"\\q?quad|\\([A-Za-z]+) ?")
#: A command's backslash that was escaped once more than it should be.
_DOUBLED = re.compile(r"\\\\(?=[A-Za-z])")
_SPACING = re.compile(r"\\[,;:> ()\[\]]|[~\s]")
_TIGHT = re.compile(r"\\!\s*")
_ONE = re.compile(r"([\^_])\s?\{\s?(\w)\s?\}(?![\w.])")
_WORDS = re.compile(
    r"\\(?:text(?:bf|it|rm|sf|tt|normal|up)?|math(?:rm|bf|it|sf|tt)|bm|boldsymbol|mbox|hbox|"
    r"operatorname|emph|fbox)\s?\*?\{([^{}]*)\}"
)
_BOX = re.compile(r"\\f?box(?:ed)?\s?\{|\\\\|\\[{}]|[{}]")
_SEPARATOR = re.compile(r"\b(?:and|or)\b|[,;]")
_NO_WORD = re.compile(r"\W*")
_GLUED = re.compile(r"(?<=[\d)\]}])(and|or)(?=[A-Za-z]\W|\W)")
_FUNCTION = re.compile(
    r"(?<![A-Za-z\\])(sqrt|pi|frac|sin|cos|tan|cot|sec|csc|log|ln|theta|infty)(?![A-Za-z])"
)
_INFINITY = re.compile(r"(?<![A-Za-z\\])(?:infinity|inf|oo)(?![A-Za-z])", re.I)
_ROOT = re.compile(
    r"(?:√|\\sqrt)\s?(\[[^\[\]]{1,3}\])?\s?(?:\(([^()]*)\)|(\d+(?:\.\d+)?|[A-Za-z])|(?=\{))"
)
_BARE_POWER = re.compile(r"\^\s?\(([^()]*)\)")
_ARGUMENT = re.compile(r"\s?(?:(\d(?!\d{2})|[A-Za-z](?![A-Za-z])|\\pi(?![a-z]))|(?=\{))")
_PERCENT = re.compile(r"\s?(?:\\%|%|\b(?:percentage|percent|per cent|pct)\b)", re.I)
_DEGREE = re.compile(r"\s?\^\s?(?:\{\s?(?:\\circ|°|o)\s?\}|\\circ(?![a-z])|°)")
_DEGREES = re.compile(r"(?<=[\d})])\s?\bdeg(?:ree)?s?\b(?! ?[CF]\b| [cC]elsius| [fF]ahr)")
_SCIENTIFIC = re.compile(r"(?<=\d)\s?[xX]\s?(?=10\s?\^)")
_GROUP = re.compile(r"(?<=\d)\s?\{\s?,\s?\}\s?(?=\d)")
_MATRIX = re.compile(
    r"\\(begin|end)\s?\{\s?(?:[pbB]?(?:small)?matrix\*?|array)\s?\}(?:\s?\{[lcr| ]*\})?"
)
_SYSTEM = re.compile(
    r"(?:\\left\s?\\\{\s?)?\\begin\s?\{(?:cases|aligned)\}((?:(?!\\begin|\\end)[^&])*)"
    r"\\end\s?\{(?:cases|aligned)\}(?:\s?\\right\s?\.)?"
)
_BRACKETED = re.compile(r"[(\[]\s?(\\begin\{matrix\}[^()\[\]]*\\end\{matrix\})\s?[)\]]")
_NO_PRICE = re.compile(rf"(?<![\d ]) ?{DOLLAR}$")
_MONEY = re.compile(r"\$ ?\d|\d ?\$")
_LEADING = re.compile(r"(?:[ ,;:=]|\.(?!\d))+")
_SPACES = re.compile(r"\s+(?=[\^_])|(\s)\s*")


@lru_cache(maxsize=50_000)
def clean(text: str) -> str:
    """The text in the one notation. Empty for a text that is too long to be an answer."""
    if len(text) > MAX_ANSWER:
        return ""
    s = text.strip()
    if s.isdigit() and s.isascii():
        return s
    if not s.isascii():
        s = s.translate(_TABLE)
    s = _SYSTEM.sub(_system, s)
    if "\\\\" in s:
        rows = "matrix" in s or "array" in s
        s = s.replace("\\\\", ROW) if rows else _DOUBLED.sub(r"\\", s).replace("\\\\", " ")
    s = _dollars(_unboxed(s))
    s = _commands(s) if "\\" in s else _FUNCTION.sub(r"\\\1", s)
    s = _GROUP.sub(",", s.strip().strip("*_` "))
    s = s.replace("**", "^").replace("*", r"\cdot ").replace("<=", r"\le ").replace(">=", r"\ge ")
    s = s.replace("!=", r"\ne ").replace("~=", ABOUT).replace("...", r"\ldots ")
    if "√" in s or r"\sqrt" in s:
        s = _ROOT.sub(_root, _ROOT.sub(_root, s))
    s = _PERCENT.sub("%", s)
    s = _DEGREES.sub(DEGREE, _DEGREE.sub(DEGREE, s))
    s = _BARE_POWER.sub(r"^{\1}", _SCIENTIFIC.sub(r"\\cdot ", s))
    s = _GLUED.sub(r" \1 ", s)
    s = _INFINITY.sub(r"\\infty ", s)
    s = _NO_PRICE.sub("", _SPACES.sub(_space, s).rstrip(" .,;:"))
    lead = _LEADING.match(s)
    return s[lead.end() :] if lead else s


def _system(match: re.Match[str]) -> str:
    """The equations of a system, as a list."""
    return match[1].replace("\\\\", ", ")


def _dollars(s: str) -> str:
    """Without the dollar signs that delimit mathematics."""
    s = s.replace(r"\$", DOLLAR)
    if s.count("$") == 1 and _MONEY.search(s):
        return s.replace("$", DOLLAR)
    return s.replace("$", " ")


def _commands(s: str) -> str:
    s = _SPACING.sub(" ", _TIGHT.sub("", s))
    s = _ONE.sub(r"\1\2", s)
    while (unwrapped := _WORDS.sub(r" \1 ", s)) != s:
        s = unwrapped
    s = re.sub(r"\\(?:left|right)\s?\.", "", s)
    s = _COMMAND.sub(_command, _FUNCTION.sub(r"\\\1", s))
    s = _SPACES.sub(_space, s)
    s = _fractions(s)
    s = _MATRIX.sub(r"\\\1{matrix}", s)
    return _BRACKETED.sub(r"\1", s)


def _space(match: re.Match[str]) -> str:
    return " " if match[1] else ""


def _command(match: re.Match[str]) -> str:
    name = match[1]
    if name is None:
        return " "
    known = _NAMES.get(name)
    if known is None:
        return match[0]
    return known + " " if known[:1] == "\\" and known[-1:].isalpha() else known


def _root(match: re.Match[str]) -> str:
    inner = match[2] if match[2] is not None else match[3]
    return rf"\sqrt{match[1] or ''}" + (f"{{{inner}}}" if inner is not None else "")


def _fractions(s: str) -> str:
    r"""With braces around what stands above and below: ``\frac12``, ``\frac{\sqrt{3}}2``."""
    before, *rest = s.split(r"\frac")
    out = [before]
    for tail in rest:
        above, tail = _argument(tail)
        below, tail = _argument(tail) if above else ("", tail)
        out += [r"\frac", above, below, tail]
    return "".join(out)


def _argument(text: str) -> tuple[str, str]:
    """The argument that a text begins with, in braces, and what follows; it is empty where braces
    do not close in the text."""
    match = _ARGUMENT.match(text)
    if match is None:
        return "", text
    if match[1]:
        return "{" + match[1] + "}", text[match.end() :]
    depth = 0
    for place in range(match.end(), len(text)):
        depth += (text[place] == "{") - (text[place] == "}")
        if depth == 0:
            return text[match.end() : place + 1], text[place + 1 :]
    return "", text


def _unboxed(s: str) -> str:
    r"""The content of the last ``\boxed{}``, with those before it that only "and", a comma or
    nothing divides from it; the text itself where there is none."""
    for _ in range(8):
        boxes = _boxes(s)
        if not boxes:
            return s
        behind, start, end = boxes[-1]
        contents = [s[start:end]]
        for outside, start, end in reversed(boxes[:-1]):
            between = s[end + 1 : behind]
            close = _NO_WORD.fullmatch(between) or _SEPARATOR.search(between)
            if len(between) > 70 or not close:
                break
            contents.insert(0, s[start:end])
            behind = outside
        s = ", ".join(dict.fromkeys(contents))
    return s


def _boxes(s: str) -> list[tuple[int, int, int]]:
    """Where each outermost box begins, and its content begins and ends. One that is not closed goes
    on to the end."""
    if "box" not in s:
        return []
    found: list[tuple[int, int, int]] = []
    opened: list[tuple[int, int] | None] = []
    for match in _BOX.finditer(s):
        token = match.group()
        if token == "}":
            if opened and (box := opened.pop()) and not any(opened):
                found.append((*box, match.start()))
        elif token == "{":
            opened.append(None)
        elif token[-1] == "{" and len(token) > 2:
            opened.append((match.start(), match.end()))
    left = next((box for box in opened if box), None)
    return [*found, (*left, len(s))] if left else found
