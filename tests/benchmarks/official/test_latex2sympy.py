"""What the owners' parser makes of a text: cases that were tried with it, and a comparison with the
package itself over random texts."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.official.latex2sympy import value
from tests.benchmarks.official.latex_samples import SOUP, samples

ORACLE = Path(__file__).with_name("latex2sympy_oracle.py")
PACKAGES = ("latex2sympy2==1.9.1", "antlr4-python3-runtime==4.7.2", "sympy==1.14.0")
#: Other values here, as the module says: of an expression at a place, or transposed; binomial
#: coefficients of anything but two numbers.
NOT_OURS = ("|_{", "|^{", "'", "\\top", "binom", "choose")
NUMBERS_CHOSEN = re.compile(r"\\binom\{[\d.,]+\}\{\d+\}|\{[\d.,]+ \\choose \d+\}")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # the longest beginning that is an expression
        (r"\frac{7}{32}}.theansweris:\frac{7}{32", 0.22),
        (r"\frac{1}{2}.theansweris\boxed{d", 0.5),
        (r"\frac{10}{3}}{0.}\end{aligned", 3.33),
        ("12 triangles", 12),
        ("5.°", 5),
        ("101_2", 101),
        ("5!^2", 120),
        ("3+2}", 5),
        # what promises more than comes, or holds what is no token
        ("3+}", None),
        ("3,", None),
        ("36^{\\circ}", None),
        ("98^\\circ", None),
        ("80-2π", None),
        ("2π", None),
        ("42%", None),
        ("$42 \\%$", None),
        ("$-\\!2$", None),
        (r"$\boxed{\frac{3}{4}}$", None),
        (r"\frac12", None),
        ("2^-1", None),
        # its values
        ("$80-2 \\pi$", 73.72),
        ("$1:4$", 0.25),
        (r"42\%", 0.42),
        (r"{1 \over 2}", 0.5),
        ("1,234", 1234),
        ("1,2345", 6170),
        ("1.2.3", 0.36),
        (r"2\frac{1}{2}", 1.0),
        (r"1/2\pi", 0.16),
        ("-2^2", -4),
        ("2^{-2}", 0.25),
        ("9^9^2", 150094635296999121),
        (r"\sqrt[3]{8}", 2.0),
        (r"\binom{5}{2}", 10),
        (r"5\choose3", 5),
        (r"{3 \choose 2}", 3),
        ("(5)_{2}", 20.0),
        (r"\lfloor 2.5\rfloor", 2),
        ("3!!", 720),
        (r"\sin 2 \times 3", -0.28),
        (r"\sin(2)3", 2.73),
        (r"\sin^{-1}(1/2)", 0.52),
        (r"\log_2 8", 3.0),
        ("e^2", 7.39),
        (r"e^{\ln 2}", 2),
        ("1<2", 1),
        ("x=3", 3),
        # sympy forgets parentheses behind a minus: not -40
        (r"\frac{-16}{0.4}", -1.6),
        # a fraction's parts are multiplied before they are divided: 2.68 in another order
        (r"\frac{1.07}{0.4}", 2.67),
        (r"2.5\cdot1.07", 2.68),
        # what has no value once it is evaluated
        (r"\cos6\sin12\csc18", None),
        ("|-3|", None),
        (r"\ln 2", None),
        ("e", None),
        (r"\sqrt{-4}", None),
        ("(-8)^{1/3}", None),
        (r"\frac{1}{0}", None),
        (r"\infty", None),
        ("x", None),
        ("(1,2)", None),
        ("2x=6", None),
        ("5=5", None),
        (r"\lceil 2.5\rceil", None),
        (r"7 \mod 3", None),
        ("", None),
    ],
)
def test_values(text: str, expected: int | float | None) -> None:
    found = value(text)
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize(
    "text",
    [
        "9^{9^{9^{9}}}", "9" * 400 + "^{999999}", "99999999!", "9!!!!", "9^9" + "^9" * 200,
        r"\binom{999999999}{99999999}", r"\binom{9.5}{99999999}", r"\binom{\pi}{99999999}",
        r"\binom{" * 30 + "9.5" + "}{99}" * 30, r"\binom{" * 30 + r"\pi" + "}{99}" * 30,
        "9" * 4000 + "*" + "9" * 4000, "9!" * 300, "1" * 10**6, "1+" * 10**5 + "1", "(" * 10**5,
        "{" * 10**6, "-" * 10**6 + "1", "x_" * 10**5, r"\sin" * 10**5, r"\sqrt{" * 10**5,
        "(1)_{" * 10**5, "d " * 10**5, "1,111" * 10**5, ",111" * 10**5, "a" * 10**6,
        r"\frac{1}{" * 10**5, "1-(2-3-" * 39 + "1" + ")" * 39, "e^{" * 10**5, " " * 10**6 + "1",
        "1." * 10**5, "1+" * 449 + "1", "9^{9.5}" * 200, r"\frac{1}{" * 39 + "3" + "}" * 39,
    ],
)  # fmt: skip
def test_hostile_texts_take_no_time(text: str) -> None:
    begun = time.process_time()
    value(text)
    assert time.process_time() - begun < 1


@given(st.lists(st.sampled_from(SOUP), max_size=30).map("".join) | st.text())
def test_any_text_is_read(text: str) -> None:
    found = value(text.lower())
    assert found is None or isinstance(found, int | float)


class Package:
    """The package itself, in an environment of its own: it cannot live beside math-verify."""

    def __init__(self, folder: Path) -> None:
        self.python = folder / "bin" / "python"
        self.process: subprocess.Popen[str] | None = None
        if not (uv := shutil.which("uv")):
            pytest.skip("no uv here to make an environment for latex2sympy2")
        install = ("pip", "install", "--python", self.python, *PACKAGES)
        for command in (("venv", "--python", "3.11", folder), install):
            made = subprocess.run([uv, *command], capture_output=True, text=True)
            if made.returncode:
                pytest.skip(f"uv cannot install latex2sympy2 here: {made.stderr[-300:]}")

    def value(self, text: str) -> int | float | str | None:
        """Its value of a text; ``long`` where that has thousands of digits or took too long."""
        if self.process is None:
            self.process = subprocess.Popen(
                [self.python, ORACLE],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                bufsize=1,
            )
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(json.dumps(text) + "\n")
        if line := self.process.stdout.readline():
            found: int | float | str | None = json.loads(line)
            return found
        self.close()
        return "long"

    def close(self) -> None:
        if self.process:
            self.process.communicate()
            self.process = None


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_the_package_itself_says_the_same(tmp_path: Path) -> None:
    package = Package(tmp_path)
    differ, valued = [], 0
    for text in dict.fromkeys(samples(seed=1, n=3000)):
        there, here = package.value(text), value(text)
        valued += isinstance(there, int | float)
        ours = not any(sign in NUMBERS_CHOSEN.sub("", text) for sign in NOT_OURS)
        if ours and there not in (here, "long"):
            differ.append((text, there, here))
    package.close()
    assert valued > 500
    assert differ == []
