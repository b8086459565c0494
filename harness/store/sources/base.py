"""What every source has: a content id, and where on this machine its content is found."""

from __future__ import annotations

import re
from pathlib import Path

from backends.base.config import Config
from harness.errors import HarnessError, StepError
from harness.store.sources.hashes import Hashes

#: The embedded world: its model goes by this name, and its data is below it.
TINY = "tiny"
_COMMIT = re.compile(r"^[0-9a-f]{40}$")


class Source(Config):
    """Something that an experiment names, found and identified.

    ``id`` says what it contains and goes into the keys of steps: ``sha256:<64 hex>`` for what lies
    on this machine, ``<repository>@<commit>`` for the hub, ``tiny/<name>@<version>`` for data that
    the embedded world generates. ``source`` says where that is found: a local file or folder by
    its absolute path, anything else as an experiment file writes it. Each kind is a subclass with
    its own ``kind``, by which a trial's ``spec.json`` is read back.
    """

    id: str
    source: str

    @property
    def place(self) -> Path | None:
        """The file or folder of this machine that it is, as long as that is there; None where the
        id alone fixes the content."""
        return None

    def content_id(self, hashes: Hashes) -> str:
        """The id of what is there now."""
        return self.id

    def refuse_change(self, role: str, hashes: Hashes) -> None:
        """Raise :class:`StepError` where the content is no longer what was planned with."""
        if self.place is not None and self.place.exists() and self.content_id(hashes) != self.id:
            raise self.changed(role)

    def changed(self, role: str) -> StepError:
        return StepError(f"the {role} {self.source} changed since the run was planned; run again")


def require_commit(source: str, revision: str) -> None:
    """Raises :class:`HarnessError` for a revision of the hub that is no commit."""
    if not _COMMIT.match(revision):
        raise HarnessError(
            f"{source!r}: pin the revision by its commit, 40 hex digits as the hub's history shows "
            f"it, because {revision!r} can move and results would no longer say what they are of"
        )


def tiny_name(source: str) -> str | None:
    """``train`` of ``tiny/train``; None for what is not of the embedded world's data."""
    world, slash, name = source.partition("/")
    return name if world == TINY and slash else None
