"""How a model is trained and asked: backends train a stage, engines turn questions into
responses.
"""

from __future__ import annotations

import difflib
import importlib
from importlib.metadata import entry_points

from backends.base.backend import Backend

#: name -> "module:class". Strings, so that naming a backend does not import its trainer.
BACKENDS: dict[str, str] = {
    "deepspeed": "backends.deepspeed.backend:DeepSpeedBackend",
    "trl": "backends.trl.backend:TRLBackend",
}


def backend(name: str) -> Backend:
    """The backend of this name: ours, or one that an installed package offers.

    A package offers one through the entry-point group ``harness.plugins``, under the name
    ``backend.<name>``. Raises KeyError naming the nearest known one.
    """
    offered = {
        point.name.removeprefix("backend."): point.value
        for point in entry_points(group="harness.plugins")
        if point.name.startswith("backend.")
    }
    known = offered | BACKENDS
    if name not in known:
        near = difflib.get_close_matches(name, known, 1)
        hint = f", did you mean {near[0]!r}?" if near else ""
        raise KeyError(f"unknown backend {name!r}{hint} Known: {', '.join(known)}.")
    module, _, attribute = known[name].partition(":")
    made: Backend = getattr(importlib.import_module(module), attribute)()
    return made
