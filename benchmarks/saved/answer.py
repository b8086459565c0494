"""A saved response, whatever file it is from, and how a file's rows become samples of items."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.base import DataError, Generation, Item


@dataclass(frozen=True)
class Answer:
    """One saved response. ``extraction`` is what the owners' extraction made of it, ``published``
    the verdict in the file; None where the file holds none. ``failed``: in place of a response the
    file holds the error that its tool met."""

    generation: Generation
    extraction: Any = None
    published: bool | None = None
    failed: bool = False


@dataclass(frozen=True)
class Published:
    """A file of answers: what it is, and the items where the file itself holds their golds.
    ``notes`` say what the file can have lost."""

    format: str
    answers: tuple[Answer, ...]
    items: tuple[Item, ...] | None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Reply:
    """What a row of a file holds: the ``texts`` of its item's samples, none where an error stands
    in their place; of each the extraction and the verdict that the file has."""

    where: str
    item: str
    texts: tuple[str, ...]
    extractions: tuple[Any, ...] = ()
    verdicts: tuple[bool | None, ...] = ()


def responses(where: str, given: Any) -> tuple[str, ...]:
    """The responses in a field: one, or a list of samples. Raises :class:`DataError` naming
    ``where`` for a list that is empty or holds anything but texts and numbers."""
    if not isinstance(given, list):
        return (str(given),)
    if not given:
        raise DataError(f"{where}: its list of responses is empty; an empty response is a text.")
    if wrong := [each for each in given if not isinstance(each, str | int | float | None)]:
        raise DataError(
            f"{where}: a list of responses holds texts, one a sample, and not {str(wrong[0])[:80]}."
        )
    return tuple("" if each is None else str(each) for each in given)


def of_each(where: str, field: str, given: Any, n: int) -> tuple[Any, ...]:
    """A field beside ``n`` responses: its value, or a list with one for each response."""
    if isinstance(given, list) and len(given) == n:
        return tuple(given)
    if n == 1 or given is None:
        return (given,) * n
    raise DataError(
        f"{where}: {n} responses, and {field!r} is not a list of {n}; give one for each response, "
        "or leave it out."
    )


def answers(replies: Sequence[Reply]) -> tuple[Answer, ...]:
    """One answer a response. A single response to each item is its greedy one; several are samples,
    and a row with an error has as many that failed.

    Raises :class:`DataError` naming a row that holds more or fewer samples than another.
    """
    whole = [reply for reply in replies if reply.texts]
    n = len(whole[0].texts) if whole else 1
    if other := next((reply for reply in whole if len(reply.texts) != n), None):
        raise DataError(
            f"{other.where}: holds {len(other.texts)} responses where {whole[0].where} holds {n}: "
            "all rows need as many, for they are samples of their items."
        )
    return tuple(answer for reply in replies for answer in _samples(reply, n))


def _samples(reply: Reply, n: int) -> Iterator[Answer]:
    decoding = "greedy" if n == 1 else "sampled"
    for sample, text in enumerate(reply.texts or ("",) * n):
        yield Answer(
            Generation(reply.item, decoding, sample, text),
            reply.extractions[sample] if reply.extractions else None,
            reply.verdicts[sample] if reply.verdicts else None,
            failed=not reply.texts,
        )
