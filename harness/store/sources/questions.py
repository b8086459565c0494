"""What may stand where a question pool is named: ``tiny/<split>``, a ``.jsonl`` or ``.parquet``
file, or ``hub:owner/name@<commit>[split]``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from benchmarks.base import DataError, Item
from benchmarks.data.hub import HubData
from benchmarks.plugins import unknown
from harness.errors import HarnessError
from harness.store.keys import digest
from harness.store.sources.base import TINY, Source, require_commit, tiny_name
from harness.store.sources.hashes import Hashes

#: What becomes of a pool with rows whose picture cannot be shown to a model.
OnBroken = Literal["refuse", "skip"]

_SKIPPING = "[without broken pictures]"


class QuestionSource(Source):
    """A pool of questions. One that is read without its broken pictures is another than one that
    is refused for them, and has another id."""

    on_broken_picture: OnBroken = "refuse"

    @property
    def plain_id(self) -> str:
        """The id of all that is there."""
        return self.id.removesuffix(_SKIPPING)

    def _read(self) -> list[Item]:
        return _read(self.source, self.on_broken_picture)


class TinyQuestions(QuestionSource):
    """A training split that the embedded world generates."""

    kind: Literal["tiny questions"] = "tiny questions"

    def load(self, hashes: Hashes) -> list[Item]:
        from benchmarks import tiny

        return tiny.questions(tiny_name(self.source) or "")


class QuestionFile(QuestionSource):
    """A question file of the user's. Its id is over what the items say and show, whatever format
    holds them."""

    kind: Literal["question file"] = "question file"

    @property
    def place(self) -> Path:
        return Path(self.source)

    def content_id(self, hashes: Hashes) -> str:
        return _with(self.on_broken_picture, _items_id(self._read(), hashes))

    def load(self, hashes: Hashes) -> list[Item]:
        items = self._read()
        if _items_id(items, hashes) != self.plain_id:
            raise self.changed("question file")
        return items


class HubQuestions(QuestionSource):
    """One split of a data set of the hub, at a commit."""

    kind: Literal["hub questions"] = "hub questions"

    def load(self, hashes: Hashes) -> list[Item]:
        return self._read()


#: ``load`` gives the items; :class:`StepError` where they are not those that were planned with.
Questions = TinyQuestions | QuestionFile | HubQuestions


def locate(source: str, hashes: Hashes, on_broken_picture: OnBroken = "refuse") -> Questions:
    """The question pool that a text names; a local file is read and checked here, but for what its
    pictures show. Raises :class:`HarnessError`."""
    found = _located(source, hashes, on_broken_picture)
    changed = {"id": _with(on_broken_picture, found.id), "on_broken_picture": on_broken_picture}
    return found.model_copy(update=changed)


def _with(on_broken_picture: OnBroken, id: str) -> str:
    return id + _SKIPPING if on_broken_picture == "skip" else id


def _located(source: str, hashes: Hashes, on_broken_picture: OnBroken) -> Questions:
    from benchmarks import tiny

    if tiny_name(source) is not None:
        if source not in (known := [f"{TINY}/{split}" for split in tiny.SPLITS]):
            raise HarnessError(unknown("question pool", source, known))
        return TinyQuestions(id=f"{source}@{tiny.VERSION}", source=source)
    if (hub := HubData.of(source)) is not None:
        require_commit(source, hub.revision)
        if not hub.split:
            raise HarnessError(f"{source!r}: name the split too, as in {source}[train]")
        return HubQuestions(id=source, source=source)
    path = Path(source).expanduser()
    if not path.is_file() or path.suffix not in (".jsonl", ".parquet"):
        what = "no such file" if not path.exists() else "not a .jsonl or .parquet file"
        expected = f"expected {TINY}/train, such a file, or hub:owner/name@<commit>[split]"
        raise HarnessError(f"{source!r}: {what}; {expected}")
    try:
        items = _read(str(path), on_broken_picture)
    except DataError as error:
        raise HarnessError(str(error)) from None
    if not items:
        raise HarnessError(f"{source!r} holds no questions")
    return QuestionFile(id=_items_id(items, hashes), source=str(path.resolve()))


def _read(source: str, on_broken_picture: OnBroken) -> list[Item]:
    from benchmarks.data.questions import load_questions

    return load_questions(source, any_picture=on_broken_picture == "skip")


def _items_id(items: Iterable[Item], hashes: Hashes) -> str:
    total = hashlib.sha256()
    for item in items:
        pictures = [
            hashlib.sha256(p).hexdigest() if isinstance(p, bytes) else hashes.file(p)
            for p in item.images
        ]
        content = [item.id, item.question, item.answer, item.solution, item.cluster, pictures]
        total.update(digest(content).encode())
    return f"sha256:{total.hexdigest()}"
