"""Benchmarks and scorers by name: ours, lm-eval's tasks, and those that packages offer."""

from __future__ import annotations

from benchmarks.base import Benchmark, Scorer
from benchmarks.bridges import LM_EVAL
from benchmarks.plugins import BrokenExtension, Registry, UnknownExtension, unknown

#: name -> "module:class". Strings, so that naming a benchmark imports no scorer.
BENCHMARKS: dict[str, str] = {
    "mathvista": "benchmarks.official.mathvista:MathVista",
    "wemath": "benchmarks.official.wemath:WeMath",
    "mathverse": "benchmarks.official.mathverse:MathVerse",
    "mathverse_text_only": "benchmarks.official.mathverse:MathVerseTextOnly",
    "mathvision": "benchmarks.official.mathvision:MathVision",
}
BENCHMARK_EXTENSIONS = Registry("benchmark", BENCHMARKS)
#: Scorers of packages, for benchmarks of others; ours belong to their benchmarks.
SCORER_EXTENSIONS = Registry("scorer", {})


def benchmark(name: str) -> Benchmark:
    """The benchmark of this name: ours, an lm-eval task (``lm_eval:<task>``, or its
    :func:`benchmarks.bridges.lm_eval.address`), or one that a package offers as
    ``benchmark.<name>`` in the entry-point group ``harness.plugins``.

    Raises KeyError naming the nearest known one.
    """
    if name.startswith(LM_EVAL):
        from benchmarks.bridges import lm_eval

        return lm_eval.at(name)
    made: Benchmark = BENCHMARK_EXTENSIONS.load(name)()
    return made


def scorers(one: Benchmark) -> tuple[str, ...]:
    """The names of a benchmark's own scorers, then of those that packages offer for it. One that
    cannot be imported is left out."""
    offered = []
    for name in SCORER_EXTENSIONS.names():
        try:
            judged = SCORER_EXTENSIONS.load(name).benchmarks
        except BrokenExtension:
            continue
        if name not in one.scorers and (not judged or one.name in judged):
            offered.append(name)
    return (*one.scorers, *offered)


def scorer(one: Benchmark, name: str | None = None) -> Scorer:
    """A benchmark's scorer of this name (default: its ``default_scorer``), or a package's.

    A package's has the id ``<benchmark>/<name>@<version>``. Raises KeyError naming the nearest
    known one, and :class:`BrokenExtension` for one that cannot be imported.
    """
    if name is None or name in one.scorers:
        return one.scorer(name)
    try:
        extension = SCORER_EXTENSIONS.find(name)
    except UnknownExtension:
        raise KeyError(unknown(f"scorer of {one.name}", name, scorers(one))) from None
    kind: type[Scorer] = extension.load()
    if kind.benchmarks and one.name not in kind.benchmarks:
        raise KeyError(
            f"scorer {name!r} of {extension.origin} judges {', '.join(kind.benchmarks)}, not "
            f"{one.name}"
        )
    made = kind()
    made.id = f"{one.name}/{extension.identity(kind)}"
    return made
