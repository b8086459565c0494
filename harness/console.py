"""Where every verb prints: as wide as the terminal, and whole where a pipe or a file reads it."""

from __future__ import annotations

import re
import sys
from typing import IO, Any, cast

from rich.console import Console

#: More columns than any table has.
_UNBOUNDED = 1_000_000


def console(
    stderr: bool = False, file: IO[str] | None = None, widest: int | None = None
) -> Console:
    """What prints to a stream: to a terminal as wide as it is, and at most ``widest``; to a pipe or
    a file without wrapping, folding or cutting anything, whatever the surroundings say of one.
    """
    stream = file or (sys.stderr if stderr else sys.stdout)
    if not stream.isatty():
        return Console(
            file=cast(IO[str], _Trimmed(stream)),
            stderr=stderr,
            width=_UNBOUNDED,
            height=25,  # of both, else COLUMNS or a terminal that others write to is asked
            soft_wrap=True,
            force_interactive=False,
        )
    made = Console(file=file, stderr=stderr)
    if widest is not None and made.width > widest:
        made = Console(file=file, stderr=stderr, width=widest)
    return made


class _Trimmed:
    """A stream without the blanks that a table ends its lines with, as many as its longest has."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        return self._stream.write(re.sub(" +$", "", text, flags=re.MULTILINE))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
