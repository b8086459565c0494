"""What a pipe or a file gets is whole, whatever the surroundings say of a terminal's width."""

from __future__ import annotations

import fcntl
import os
import re
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pytest

import harness

NAME = "an-arm-with-a-long-name" + "--setting=0.5" * 9
SENTENCE = "a sentence of many words " * 20 + "and its end"

SHOW = f"""
import sys
from rich.table import Table
from harness.console import console
table = Table("name", "what it is", title="a title that is longer than its table by a lot " * 4)
table.columns[1].overflow = "fold"
table.add_row({NAME!r}, {SENTENCE!r})
table.add_row("short", "short")
here = console()
here.print({SENTENCE!r}, markup=False)
here.print("[bold]" + {SENTENCE!r} + "[/]")
here.print(table)
sys.exit(here.width if here.is_terminal else 0)
"""

SURROUNDINGS = {
    "none": {},
    "narrow": {"COLUMNS": "40", "LINES": "10"},
    "wide": {"COLUMNS": "200"},
    "dumb": {"TERM": "dumb", "COLUMNS": "20"},
}


def surroundings(given: dict[str, str]) -> dict[str, str]:
    kept = {
        k: v for k, v in os.environ.items() if k not in ("COLUMNS", "LINES", "TERM", "FORCE_COLOR")
    }
    return kept | given


@pytest.mark.parametrize("name", SURROUNDINGS)
def test_what_goes_into_a_pipe_is_neither_wrapped_nor_cut(name: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SHOW],
        env=surroundings(SURROUNDINGS[name]),
        capture_output=True,
        text=True,
        check=True,
    )
    lines = done.stdout.splitlines()
    assert lines[:2] == [SENTENCE, SENTENCE]
    assert sum(NAME in line and SENTENCE in line for line in lines) == 1
    assert len([line for line in lines if re.search(r"\w", line)]) == 6
    assert all(line == line.rstrip(" ") for line in lines)


def test_a_terminal_is_filled_and_not_exceeded() -> None:
    ours, theirs = os.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 25, 70, 0, 0))
    process = subprocess.Popen(
        [sys.executable, "-c", SHOW],
        env=surroundings({"TERM": "xterm", "NO_COLOR": "1"}),
        stdin=theirs,
        stdout=theirs,
        stderr=subprocess.PIPE,
    )
    os.close(theirs)
    printed = b""
    while chunk := _read(ours):
        printed += chunk
    _, error = process.communicate()
    os.close(ours)
    assert process.returncode == 70, error
    lines = re.sub(r"\x1b\[[0-9;]*m", "", printed.decode()).splitlines()
    assert 60 < max(map(len, lines)) <= 70


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:  # Linux says so where nobody holds the other end any more
        return b""


def test_consoles_are_made_in_one_place() -> None:
    """Another one would wrap again."""
    folder = Path(harness.__file__).parent
    made = {
        str(file.relative_to(folder))
        for file in folder.rglob("*.py")
        if re.search(r"\bConsole\(", file.read_text())
    }
    assert made == {"console.py"}
