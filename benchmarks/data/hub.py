"""A data set of the Hugging Face hub: ``hub:owner/name@revision``, or one split of it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from benchmarks.base import DataError

_PREFIX = "hub:"
_FORM = re.compile(
    r"hub:(?P<repository>[\w.-]+/[\w.-]+)@(?P<revision>[^\s\[\]]+)(?:\[(?P<split>[\w.-]+)\])?"
)
#: What is downloaded of a data set: its rows, and We-Math's tree of concepts.
FILES = ["*.parquet", "knowledge_structure_nodes.json"]


@dataclass(frozen=True)
class HubData:
    """A data set at a revision: without one, a result could not say what it was measured on.
    ``split`` is empty where none is named."""

    repository: str
    revision: str
    split: str

    @classmethod
    def of(cls, source: str) -> HubData | None:
        """What ``hub:owner/name@revision[split]`` names; None for any other text."""
        match = _FORM.fullmatch(source)
        return match and cls(match["repository"], match["revision"], match["split"] or "")

    def download(self) -> Path:
        """The folder of its files in the hub's own cache. Raises :class:`DataError`."""
        from huggingface_hub import snapshot_download

        try:
            folder = snapshot_download(
                self.repository,
                repo_type="dataset",
                revision=self.revision,
                allow_patterns=FILES,
            )
        except Exception as error:  # a wide range of network, naming and permission errors
            raise DataError(
                f"{_PREFIX}{self.repository}@{self.revision}: cannot be downloaded ({error})."
            ) from error
        return Path(folder)


def at_hub(source: Path | str) -> HubData | None:
    """The data set of the hub that a source names; None for what is no hub source.

    Raises :class:`DataError` for one that is not written so.
    """
    text = str(source)
    if not text.startswith(_PREFIX):
        return None
    if (data := HubData.of(text)) is None:
        raise DataError(
            f"{text!r} is no hub source: write hub:owner/name@revision[split], for example "
            "hub:hiyouga/geometry3k@main[train]."
        )
    return data
