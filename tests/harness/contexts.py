"""Where a step works when a test calls it: a context in a folder of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from backends.base.resources import Resources
from harness.plan.services import Services
from harness.steps.context import Context
from harness.store.results import Store
from harness.store.sources.located import Located


def context(
    root: Path,
    name: str,
    located: Iterable[Located],
    parents: Mapping[str, Path] | None = None,
    progress: Callable[[int, int, str], None] = lambda done, total, unit: None,
    services: Services | None = None,
) -> Context:
    """A context for a step that works in ``root/name`` on the CPU."""
    work = root / name
    (work / "out").mkdir(parents=True, exist_ok=True)
    return Context(
        store=Store(root),
        scratch=work,
        parents=parents or {},
        located={source.id: source for source in located},
        resources=Resources(device="cpu"),
        progress=progress,
        watch=lambda file, total, unit: None,
        services=services or Services(),
    )
