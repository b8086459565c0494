"""What may stand where a model is named.

``tiny``, a folder in Hugging Face layout, ``owner/name@<commit>``, what a server calls its model
(``server:<name>``, taken at its word), and, for a model that writes for another's training, the arm
that trains it (``arm:<name>``).
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

from backends.models.families import ModelError, family_at
from harness.errors import HarnessError
from harness.store.sources.base import TINY, Source, require_commit
from harness.store.sources.hashes import Hashes

_ARM, _SERVER = "arm:", "server:"
_HUB = re.compile(r"^[\w.-]+/[\w.-]+@(?P<revision>\S+)$")


class TinyModel(Source):
    """The tiny base that the package carries."""

    kind: Literal["tiny model"] = "tiny model"

    @property
    def place(self) -> Path:
        from benchmarks.tiny import checkpoint

        return checkpoint()

    def content_id(self, hashes: Hashes) -> str:
        return hashes.folder(self.place)

    def path(self) -> Path:
        return self.place


class ModelFolder(Source):
    """A folder in Hugging Face layout."""

    kind: Literal["model folder"] = "model folder"

    @property
    def place(self) -> Path:
        return Path(self.source)

    def content_id(self, hashes: Hashes) -> str:
        return hashes.folder(self.place)

    def path(self) -> Path:
        return self.place


class HubModel(Source):
    """A model of the hub at a commit: ``owner/name@<commit>``."""

    kind: Literal["hub model"] = "hub model"

    def config(self) -> Path | None:
        """The folder of its configuration, where the hub's own cache holds it."""
        from huggingface_hub import try_to_load_from_cache

        repository, _, revision = self.source.partition("@")
        cached = try_to_load_from_cache(repository, "config.json", revision=revision)
        return Path(cached).parent if isinstance(cached, str) else None

    def path(self) -> Path:
        """Downloads it into the hub's own cache."""
        from huggingface_hub import snapshot_download

        repository, _, revision = self.source.partition("@")
        return Path(snapshot_download(repository, revision=revision))


class ServedModel(Source):
    """A model that a server answers with, by its name there: ``server:<name>``."""

    kind: Literal["served model"] = "served model"

    @classmethod
    def named(cls, name: str) -> ServedModel:
        """What the server calls ``name`` (with ``@<revision>`` where it tells one)."""
        return cls(id=f"{_SERVER}{name}", source=f"{_SERVER}{name}")

    @classmethod
    def of(cls, source: str) -> ServedModel | None:
        """The served model that a text names, None where it names none."""
        return cls(id=source, source=source) if source.startswith(_SERVER) else None

    def path(self) -> Path:
        raise HarnessError(f"{self.source!r} is on a server: its engine is openai")


class TrainedModel(Source):
    """The checkpoint that another arm of the experiment leaves: ``arm:<name>``. What it contains
    is known by the key of the step that trains it; what the arm is called is no part of a result.
    """

    kind: Literal["trained model"] = "trained model"

    @classmethod
    def of(cls, source: str) -> TrainedModel | None:
        """The arm's model that a text names, None where it names none."""
        return cls(id="trained", source=source) if source.startswith(_ARM) else None

    @property
    def arm(self) -> str:
        return self.source.removeprefix(_ARM)


Model = TinyModel | ModelFolder | HubModel | ServedModel

_PROCESSOR = "processor (preprocessor_config.json or processor_config.json)"


def locate(source: str, hashes: Hashes) -> Model:
    """The model that a text names. Raises :class:`HarnessError` naming what a model folder lacks,
    or how to pin a revision."""
    if source == TINY:
        from benchmarks.tiny import checkpoint

        _complete(checkpoint())
        return TinyModel(id=hashes.folder(checkpoint()), source=source)
    if (served := ServedModel.of(source)) is not None:
        return served
    folder = Path(source).expanduser()
    if folder.is_dir():
        _complete(folder)
        return ModelFolder(id=hashes.folder(folder), source=str(folder.resolve()))
    if (match := _HUB.match(source)) and not folder.exists():
        require_commit(source, match["revision"])
        return HubModel(id=f"hub:{source}", source=source)
    expected = f"expected `{TINY}`, a folder in Hugging Face layout, or owner/name@<commit>"
    raise HarnessError(f"{source!r} is no model: {expected}")


def _complete(folder: Path) -> None:
    """Whether a folder holds a model of a known family, with all that a model of it comes with."""
    needs = {
        "config.json": ("config.json",),
        "weights (*.safetensors)": ("*.safetensors",),
        _PROCESSOR: ("preprocessor_config.json", "processor_config.json"),
        "tokenizer (tokenizer.json or tokenizer_config.json)": (
            "tokenizer.json",
            "tokenizer_config.json",
        ),
    }
    lacking = [
        what for what, names in needs.items() if not any(any(folder.glob(name)) for name in names)
    ]
    if "config.json" not in lacking:
        try:
            family = family_at(folder)
        except ModelError as error:
            raise HarnessError(str(error)) from None
        if not family.reads_pictures:
            lacking = [what for what in lacking if what != _PROCESSOR]
    if lacking:
        raise HarnessError(f"the model folder {folder} has no {' and no '.join(lacking)}")
