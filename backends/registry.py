"""Backends by name. Naming one does not import its trainer."""

from __future__ import annotations

from backends.base.backend import Backend
from benchmarks.plugins import Registry

BACKENDS = Registry(
    "backend",
    {
        "deepspeed": "backends.deepspeed.backend:DeepSpeedBackend",
        "trl": "backends.trl.backend:TRLBackend",
    },
)


def backend(name: str) -> Backend:
    """The backend of this name: ours, or one that an installed package offers as
    ``backend.<name>`` (see :mod:`benchmarks.plugins`).

    Raises UnknownExtension naming the nearest known one, BrokenExtension for one that cannot be
    loaded.
    """
    made: Backend = BACKENDS.load(name)()
    return made
