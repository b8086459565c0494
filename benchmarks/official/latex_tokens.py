r"""The tokens of latex2sympy2 1.9.1 (``PS.g4``) in a text in lower case: the longest that fits.

A word is the product of its letters to that package, but for names that its grammar knows in
commands: ``trees`` begins with the token ``tr``, and that stands behind no number.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

#: What is longer is not read: Python's stack ends the owners' parser at about as many.
MAX_TOKENS = 900

CLOSERS = {
    "(": ")", "\\lgroup": "\\rgroup", "{": "}", "\\{": "\\}", "\\lbrace": "\\rbrace",
    "[": "]", "\\lbrack": "\\rbrack", "\\lfloor": "\\rfloor", "\\llcorner": "\\lrcorner",
}  # fmt: skip
FLOORS = ("\\lfloor", "\\llcorner")
SIDES = {"\\left": "\\right", "\\mleft": "\\mright"}
#: Functions of one argument, each with its name in Python's ``math``; empty: it has none there.
FUNCTIONS = {
    "log": "log", "ln": "log", "exp": "exp", "sin": "sin", "cos": "cos", "tan": "tan", "csc": "",
    "sec": "", "cot": "", "arcsin": "asin", "arccos": "acos", "arctan": "atan", "arccsc": "",
    "arcsec": "", "arccot": "", "sinh": "sinh", "cosh": "cosh", "tanh": "tanh",
    "arsinh": "asinh", "arcosh": "acosh", "artanh": "atanh", "arcsinh": "asinh",
    "arccosh": "acosh", "arctanh": "atanh", "floor": "floor", "ceil": "", "det": "",
}  # fmt: skip
_UNKNOWNS = """alpha beta gamma delta epsilon varepsilon zeta eta theta vartheta iota kappa lambda
    mu nu xi omicron varpi rho varrho sigma varsigma upsilon phi varphi chi psi omega wp nabla
    bigstar angle nexists diagdown measuredangle eth emptyset diagup sphericalangle clubsuit
    varnothing complement diamondsuit imath triangledown heartsuit jmath triangle spadesuit ell
    hbar vartriangle hslash blacklozenge lozenge blacksquare mho blacktriangle sharp prime flat
    square backprime natural surd"""
_ACCENTS = """acute bar overline breve check widecheck dot ddot grave hat tilde widetilde vec
    overrightarrow bm boldsymbol text textit mathbb mathbin mathbf mathcal mathclap mathclose
    mathellipsis mathfrak mathinner mathit mathnormal mathop mathopen mathord mathpunct mathrel
    mathring mathrlap mathrm mathscr mathsf mathsterling mathtt"""
#: What begins an operand that comes to no number whatever follows.
_VALUELESS = r"""| \| \lvert \vert \lceil \ulcorner \int \sum \prod \lim \max \min \gcd \lcm
    \partial
    \begin{matrix} \begin{pmatrix} \begin{bmatrix} \begin{vmatrix}"""
_NAMES = """arsinh arcsinh arcosh arccosh artanh arctanh gcd lcm floor ceil eye zeros ones cols rows
    diag norm rank trace tr rref hstack vstack orth ortho orthogonal orthogonalize nullspace eig
    eigen diagonalize eigenvals eigenvalues eigenvects eigenvectors svd matrix pmatrix bmatrix
    vmatrix"""
_OTHERS = r"""+ - ^ ! = _ ; . , & \\ \sqrt \frac \operatorname \choose \rvert \rceil \urcorner
    \to \rightarrow \longrightarrow \xrightarrow <-> <=> \leftrightarrow
    \end{matrix} \end{pmatrix} \end{bmatrix} \end{vmatrix}"""
_RELATIONS = r"== \equiv != !== \ne \neq \not\equiv \in"

#: The kind of each token of fixed text; of most the text itself.
_KINDS = (
    {text: text for text in _OTHERS.split()}
    | {text: text for text in (*CLOSERS, *CLOSERS.values(), *SIDES.values())}
    | dict.fromkeys(SIDES, "side")
    | dict.fromkeys(_NAMES.split(), "name")
    | dict.fromkeys(("*", "\\times", "\\cdot"), "*")
    | dict.fromkeys(("/", "\\over", ":", "\\div"), "/")
    | {"\\mod": "mod", "<": "<", ">": ">"}
    | dict.fromkeys(("\\leq", "\\le", "\\leqslant"), "<=")
    | dict.fromkeys(("\\geq", "\\ge", "\\geqslant"), ">=")
    | dict.fromkeys(_RELATIONS.split(), "relation")
    | dict.fromkeys(("'", "^{\\top}"), "transpose")
    | {"\\pi": "pi", "\\tau": "tau", "e": "e", "\\infty": "nothing", "\\infty\\%": "nothing"}
    | dict.fromkeys(("\\binom", "\\tbinom", "\\dbinom"), "binomial")
    | dict.fromkeys((f"\\{name}" for name in FUNCTIONS), "function")
    | dict.fromkeys((f"\\{name}" for name in _UNKNOWNS.split()), "unknown")
    | dict.fromkeys((f"\\{name}" for name in _ACCENTS.split()), "accent")
    | dict.fromkeys(_VALUELESS.split(), "valueless")
)
_FIXED = "|".join(re.escape(text) for text in sorted(_KINDS, key=len, reverse=True))
_NUMBER = r"(?:[0-9]*+(?:,[0-9]{3})*+\.[0-9]++|[0-9]++(?:,[0-9]{3})*+)"
#: ``dx`` is a differential, which has no value; any other letter is an unknown.
_TOKEN = re.compile(
    rf"[ \t\r\n]*+(?:(?P<percent>{_NUMBER}\\%)|(?P<number>{_NUMBER})|(?P<fixed>{_FIXED})"
    r"|(?P<nothing>d[ \t\r\n]*+(?:\\[a-z]+|[a-z]))|(?P<unknown>[a-z])|(?P<end>\Z))"
)
ATOMS = frozenset(("number", "percent", "unknown", "accent", "pi", "tau", "nothing"))
#: Kinds that begin an operand without a function, and any operand.
PLAIN_STARTS = ATOMS | {*CLOSERS, "side", "valueless", "\\frac", "binomial"}
STARTS = PLAIN_STARTS | {"function", "\\sqrt", "\\operatorname", "e"}


class Token(NamedTuple):
    kind: str
    text: str


END = Token("end", "")


def tokens(text: str) -> Iterator[Token]:
    """The tokens of a text. The last is of kind ``end``, or ``error`` where no token begins or too
    many have."""
    at = 0
    for _ in range(MAX_TOKENS):
        match = _TOKEN.match(text, at)
        if not match:
            break
        kind = match.lastgroup or ""
        found = match[kind]
        yield Token(_KINDS[found] if kind == "fixed" else kind, found)
        if kind == "end":
            return
        at = match.end()
    yield Token("error", "")
