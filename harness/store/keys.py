"""The key of a step: a hash over everything that can change its result, and nothing else.

Every field of a step's spec is hashed after validation, defaults included, so that a default that
changes later can never be taken for the old one. Data and models enter by what they contain,
earlier steps by their key. What only changes speed (resources, paths, workers) is not part of a
spec at all.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from typing import Any

#: Bumped when the form below changes: every key changes with it, and a store tells its user that
#: earlier results are not met any more (:meth:`harness.store.results.Store.outdated`).
SCHEMA = 2


def plain(value: Any, where: str = "spec") -> Any:
    """The value in its one canonical form: str, int, bool, None, finite float, list, dict with str
    keys.

    ``-0.0`` becomes ``0.0`` and a tuple a list. Raises TypeError or ValueError, naming the place,
    on anything that has no canonical form (sets, paths, NaN, objects): silence there would mean
    wrong hits.
    """
    if value is None or isinstance(value, (str, bool)) or type(value) is int:
        return value
    if type(value) is float:
        if not math.isfinite(value):
            raise ValueError(f"{where} is {value}; only finite numbers have a key")
        return value + 0.0
    if isinstance(value, (list, tuple)):
        return [plain(item, f"{where}[{i}]") for i, item in enumerate(value)]
    if isinstance(value, Mapping):
        for name in value:
            if not isinstance(name, str):
                raise TypeError(
                    f"{where} has the key {name!r}; only text keys have a canonical form"
                )
        return {name: plain(item, f"{where}.{name}") for name, item in value.items()}
    raise TypeError(f"{where} is a {type(value).__name__}, which has no canonical form")


def canonical(value: Any) -> str:
    """Canonical JSON: keys sorted, no spaces, ASCII; floats as their shortest exact decimal."""
    return json.dumps(
        plain(value), sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False
    )


def step_key(kind: str, version: int, spec: Mapping[str, Any], parents: Mapping[str, str]) -> str:
    """64 hex digits. ``version`` is the hand-bumped meaning of the kind, ``parents`` maps roles to
    keys.
    """
    identity = {
        "schema": SCHEMA,
        "kind": kind,
        "kind_version": version,
        "spec": spec,
        "parents": parents,
    }
    return digest(identity)


def digest(value: Any) -> str:
    """sha256 of the canonical JSON, 64 hex digits."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()


def differences(old: Mapping[str, Any], new: Mapping[str, Any], prefix: str = "") -> list[str]:
    """What changed from ``old`` to ``new``, one readable line per leaf: ``kl.beta 0.0 → 0.01``."""
    lines: list[str] = []
    for name in [*new, *(n for n in old if n not in new)]:
        a, b, place = old.get(name), new.get(name), f"{prefix}{name}"
        if isinstance(a, Mapping) and isinstance(b, Mapping):
            lines += differences(a, b, f"{place}.")
        elif plain(a) != plain(b):
            lines.append(f"{place} {show(a)} → {show(b)}")
    return lines


def show(value: Any) -> str:
    """A setting as a person writes it: ``0.5``, ``majority``, ``[1, 2]``."""
    if value is None:
        return "–"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{k}: {show(v)}" for k, v in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(show(item) for item in value) + "]"
    return value if isinstance(value, str) else json.dumps(value)
