"""Errors for the person who reads them. The CLI prints their text, without a traceback."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass


class HarnessError(Exception):
    """A mistake of the user, or of the surroundings, that a sentence explains. Exit code 2."""


class StepError(HarnessError):
    """A step that cannot give its result, with the reason; recorded as its trial's failure."""


@dataclass(frozen=True)
class Problem:
    """One mistake in an experiment file: ``where`` is its place such as ``arms.grpo.lr``."""

    where: str
    message: str
    line: int | None = None


class SpecError(HarnessError):
    """Everything that is wrong with an experiment file, one line per mistake."""

    def __init__(self, file: str, problems: Sequence[Problem]) -> None:
        self.file = file
        self.problems = tuple(sorted(problems, key=lambda p: (p.line or 0, p.where)))
        super().__init__("\n".join(self._lines()))

    def _lines(self) -> Iterable[str]:
        for problem in self.problems:
            place = self.file if problem.line is None else f"{self.file}:{problem.line}"
            where = f" {problem.where}:" if problem.where else ""
            yield f"{place}:{where} {problem.message}"
