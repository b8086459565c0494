"""Published tables, one YAML file a paper."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from benchmarks.plugins import unknown

_HERE = Path(__file__).parent


def names() -> list[str]:
    """The papers whose tables are known."""
    return sorted(path.stem for path in _HERE.glob("*.yaml"))


def load(name: str) -> dict[str, Any]:
    """The published tables of a paper. Raises KeyError naming the nearest known paper."""
    if name not in names():
        raise KeyError(unknown("paper", name, names()))
    paper: dict[str, Any] = YAML(typ="safe").load(_HERE / f"{name}.yaml")
    return paper
