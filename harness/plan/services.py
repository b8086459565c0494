"""Who a run asks besides the models that it loads."""

from __future__ import annotations

from backends.base.config import Config
from backends.base.engine import Server
from harness.experiment.spec import Judge


class Services(Config):
    """``evaluated`` is the server whose model answers a benchmark's items (engine openai),
    ``writers`` are those whose models write training data, ``judge`` grades for the scorer of that
    name: with a local model, by its place on this machine."""

    evaluated: Server | None = None
    writers: tuple[Server, ...] = ()
    judge: Judge | None = None
