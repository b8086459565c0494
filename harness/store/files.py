"""JSON files that are whole or not there, and what a file contains."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from benchmarks.atomic import whole_file


def write_json(path: Path, value: Any, sync: bool = False) -> None:
    """Replace a JSON file in one instant: a reader sees the old or the new one, never a part."""
    with whole_file(path, sync) as fresh, fresh.open("w", encoding="utf-8") as file:
        json.dump(value, file, indent=1, ensure_ascii=False, allow_nan=False)


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


def read_object(path: Path) -> dict[str, Any]:
    """The object in a JSON file; empty where :func:`read_json` finds none."""
    value = read_json(path)
    return value if isinstance(value, dict) else {}


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
