"""Published tables, one YAML file a paper."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

_HERE = Path(__file__).parent


def names() -> list[str]:
    """The papers whose tables are known."""
    return sorted(path.stem for path in _HERE.glob("*.yaml"))


def load(name: str) -> dict[str, Any]:
    """The published tables of a paper. Raises KeyError naming the nearest known paper."""
    if name not in names():
        near = difflib.get_close_matches(name, names(), 1)
        hint = f", did you mean {near[0]!r}?" if near else ""
        raise KeyError(f"unknown paper {name!r}{hint} Known: {', '.join(names())}.")
    paper: dict[str, Any] = YAML(typ="safe").load(_HERE / f"{name}.yaml")
    return paper
