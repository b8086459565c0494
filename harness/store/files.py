"""Small files that are whole or not there."""

from __future__ import annotations

import hashlib
import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Any


def write_json(path: Path, value: Any, sync: bool = False) -> None:
    """Replace a JSON file in one instant: a reader sees the old or the new one, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with temporary.open("w", encoding="utf-8") as file:
            json.dump(value, file, indent=1, ensure_ascii=False, allow_nan=False)
            if sync:
                file.flush()
                os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise


def update_json(path: Path, value: Any) -> None:
    """Write a JSON file only if it would change, so that its time says when it did."""
    if read_json(path) != json.loads(json.dumps(value)):
        write_json(path, value)


def read_json(path: Path) -> Any:
    """The content of a JSON file, or None where there is none or it is not JSON."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
