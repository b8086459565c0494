"""What a benchmark is: items to ask, a scorer that judges a response, and the metrics.

Everything here is plain data and plain functions: no model, no torch. Generating responses is a
step of ``harness`` with an engine of ``backends``.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from benchmarks.plugins import unknown

#: Why a verdict says what it says. Only ``ok`` verdicts are judgements of an answer; the others are
#: counted apart from wrong answers and score 0.
Status = Literal["ok", "unparsed", "undecided", "judge_failed"]

#: A picture: the path of an image file, or the bytes of one.
Picture = Path | bytes

#: Where a picture stands in a text, as LLaVA, verl and EasyR1 write it.
PICTURE_MARK = "<image>"
_LEADING_MARKS = re.compile(rf"\s*(?:{PICTURE_MARK}\s*)+")


class DataError(ValueError):
    """A data file is missing, corrupt or not what it claims to be; the message names its row."""


def interleaved(text: str, pictures: Sequence[Picture]) -> list[str | Picture]:
    """Text and pictures in the order in which a model reads them: each picture where its
    ``<image>`` stands, and all before a text that has none. Without pictures the text is text like
    any other. Raises :class:`DataError` on another number of marks than of pictures."""
    _refuse_marks(text, len(pictures))
    texts = text.split(PICTURE_MARK)
    if not pictures or len(texts) == 1:
        return [*pictures, text]
    parts: list[str | Picture] = [texts[0]]
    for picture, after in zip(pictures, texts[1:], strict=True):
        parts += [picture, after]
    return [part for part in parts if part != ""]


def placed(where: str, question: str, pictures: int) -> str:
    """A question with as many ``<image>`` as pictures, or with none where all of them stand before
    the text. Without pictures it is text like any other.

    Raises :class:`DataError` naming ``where`` on another number.
    """
    marks = question.count(PICTURE_MARK)
    if not pictures or not marks:
        return question
    try:
        _refuse_marks(question, pictures)
    except DataError as error:
        raise DataError(f"{where}: {error}") from None
    text = _LEADING_MARKS.sub("", question, count=1) if _LEADING_MARKS.match(question) else question
    return question if PICTURE_MARK in text else text


def _refuse_marks(text: str, pictures: int) -> None:
    marks = text.count(PICTURE_MARK)
    if pictures and marks and marks != pictures:
        raise DataError(
            f"its text has {marks} {PICTURE_MARK} for {pictures} pictures; mark the place of each, "
            "or of none where they stand before the text."
        )


def unmarked(text: str) -> str:
    """What a model wrote, without the marks that would move a picture."""
    return text.replace(PICTURE_MARK, "")


@dataclass(frozen=True)
class Item:
    """One question: of a benchmark, or of a training pool.

    ``question`` is the text the model is asked (options included, if any), before the prompt
    template of the method is put around it; an ``<image>`` in it is the place of a picture, see
    :func:`placed`. ``answer`` is the gold as its owners wrote it; an
    unsupervised method never reads it. ``solution`` is a worked solution, where one exists.
    ``cluster`` names the items that share context (same figure, same problem): standard errors
    cluster on it. ``meta`` holds the official row (task, version, key, choices, precision, ...).
    """

    id: str
    question: str
    answer: str = ""
    images: tuple[Picture, ...] = ()
    cluster: str = ""
    solution: str = ""
    meta: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Generation:
    """One raw response of a model to an item. ``sample`` counts the samples of one item from 0."""

    item: str
    decoding: str  # "greedy" or "sampled"
    sample: int
    text: str
    finish: str = "stop"  # "stop" or "length"
    tokens: int = 0


@dataclass(frozen=True)
class Verdict:
    """What a scorer says of one response.

    ``extracted`` is the answer that was read from the response (None: none found), ``rule`` the
    name of the rule that decided and ``span`` where the answer stands in the response, by
    characters, where that is known.
    """

    item: str
    correct: bool
    extracted: str | None = None
    status: Status = "ok"
    rule: str = ""
    decoding: str = "greedy"
    sample: int = 0
    span: tuple[int, int] | None = None


@dataclass(frozen=True)
class Values:
    """One metric as the values of its units: the metric is their mean.

    ``units`` are items for an accuracy and groups for We-Math's scores; ``clusters`` say which
    units share context. ``values`` lie in [0, 1]. All three have the same length n. Writing a
    metric this way makes clustered intervals and paired tests one piece of code for every
    benchmark.
    """

    metric: str
    units: tuple[str, ...]
    clusters: tuple[str, ...]
    values: tuple[float, ...]

    @property
    def mean(self) -> float:
        return sum(self.values) / len(self.values) if self.values else float("nan")


class Ratio(float):
    """A figure that is ``part`` of ``whole``, where the whole is itself a count of verdicts and so
    no fixed set of units; NaN where it is 0."""

    part: int
    whole: int

    def __new__(cls, part: int, whole: int) -> Ratio:
        made = super().__new__(cls, part / whole if whole else float("nan"))
        made.part, made.whole = part, whole
        return made

    @classmethod
    def pooled(cls, ratios: Sequence[Ratio]) -> Ratio:
        """The ratio of the sums, as over several samples of the same items."""
        return cls(sum(r.part for r in ratios), sum(r.whole for r in ratios))


class Scorer(ABC):
    """A named, versioned rule that turns (item, response) into a verdict.

    ``id`` is part of every result's identity: results of different scorers are never compared. A
    scorer that a package offers (``scorer.<name>`` in the entry-point group ``harness.plugins``)
    declares a ``version``, raised whenever a verdict can change, and gets its id from it and the
    benchmark that it judges: see :func:`benchmarks.registry.scorer`.
    """

    id: str
    #: The benchmarks that a package's scorer can judge; empty: any.
    benchmarks: tuple[str, ...] = ()

    @abstractmethod
    def score(self, item: Item, response: str) -> Verdict:
        """Judge one raw response. Never raises on any text: model output is hostile."""


@dataclass(frozen=True)
class Edition:
    """One split as published: ``n`` rows in ``groups`` clusters (0: not known), and how many rows
    have a value of a facet. ``source`` says where the fingerprints were taken from, ``kit`` under
    which names VLMEvalKit's one table of it is found."""

    split: str
    n: int
    groups: int = 0
    counts: Mapping[tuple[str, str], int] = field(default_factory=dict)
    source: str = ""
    kit: tuple[str, ...] = ()


class Benchmark(ABC):
    """A benchmark: where its items come from, who judges them, what its figures are.

    A subclass implements :meth:`read`, :meth:`make_scorer` and :meth:`values`. Where its owners'
    rows are known, it has ``editions`` and compares with them; the rest compare with nothing.
    """

    name: str  # "mathvista"
    title: str  # "MathVista (testmini)"
    headline: str  # "mathvista/accuracy"
    default_scorer: str = "official"
    scorers: tuple[str, ...] = ()
    splits: tuple[str, ...] = ()  # the parts that its owners publish; the first is the usual one
    editions: tuple[Edition, ...] = ()  # what its owners published, a split each; () is not known
    templates: tuple[str, ...] = ()  # its owners' prompts in benchmarks.prompts, the usual first

    @property
    def address(self) -> str:
        """What :func:`benchmarks.registry.benchmark` takes to make it again, in another process."""
        return self.name

    # ------------------------------------------------------------------------------------- items

    def load(self, source: Path | str, split: str | None = None) -> list[Item]:
        """The items of a split of a local folder or file, in their official order. Default: the
        first of ``splits`` that is there.

        Raises :class:`DataError` on a split that is not one of ``splits``, naming the nearest, and
        on a file that is missing, corrupt or inconsistent, or whose question marks the places of
        another number of pictures than it has.
        """
        items = self.read(source, self.known_split(split), pictures=True)
        for item in items:
            placed(f"{source}, item {item.id!r}", item.question, len(item.images))
        return items

    def load_text(self, source: Path | str, split: str | None = None) -> list[Item]:
        """As :meth:`load`, without the images: enough to score stored responses."""
        return self.read(source, self.known_split(split), pictures=False)

    @abstractmethod
    def read(self, source: Path | str, split: str | None, pictures: bool) -> list[Item]:
        """What :meth:`load` gives, of a split that is known (None: the usual one). Without
        ``pictures`` they need not be there."""

    def known_split(self, split: str | None) -> str | None:
        """The split as it is. Raises :class:`DataError` where it is none of ``splits``."""
        if split is not None and split not in self.splits:
            raise DataError(unknown(f"split of {self.name}", split, self.splits))
        return split

    def held_split(self, source: Path | str, split: str | None = None) -> str | None:
        """The split that :meth:`load` would take of a source, where the source tells it.

        Raises :class:`DataError` where it does not hold the split, or not its pictures.
        """
        return self.known_split(split)

    # ---------------------------------------------------------------------------------- judgement

    def scorer(self, name: str | None = None) -> Scorer:
        """The scorer of this name (default: ``default_scorer``). KeyError with the known names."""
        name = name or self.default_scorer
        if name not in self.scorers:
            raise KeyError(unknown(f"scorer of {self.name}", name, self.scorers))
        return self.make_scorer(name)

    @abstractmethod
    def make_scorer(self, name: str) -> Scorer:
        """The scorer of a name that is one of ``scorers``."""

    @abstractmethod
    def values(self, items: Sequence[Item], verdicts: Iterable[Verdict]) -> list[Values]:
        """Every figure that is a mean over units, for ONE response per item; without those that
        missing rows would distort: see :meth:`withheld`."""

    def extra(self, items: Sequence[Item], verdicts: Iterable[Verdict]) -> dict[str, Ratio]:
        """Figures that are no mean over units (ratios such as We-Math's rote-memorisation rate);
        NaN where one is undefined for these verdicts.
        """
        return {}

    def withheld(self, items: Sequence[Item]) -> str:
        """Which figures are not given for these items, because rows are missing, and what would be
        right; empty where nothing is."""
        return ""

    # ------------------------------------------------------------------- beside what was published

    def edition(
        self, source: Path | str, items: Sequence[Item], split: str | None = None
    ) -> Edition | None:
        """What the owners published as this split; None where nothing is known of it."""
        return None

    def fitting(self, items: Sequence[Item]) -> Edition | None:
        """The smallest of ``editions`` that can hold these items; None where none is known."""
        return None

    def check(
        self, source: Path | str, items: Sequence[Item], split: str | None = None
    ) -> list[str]:
        """What all items of a source are otherwise than as their owners published them; empty:
        nothing that is known of. A legitimate other revision differs too: it is a note, no error.
        """
        return []

    def compared(self, source: Path | str, items: Sequence[Item], split: str | None = None) -> str:
        """With what :meth:`check` compares these items, in words."""
        return "nothing: what its owners published is not known"

    def altered(self, items: Sequence[Item]) -> list[str]:
        """What a part of the items is otherwise than as published, where that is known: of rows
        that another file holds, such as one of published answers."""
        return []
