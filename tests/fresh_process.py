"""What a piece of code loads, in a process that has loaded nothing yet."""

from __future__ import annotations

import subprocess
import sys


def loaded(code: str, *modules: str) -> set[str]:
    """Which of the modules are there once the code has run."""
    told = f"import sys\nprint(*(sys.modules.keys() & {set(modules)!r}))"
    process = subprocess.run(
        [sys.executable, "-c", f"{code}\n{told}"], capture_output=True, text=True
    )
    assert process.returncode == 0, process.stderr
    return set(process.stdout.splitlines()[-1].split())
