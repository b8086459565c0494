"""The contract of a tracker: it mirrors a run elsewhere, and never stands in its way.

Local files are the truth and :meth:`Tracker.sync` rebuilds the mirror from them alone. What they
hold is read with :mod:`harness.results.reading`.

To offer one, register the class under ``tracker.<name>`` in the entry-point group
``harness.plugins``, and let its tests subclass :class:`harness.testing.trackers.TrackerContract`.
An experiment chooses it by ``tracker: <name>``, or ``{name: <name>, parameters: {...}}``.
"""

from __future__ import annotations

from typing import Protocol

from harness.errors import HarnessError


class TrackingError(HarnessError):
    """A tracker cannot be used as configured; the message says what was tried."""


class Tracker(Protocol):
    """Mirrors one run folder.

    A class is called with ``run_folder``, ``root`` (the folder around it and the store) and, as
    keyword arguments, the parameters that the experiment gives it. Making one connects to nothing
    and imports no client: a run in which nothing is new costs nothing. A mirror that is complete is
    left as it is by all four calls.
    """

    def start(self) -> None:
        """Called once, before the first trial runs, when ``plan.json`` and ``spec.json`` are
        written. Raises :class:`TrackingError` where what is to be mirrored cannot be."""

    def update(self, trial_id: str) -> None:
        """Mirror what is new of one trial of the plan: called when it has ended, in any order, and
        again where nothing is new. Never raises: a mirror that is lost costs one warning."""

    def finish(self) -> None:
        """Mirror what is left, and the report. Called once, last. Never raises."""

    def sync(self) -> None:
        """Mirror everything from the run's files, what is there already not twice. Raises
        :class:`TrackingError` where that cannot be done."""
