"""``status.json`` of a trial: what it is doing, for people and for the runner.

Progress is written at most once a second, and a sign of life twice a minute: that is how another
node tells a trial that runs from one that is gone. A write that fails (a full disk) never stops the
work.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from harness.results import files
from harness.run import job
from harness.store.files import write_json

FILE = "status.json"

_BEAT_SECONDS = 30.0
#: A trial of which nothing was heard for so long is gone, where nobody can say better.
_SILENCE_SECONDS = 300.0


class Status:
    """The status of a running trial, kept up to date by a background thread."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / FILE
        self._lock = threading.Lock()
        self._watched: tuple[Path, int, str] | None = None
        self._changed = False
        self._over = threading.Event()
        self.state: dict[str, Any] = {
            "state": "running",
            "reason": "",
            "step": None,
            "progress": None,
            "started": time.time(),
            "updated": time.time(),
            "ended": None,
            "host": socket.gethostname(),
            "pid": os.getpid(),
        }
        self._write()
        threading.Thread(target=self._keep, daemon=True).start()

    def step(self, name: str, note: str = "") -> None:
        """A step begins; ``note`` says what it waits for, if it waits."""
        with self._lock:
            self._watched = None
            self.state |= {"step": name, "progress": None, "reason": note}
        self._write()

    def progress(self, done: int, total: int, unit: str) -> None:
        with self._lock:
            self.state["progress"] = {"done": done, "total": total, "unit": unit}
            self._changed = True

    def watch(self, file: Path, total: int, unit: str) -> None:
        """Take the progress from the number of lines of a growing file."""
        with self._lock:
            self._watched = (file, total, unit)

    def end(self, state: str, reason: str = "") -> None:
        """``ok`` or ``failed``; the last word."""
        self._over.set()
        with self._lock:
            self._watched = None
            self.state |= {"state": state, "reason": reason, "ended": time.time()}
            if state == "ok":
                self.state |= {"step": None, "progress": None}
        self._write()

    def _keep(self) -> None:
        while not self._over.wait(1.0):
            watched = self._watched
            if watched:
                with suppress(OSError):
                    self.progress(lines(watched[0]), *watched[1:])
            if self._changed or time.time() - self.state["updated"] > _BEAT_SECONDS:
                self._write()

    def _write(self) -> None:
        with self._lock:
            self._changed = False
            self.state["updated"] = time.time()
            with suppress(OSError):
                write_json(self._file, self.state)


def lines(file: Path) -> int:
    """The number of whole lines of a file; 0 where there is none."""
    if not file.exists():
        return 0
    with file.open("rb") as content:
        return sum(chunk.count(b"\n") for chunk in iter(lambda: content.read(1 << 20), b""))


def read(folder: Path) -> dict[str, Any]:
    """The status in a trial's folder: ``pending`` where there is none, ``queued`` where an executor
    has it and it has not begun. A running trial whose job is gone reads as ``interrupted``; where
    that cannot be told from here, one that has been silent for five minutes.
    """
    state = files.read(folder / FILE, files.StatusFile)
    if not state:
        state = {"state": "pending", "reason": "", "step": None, "progress": None}
    if state["state"] not in ("pending", "running"):
        return state
    given = job.recorded(folder)
    alive = given.alive() if given else None
    if state["state"] == "pending":
        if given and alive is not False:
            state |= {"state": "queued", "reason": f"job {given.id} of {given.executor}"}
        return state
    if alive is None:
        silence = time.time() - (state.get("updated") or 0.0)
        gone = silence > _SILENCE_SECONDS
        where = state.get("host", "another node")
        heard = f"on {where}, nothing heard for {silence / 60:.0f} minutes"
    else:
        gone, heard = not alive, "its process is gone"
    if gone:
        state |= {"state": "interrupted", "reason": f"{heard}; `harness run` goes on"}
    return state
