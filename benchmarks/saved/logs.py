"""Sample logs of lm-eval and lmms-eval: what ``--log_samples`` leaves of every document.

Both write JSON lines, a row for each document and filter. What they hold, by the source of lm-eval
0.4.13 and of lmms-eval up to 75571cf:

- lm-eval (``samples_<task>_<date>.jsonl``): ``doc_id``, ``doc`` (the row of its data set),
  ``target``, ``arguments`` (the prompt among them), ``resps`` (samples by request),
  ``filtered_resps``, ``filter`` and the metrics;
- lmms-eval (``<date>_samples_<task>.jsonl``): ``doc_id``, ``target``, ``input`` (the prompt),
  ``filtered_resps``, and ``resps`` where these differ. Up to release 0.3 there is ``doc``; since
  0.4 there is not, and the ids are in what the task made of a response (``submission`` and such),
  if anywhere.

What is judged is ``resps``: filters cut responses, and ours read the whole text.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from benchmarks.base import Benchmark, DataError, Item
from benchmarks.bridges import LM_EVAL
from benchmarks.data.formats import identity, wemath_id
from benchmarks.data.questions import Row
from benchmarks.official.benchmark import OfficialBenchmark
from benchmarks.saved.answer import Published, Reply, answers, of_each

TITLE = "sample log of lm-eval or lmms-eval"
NEEDS = ("doc_id", "target", "filtered_resps")

#: The columns by which a row is known as the owners', with its gold.
_OWNERS = {
    "mathvista": ("pid", "question", "image", "choices", "answer", "answer_type", "metadata"),
    "wemath": ("ID", "key", "question", "option", "answer"),
    "mathverse": ("sample_index", "problem_index", "problem_version", "question", "answer"),
    "mathvision": ("id", "question", "options", "answer", "level", "subject"),
}
_OWNERS["mathverse_text_only"] = _OWNERS["mathverse"]
#: Which columns name an item, in the order of preference; of every other benchmark ``id``.
_IDS: dict[str, tuple[tuple[str, ...], ...]] = {
    "mathvista": (("pid",), ("question_id",)),
    "wemath": (("ID", "key"),),
    "mathverse": (("sample_index",),),
    "mathverse_text_only": (("sample_index",),),
}
#: What the tasks call their verdict on one response.
_RIGHT = ("true_false", "accuracy", "acc", "exact_match", "acc_score")
#: Where an item keeps its question without what is asked around it.
_QUESTIONS = ("question", "question_for_eval", "text")
#: Where a question ends and its options begin, and a picture's place in it.
_OPTIONS = re.compile(r"\n(?:Choices:|\(?A[).:])")
_MARK = re.compile(r"<image\d*>")


def is_log(rows: Sequence[Row]) -> bool:
    """Whether the rows of a file are a sample log."""
    return bool(rows) and set(NEEDS) <= rows[0][1].keys()


def benchmark_of(rows: Sequence[Row]) -> str | None:
    """The benchmark of a log whose first document is a row of its owners', or of a task of ours."""
    for holder in _holders(rows[0][1]):
        for name, columns in _OWNERS.items():
            if holder.get("benchmark") == name or holder.keys() >= set(columns):
                return name
    return None


def read(
    path: Path, rows: Sequence[Row], one: Benchmark, items: Sequence[Item] | None
) -> Published:
    """The responses of a log. ``items`` are those of the benchmark's data; None: as the documents
    of the log tell them, where they are the owners' rows.

    Raises :class:`DataError` naming file and row: a response that is no text, a document that none
    of the items is, or more than one.
    """
    documents, filters = _documents(rows)
    held = None
    if items is None:
        items = held = _held(path, documents, one)
    title = "lmms-eval log" if "input" in rows[0][1] else "lm-eval log"
    if items is None:
        return Published(title, (), None)
    known = _Items(one, items)
    replies: list[Reply] = []
    strange: list[str] = []
    seen: dict[str, str] = {}
    for where, row in documents:
        item = known.of(where, row)
        if item in seen:
            raise DataError(f"{where}: answers item {item!r}, which {seen[item]} answers too.")
        seen[item] = where
        texts = _texts(where, row)
        judged = _judged(row, len(texts)) if filters == 1 else (None,) * len(texts)
        replies.append(Reply(where, item, texts, _extractions(where, row, len(texts)), judged))
        if not known.has_gold(item, str(row["target"])):
            strange.append(item)
    notes = []
    if strange:
        shown = ", ".join(strange[:5]) + (", ..." if len(strange) > 5 else "")
        notes.append(
            f"{len(strange)} rows of {path.name} state another gold than the data: {shown}"
        )
    return Published(title, answers(replies), held, tuple(notes))


def _documents(rows: Sequence[Row]) -> tuple[list[Row], int]:
    """The first row of each document, and how many there are of one: its other filters read the
    same responses."""
    found: dict[Any, Row] = {}
    counts: dict[Any, int] = {}
    for where, row in rows:
        if lacks := [name for name in NEEDS if name not in row]:
            raise DataError(f"{where}: no field {lacks[0]!r}, which a {TITLE} has.")
        key = json.dumps(row["doc_id"])
        first, before = found.setdefault(key, (where, row))
        counts[key] = counts.get(key, 0) + 1
        if _texts(where, row) != _texts(first, before):
            raise DataError(
                f"{where}: document {key} is answered otherwise in {first}; a log holds one run."
            )
    return list(found.values()), max(counts.values())


def _holders(row: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """What can name the item of a row: the document, then what the task made of the response."""
    places = [row.get("doc"), *(value for name, value in row.items() if name != "arguments")]
    return (place for place in places if isinstance(place, Mapping))


def _held(path: Path, documents: Sequence[Row], one: Benchmark) -> tuple[Item, ...] | None:
    """The items as the owners' rows in a log tell them; None where they are not all there."""
    columns = set(_OWNERS.get(one.name, ()))
    if not columns or not isinstance(one, OfficialBenchmark):
        return None
    owners: list[Row] = []
    for where, row in documents:
        holder = next((each for each in _holders(row) if each.keys() >= columns), None)
        if holder is None:
            return None
        # Pictures are no part of a log, and some of these columns hold nothing else.
        more: dict[str, Any] = {"image": "", "knowledge concept": "", "metadata": {}}
        more["precision"] = None
        owners.append((where, more | dict(holder)))
    return tuple(one.items(str(path), owners))


def _texts(where: str, row: Mapping[str, Any]) -> tuple[str, ...]:
    """The samples of a row: of its requests, one as a rule, all responses."""
    said = row.get("resps", row["filtered_resps"])
    requests = said if isinstance(said, list) else [said]
    found: list[Any] = []
    for request in requests:
        found += request if isinstance(request, list) else [request]
    if not found or not all(isinstance(text, str) for text in found):
        raise DataError(
            f"{where}: its responses are no texts; only logs of tasks that generate can be judged, "
            "not those that compare likelihoods."
        )
    return tuple(found)


def _extractions(where: str, row: Mapping[str, Any], n: int) -> tuple[Any, ...]:
    found = next((each["extraction"] for each in _holders(row) if "extraction" in each), None)
    return of_each(where, "extraction", found if n == 1 else None, n)


def _judged(row: Mapping[str, Any], n: int) -> tuple[bool | None, ...]:
    """The task's own verdict, where it is one of right and wrong on one response."""
    for holder in (row, *_holders(row)) if n == 1 else ():
        for name in _RIGHT:
            if name in holder and holder[name] in (0, 1):
                return (bool(holder[name]),)
    return (None,) * n


class _Items:
    """The items of a benchmark, found by what a log says of a document."""

    def __init__(self, one: Benchmark, items: Sequence[Item]) -> None:
        self.one = one
        self.items = items
        self.by_id = {item.id: item for item in items}
        self.by_question: dict[str, list[str]] = {}
        for item in items:
            texts = {_bare(item.question), _stem(item)}
            texts |= {_bare(str(item.meta.get(field, ""))) for field in _QUESTIONS}
            for text in texts - {""}:
                self.by_question.setdefault(text, []).append(item.id)

    def of(self, where: str, row: Mapping[str, Any]) -> str:
        """The id of the item that a row answers: by its id, else by its question. Raises
        :class:`DataError` where neither tells it."""
        if self.one.name.startswith(LM_EVAL):
            return str(row["doc_id"])  # its own number of a document is the item's id
        named = [name for name in map(self._named, _holders(row)) if name is not None]
        for name in named:
            if name in self.by_id:
                return name
        found = self._asked(row)
        if len(found) == 1:
            return found[0]
        if named:
            return named[0]
        fields = " or ".join(", ".join(columns) for columns in self._columns())
        raise DataError(
            f"{where}: which item of {self.one.title} it answers is not told: there is no {fields} "
            f"in it, and its question is that of {len(found) or 'no'} items."
        )

    def has_gold(self, item: str, target: str) -> bool:
        """Whether a target is the gold of an item; of one that is unknown nothing is said."""
        return item not in self.by_id or target.strip() == self.by_id[item].answer.strip()

    def _columns(self) -> tuple[tuple[str, ...], ...]:
        return _IDS.get(self.one.name, (("id",),))

    def _named(self, holder: Mapping[str, Any]) -> str | None:
        if holder.get("benchmark") == self.one.name and "id" in holder:  # a task of ours
            return str(holder["id"])
        for columns in self._columns():
            if holder.keys() >= set(columns):
                return wemath_id(holder) if "key" in columns else identity(holder[columns[0]])
        return None

    def _asked(self, row: Mapping[str, Any]) -> list[str]:
        """The items whose question a row asks. Of several the one at the document's number."""
        doc = row.get("doc")
        if isinstance(doc, Mapping):
            texts = [doc[name] for name in ("question", "problem") if name in doc]
            found = [id for text in texts for id in self.by_question.get(_bare(str(text)), ())]
        else:
            found = self._within(_bare(str(row.get("input", ""))), str(row["target"]))
        number = row["doc_id"]
        if isinstance(number, int) and 0 <= number < len(self.items):
            first = self.items[number].id
            if first in found or (not found and (first, "") in self._stems(str(row["target"]))):
                return [first]
        return list(dict.fromkeys(found))

    def _within(self, prompt: str, target: str) -> list[str]:
        """The items whose question stands in a prompt and whose gold is the target; of those only
        the longest questions, as a short one can be a part of another."""
        found = [(stem, id) for id, stem in self._stems(target) if stem and stem in prompt]
        longest = max((len(stem) for stem, _ in found), default=0)
        return [id for stem, id in found if len(stem) == longest]

    def _stems(self, gold: str) -> Sequence[tuple[str, str]]:
        """(id, question without options and unit, bare) of the items with this gold; the question
        is empty where it is in the picture."""
        return self._by_gold.get(gold.strip(), ())

    @cached_property
    def _by_gold(self) -> Mapping[str, Sequence[tuple[str, str]]]:
        found: dict[str, list[tuple[str, str]]] = {}
        for item in self.items:
            found.setdefault(item.answer.strip(), []).append((item.id, _stem(item)))
        return found


def _bare(text: str) -> str:
    """A text without white space and the places of pictures."""
    return "".join(_MARK.sub("", text).split())


def _stem(item: Item) -> str:
    """The question of an item without its options and its unit, bare."""
    asked = _OPTIONS.split(item.question, maxsplit=1)[0]
    return _bare(asked.removesuffix(f" (Unit: {item.meta.get('unit')})"))
