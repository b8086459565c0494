"""Run by the interpreter of an environment that holds latex2sympy2: for each line, a text as JSON,
the value that MathVision's owners give it, rounded; null where that is an error, ``long`` where it
has thousands of digits.

It evaluates text that the test made, as the owners do. What takes too long, or too much memory,
ends the process: no other limit stops a power of Python's whole numbers.
"""

from __future__ import annotations

import json
import math
import resource
import signal
import sys
import warnings

import latex2sympy2  # type: ignore[import-not-found]

SECONDS, BYTES = 10, 4 << 30
NAMES = {name: getattr(math, name) for name in dir(math) if not name.startswith("_")}
VAR, VARIANCES = dict(latex2sympy2.var), dict(latex2sympy2.variances)


def value(text: str) -> int | float | str | None:
    latex2sympy2.var, latex2sympy2.variances = dict(VAR), dict(VARIANCES)  # as in a new process
    try:
        found: int | float = round(eval(str(latex2sympy2.latex2sympy(text)), dict(NAMES)), 2)
    except (Exception, RecursionError, MemoryError):
        return None
    return "long" if isinstance(found, int) and found.bit_length() > 10_000 else found


warnings.simplefilter("ignore")
resource.setrlimit(resource.RLIMIT_AS, (BYTES, BYTES))
for line in sys.stdin:
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    answer = json.dumps(value(json.loads(line)))
    signal.setitimer(signal.ITIMER_PROF, 0)
    print(answer, flush=True)
