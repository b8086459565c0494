"""Texts like what models answer with, made from a seed, whole and damaged: for comparing parsers."""

from __future__ import annotations

from random import Random

NUMBERS = """0 1 2 3 4 5 7 8 9 10 12 16 24 27 36 45 60 90 100 101 144 360 1024 0.5 0.25 0.125 1.5 2.5
    3.14 1.07 0.4 2.675 12.345 .5 .75 1. 1,234 12,345.6 1,23 10,000 1,000,000 5\\% 12.5\\%
    1.2.3 007""".split()
FUNCTIONS = """sin cos tan sin cos tan csc sec cot arcsin arccos arctan sinh cosh tanh log ln exp
    log ln floor ceil det arsinh arctanh""".split()
BINARY = """+ + + + - - - * / / \\times \\cdot \\cdot \\div : \\over = < > \\le \\geq \\neq \\approx \\pm
    ^ _ , , ; \\mod \\bmod \\choose == \\in \\to & \\\\""".split()
UNITS = [
    r"^\circ", r"^{\circ}", r"\%", "%", "cm", r"\text{ cm}", r"\mathrm{cm}^2", "units", " trees",
    " triangles", " degrees", "°", r"\degree", "π", r"\pi", "€", r"\text{cm}", " hours", "th", "!",
    "'", " rows", r"\text{m}^3", " eye", r"\cdots", "...", "²",
]  # fmt: skip
TAILS = [
    "}", "}}", ".", "}.theansweris:\\frac{7}{32", "}{0.}\\end{aligned", ".theansweris\\boxed{d",
    ")", "]", "$", "\\)", "\\]", ",", ";", "\\", "{", "(", "[", "\\left", "\\right)", "|", "=", "+",
    "-", "^", "_", "^{", "_{", "\\frac", "\\sqrt", "\\sqrt{", "(a)", "a.", ":", "\\end{cases}", "&",
    "\\\\", "\\text{.}", "\\quad", "\\,", "~", "\\!", "\\;", "\\ ", "and", "or3", "sinceit", "\n2",
    "tr", "eig", "norm", "dx", "d", "e", "é", '"', "?", "!", "!!", "'", "`", "#", "@", "^t", "^{t}",
    "^{\\top}", "_2", "_{10}", "^2", "^{-1}", "^\\circ", "\\circ", "^{\\circ}", "°", "%", "\\%",
    "|_{x=2}", "}_{x", "\\}", "\\rbrace", "\\leq", "\\ldots", "\\to0", "<->", "\\therefore",
]  # fmt: skip
SOUP = [
    *TAILS, *UNITS, *BINARY, *NUMBERS, *(f"\\{name}" for name in FUNCTIONS), "\\pi", "\\tau", "x",
    "y", "e", "e^", "\\infty", "\\theta ", "\\left(", "\\right)", "(", ")", "{", "}", "[", "]",
    "\\{", "\\}", "\\frac{", "}{", "\\frac{1}{2}", "\\dfrac", "\\sqrt{2}", "\\sqrt[3]{", "\\binom",
    "\\lfloor", "\\rfloor", "\\lceil", "\\gcd(", "\\overline{", "\\text{", "\\mathrm{d}", " ", "  ",
    "\\operatorname{floor}(", "\\int", "\\sum_{i=1}^{3}", "\\lim", "\\max(", "\\begin{pmatrix}",
    "\\angle", "\\triangle", "\\emptyset", "\\partial", "\\cap", "\\cup", "\\lvert", "\\rvert", "\\|",
]  # fmt: skip


def samples(seed: int, n: int) -> list[str]:
    """So many texts in lower case: a half are whole expressions, the others damaged ones, or tokens
    in any order."""
    rng = Random(seed)
    made = []
    while len(made) < n:
        kind = rng.random()
        text = expression(rng, rng.choice((0, 1, 1, 2, 2, 3)))
        if kind > 0.92:
            text = "".join(rng.choice(SOUP) for _ in range(rng.randint(1, 7)))
        elif kind > 0.5:
            text = damaged(rng, text)
        made.append(text.lower())
    return made


def damaged(rng: Random, text: str) -> str:
    for _ in range(rng.choice((1, 1, 1, 2))):
        at = rng.randint(0, len(text))
        match rng.randrange(7):
            case 0 | 1:
                text += rng.choice(TAILS)
            case 2:
                text += rng.choice(UNITS)
            case 3:
                text = text[:at]
            case 4:
                text = text[:at] + rng.choice(SOUP) + text[at:]
            case 5:
                text = text[:at] + text[at + rng.randint(1, 3) :]
            case 6:
                text = text.replace(" ", "")
    return text


def expression(rng: Random, depth: int) -> str:
    def part() -> str:
        return expression(rng, depth - 1)

    if depth <= 0:
        return leaf(rng)
    match rng.randrange(26):
        case 0 | 1 | 2 | 3 | 4:
            return part() + rng.choice(("", "", " ")) + rng.choice("+-*/") + rng.choice("  ") + part()
        case 5 | 6:
            return part() + rng.choice(BINARY) + part()
        case 7 | 8 | 9:
            return rng.choice((r"\frac", r"\frac", r"\dfrac", r"\tfrac")) + f"{{{part()}}}{{{part()}}}"
        case 10 | 11:
            return part() + rng.choice(("", " ")) + part()
        case 12 | 13:
            return rng.choice((r"\sqrt{%s}", r"\sqrt{%s}", r"\sqrt[3]{%s}", r"\sqrt %s")) % part()
        case 14 | 15:
            return part() + rng.choice(("^{%s}", "^{%s}", "^%s", "_{%s}")) % part()
        case 16 | 17:
            around = rng.choice(
                ("(%s)", "(%s)", r"\left(%s\right)", "{%s}", "[%s]", r"\{%s\}", "|%s|", "$%s$",
                 r"\lfloor %s\rfloor", r"\left|%s\right|", r"\boxed{%s}", r"\lvert %s\rvert")
            )  # fmt: skip
            return around % part()
        case 18 | 19:
            name = rng.choice(FUNCTIONS)
            script = rng.choice(("", "", "", "^2", "^{-1}", "_2", "_{10}", "^{0}"))
            return f"\\{name}{script}" + rng.choice(("(%s)", " %s", "{%s}", r"\left(%s\right)")) % part()
        case 20:
            return rng.choice((r"\binom{%s}{%s}", r"{%s \choose %s}", r"\gcd(%s,%s)", r"\max(%s,%s)")) % (
                rng.choice(NUMBERS), rng.choice(NUMBERS)
            )  # fmt: skip
        case 21:
            return part() + rng.choice(("!", "!!", "'", "!", "^{\\top}"))
        case 22:
            return rng.choice(("e^{%s}", "e^{%s}", r"\exp(%s)", "e%s", "e^%s")) % part()
        case 23:
            return rng.choice(("x=%s", "x_1=%s", "-%s", "+%s", "--%s", r"\text{area}=%s", "y<%s")) % part()
        case 24:
            return rng.choice(("({%s},%s)", "[%s,%s]", r"(%s)_{%s}", "{%s,%s}", r"\sqrt[%s]{%s}")) % (
                part(), part()
            )  # fmt: skip
        case _:
            return part() + rng.choice(UNITS)


def leaf(rng: Random) -> str:
    kind = rng.random()
    if kind < 0.7:
        return rng.choice(NUMBERS)
    if kind < 0.8:
        return r"\pi"
    if kind < 0.87:
        return rng.choice((r"\sqrt{2}", r"\sqrt{3}", r"\frac{1}{2}", r"\frac{3}{4}", r"2\sqrt{5}"))
    if kind < 0.92:
        return "-" + rng.choice(NUMBERS)
    return rng.choice(("x", "n", "ab", "e", r"\infty", r"\tau", r"\alpha", "x_1", "π", "", "dx", "d"))
