"""Reading an experiment file: every mistake with file, line, what was expected and the nearest
name.

Nothing is created here. Shape (types, unknown keys) is pydantic's; meaning (names, contradictions,
files that must exist) is checked by subject, on whatever part of the file has the right shape, so
that one reading shows all mistakes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from harness.errors import Problem
from harness.experiment import extensions
from harness.experiment.checks import arms, evaluation, sweep
from harness.experiment.checks.shape import shape
from harness.experiment.derived import settle
from harness.experiment.spec import Experiment
from harness.experiment.yaml_file import Mistake, YamlFile, dotted
from harness.store.sources.hashes import Hashes


def read(path: Path, root: Path) -> tuple[Experiment, str]:
    """The experiment in a file, and its text. Raises :class:`SpecError` with every mistake."""
    file = YamlFile(path)
    experiment, mistakes = shape(file.data)
    if experiment is not None:
        mistakes += meaning(experiment, Hashes(root))
    if mistakes:
        seen = dict.fromkeys(mistakes)
        raise file.error([Problem(dotted(p), said, file.line(p)) for p, said in seen])
    assert experiment is not None
    return experiment, file.text


def meaning(experiment: Experiment, hashes: Hashes) -> list[Mistake]:
    """What is wrong with an experiment of the right shape, as it is settled on this machine."""
    experiment, _ = settle(experiment)
    parts: Sequence[Callable[[], Iterator[Mistake]]] = (
        lambda: arms.references(experiment),
        lambda: sweep.check(experiment),
        lambda: arms.check(experiment, hashes),
        lambda: evaluation.check(experiment, hashes),
        lambda: evaluation.judge(experiment, hashes),
        lambda: _extensions(experiment),
    )
    return [mistake for part in parts for mistake in part()]


def _extensions(experiment: Experiment) -> Iterator[Mistake]:
    for said in extensions.mistakes(extensions.EXECUTORS, experiment.executor):
        yield ("executor",), said
    for said in extensions.mistakes(extensions.TRACKERS, experiment.tracker):
        yield ("tracker",), said
