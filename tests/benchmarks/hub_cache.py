"""The hub's own client on a cache that a test wrote: offline, in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

COMMIT = "0123456789abcdef0123456789abcdef01234567"
ROOT = Path(__file__).resolve().parents[2]


def printed(code: str, cache: Path) -> str:
    """What Python code prints that finds the hub's repositories in ``cache`` only."""
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"HF_HUB_OFFLINE": "1", "HF_HUB_CACHE": str(cache)},
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
