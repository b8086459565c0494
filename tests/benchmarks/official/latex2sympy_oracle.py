"""Run by the interpreter of an environment that holds latex2sympy2: for each line, a text as JSON,
the value that MathVision's owners give it, rounded; null where that is an error, or takes too long.

It evaluates text that the test made itself, for which the owners do the same.
"""

from __future__ import annotations

import json
import math
import signal
import sys
import warnings

import latex2sympy2  # type: ignore[import-not-found]

SECONDS = 20
NAMES = {name: getattr(math, name) for name in dir(math) if not name.startswith("_")}


def value(text: str) -> int | float | None:
    latex2sympy2.var, latex2sympy2.variances = dict(VAR), dict(VARIANCES)
    signal.alarm(SECONDS)
    try:
        found: int | float = round(eval(str(latex2sympy2.latex2sympy(text)), dict(NAMES)), 2)
    except (Exception, RecursionError, MemoryError):
        return None
    finally:
        signal.alarm(0)
    return found


VAR, VARIANCES = dict(latex2sympy2.var), dict(latex2sympy2.variances)
warnings.simplefilter("ignore")
signal.signal(signal.SIGALRM, lambda *_: (_ for _ in ()).throw(TimeoutError()))
for line in sys.stdin:
    print(json.dumps(value(json.loads(line))), flush=True)
