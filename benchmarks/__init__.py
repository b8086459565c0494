"""What a model is asked, and who judges its answers: benchmarks, scorers, answer equivalence."""

from __future__ import annotations

import difflib
import importlib
from importlib.metadata import entry_points

from benchmarks.base import Benchmark

#: What the name of a benchmark that is an lm-eval task begins with: the task follows.
LM_EVAL = "lm_eval:"

#: name -> "module:class". Strings, so that naming a benchmark imports no scorer.
BENCHMARKS: dict[str, str] = {
    "mathvista": "benchmarks.official.mathvista:MathVista",
    "wemath": "benchmarks.official.wemath:WeMath",
    "mathverse": "benchmarks.official.mathverse:MathVerse",
    "mathverse_text_only": "benchmarks.official.mathverse:MathVerseTextOnly",
    "mathvision": "benchmarks.official.mathvision:MathVision",
}


def benchmark(name: str) -> Benchmark:
    """The benchmark of this name: ours, an lm-eval task (``lm_eval:<task>``, or its
    :func:`benchmarks.bridges.lm_eval.address`), or one that an installed package offers.

    A package offers one through the entry-point group ``harness.plugins``, under the name
    ``benchmark.<name>``. Raises KeyError naming the nearest known one.
    """
    if name.startswith(LM_EVAL):
        from benchmarks.bridges import lm_eval as lmeval

        return lmeval.at(name)
    known = BENCHMARKS
    if name not in known:
        offered = {
            point.name.removeprefix("benchmark."): point.value
            for point in entry_points(group="harness.plugins")
            if point.name.startswith("benchmark.")
        }
        known = offered | BENCHMARKS
    if name not in known:
        near = difflib.get_close_matches(name, known, 1)
        hint = f", did you mean {near[0]!r}?" if near else ""
        raise KeyError(f"unknown benchmark {name!r}{hint} Known: {', '.join(known)}.")
    module, _, attribute = known[name].partition(":")
    made: Benchmark = getattr(importlib.import_module(module), attribute)()
    return made
