"""Texts like what models answer with, from a seed, whole and damaged: to compare two parsers."""

from __future__ import annotations

from random import Random

_NUMBERS = r"""0 1 2 3 4 5 7 8 9 10 12 16 24 27 36 45 60 90 100 101 144 360 1024 0.5 0.25 0.125 1.5
    2.5 3.14 1.07 0.4 2.675 12.345 .5 .75 1. 1,234 12,345.6 1,23 10,000 5\% 12.5\% 1.2.3 007"""
_FUNCTIONS = """sin cos tan sin cos tan csc sec cot arcsin arccos arctan sinh cosh tanh log ln exp
    log ln floor ceil det arsinh arctanh"""
_BETWEEN = r"""+ + + + - - - * / / \times \cdot \cdot \div : \over = < > \le \geq \neq \approx \pm
    ^ _ , , ; \mod \bmod \choose == \in \to & \\"""
_UNITS = r"""^\circ ^{\circ} \% % cm \text{cm} \mathrm{cm}^2 units trees triangles degrees ° \degree
    π \pi € hours th ! ' rows \text{m}^3 eye \cdots ... ² """
_TAILS = r"""} }} . }.theansweris:\frac{7}{32 }{0.}\end{aligned .theansweris\boxed{d ) ] $ \) \]
    , ; \ { ( [ \left \right) | = + - ^ _ ^{ _{ \frac \sqrt \sqrt{ (a) a. : \end{cases} & \\
    \text{.} \quad \, ~ \! \; and or3 sinceit tr eig norm dx d e é " ? ! !! ` # @ ^t ^{t} ^{\top}
    _2 _{10} ^2 ^{-1} \circ °} |_{x=2} }_{x \} \rbrace \leq \ldots \to0 <-> \therefore"""
_OTHERS = r"""\tau x y e e^ \infty \theta \left( { } [ \{ \frac{ }{ \frac{1}{2} \dfrac \sqrt{2}
    \sqrt[3]{ \binom{ \lfloor \rfloor \lceil \overline{ \text{ \mathrm{d} \operatorname{floor}(
    \int \sum_{i=1}^{3} \lim \angle \triangle \emptyset \partial \cap \cup \lvert \rvert \|"""
NUMBERS, FUNCTIONS, BETWEEN = _NUMBERS.split(), _FUNCTIONS.split(), _BETWEEN.split()
UNITS, TAILS = [*_UNITS.split(), r"\text{ cm}", " trees"], [*_TAILS.split(), "\\ ", "\n2"]
#: Everything above.
SOUP = [
    *TAILS, *UNITS, *BETWEEN, *NUMBERS, *(f"\\{name}" for name in FUNCTIONS), *_OTHERS.split(), " "
]  # fmt: skip

_QUOTIENTS = (r"\frac{%s}{%s}", r"\frac{%s}{%s}", r"\dfrac{%s}{%s}", r"\tfrac{%s}{%s}")
_ROOTS = (r"\sqrt{%s}", r"\sqrt{%s}", r"\sqrt[3]{%s}", r"\sqrt %s")
_SCRIPTS = ("^{%s}", "^{%s}", "^%s", "_{%s}")
_AROUND = (
    "(%s)", "(%s)", r"\left(%s\right)", "{%s}", "[%s]", r"\{%s\}", "|%s|", "$%s$", r"\boxed{%s}",
    r"\lfloor %s\rfloor", r"\left|%s\right|", r"\lvert %s\rvert",
)  # fmt: skip
_ARGUMENTS = ("(%s)", " %s", "{%s}", r"\left(%s\right)")
_POWERS_OF_E = ("e^{%s}", "e^{%s}", r"\exp(%s)", "e%s", "e^%s")
_BEFORE = ("x=%s", "x_1=%s", "-%s", "+%s", "--%s", r"\text{area}=%s", "y<%s")
_PAIRS = ("(%s,%s)", "[%s,%s]", "(%s)_{%s}", "{%s,%s}", r"\sqrt[%s]{%s}")
_LEAVES = (
    "x", "n", "ab", "e", r"\infty", r"\tau", r"\alpha", "x_1", "π", "", "dx", "d", r"\pi", r"\pi",
    r"\pi", r"\sqrt{2}", r"\sqrt{3}", r"\frac{1}{2}", r"\frac{3}{4}", r"2\sqrt{5}", "-3", "-0.5",
)  # fmt: skip


def samples(seed: int, n: int) -> list[str]:
    """So many texts in lower case: half are whole expressions, the others damaged ones, or tokens
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
    if depth <= 0:
        return rng.choice(NUMBERS if rng.random() < 0.7 else _LEAVES)
    one, two = expression(rng, depth - 1), expression(rng, depth - 1)
    space = rng.choice(("", "", " "))
    match rng.randrange(26):
        case 0 | 1 | 2 | 3 | 4:
            return one + space + rng.choice("+-*/") + space + two
        case 5 | 6:
            return one + rng.choice(BETWEEN) + two
        case 7 | 8 | 9:
            return rng.choice(_QUOTIENTS) % (one, two)
        case 10 | 11:
            return one + space + two
        case 12 | 13:
            return rng.choice(_ROOTS) % one
        case 14 | 15:
            return one + rng.choice(_SCRIPTS) % two
        case 16 | 17:
            return rng.choice(_AROUND) % one
        case 18 | 19:
            script = rng.choice(("", "", "", "^2", "^{-1}", "_2", "_{10}", "^{0}"))
            return f"\\{rng.choice(FUNCTIONS)}{script}" + rng.choice(_ARGUMENTS) % one
        case 20:
            pair = rng.choice(NUMBERS), rng.randrange(12)
            return rng.choice((r"\binom{%s}{%s}", r"{%s \choose %s}")) % pair
        case 21:
            return one + rng.choice(("!", "!!", "'", "!", "^{\\top}"))
        case 22:
            return rng.choice(_POWERS_OF_E) % one
        case 23:
            return rng.choice(_BEFORE) % one
        case 24:
            return rng.choice(_PAIRS) % (one, two)
        case _:
            return one + rng.choice(UNITS)
