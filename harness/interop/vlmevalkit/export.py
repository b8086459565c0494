"""``harness export``: saved responses as VLMEvalKit writes its prediction files.

``<model>/<model>_<dataset>.tsv``: one row an item, the columns that its scorers read (those of
ms-vlmeval 0.0.20) and ``prediction``. TSV and not the xlsx it writes by default: a sheet turns a
response that starts with ``=`` into a formula, cuts it at 32767 characters and rewrites control
characters; its loader reads TSV as well, and there only the texts of :data:`READ_AS_MISSING` come
back as something else.
"""

from __future__ import annotations

import csv
import io
import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.atomic import whole_file
from benchmarks.base import Generation, Item
from benchmarks.plugins import unknown
from harness.errors import HarnessError
from harness.rescoring.saved import Saved, load
from harness.results import reading

#: What pandas, with which VLMEvalKit reads its files, takes for an empty cell. Its We-Math scorer
#: stops at an empty prediction.
READ_AS_MISSING = frozenset({
    "", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN",
    "<NA>", "N/A", "NA", "NULL", "NaN", "None", "n/a", "nan", "null",
})  # fmt: skip
#: The benchmarks that it has data sets of.
KNOWN = ("wemath", "mathvista", "mathverse", "mathvision")
#: MathVision is two data sets there; this many items or fewer are its small one.
MATHVISION_MINI = 304


@dataclass(frozen=True)
class Exported:
    """One prediction file. ``index`` is an item's number in it. ``changed`` says by item why its
    text is not to the letter what the model said."""

    path: Path
    dataset: str
    decoding: str
    sample: int
    n: int
    total: int
    index: Mapping[str, int]
    changed: Mapping[str, str]


def export(saved: Saved, model: str, out: Path) -> list[Exported]:
    """Write the responses below ``out``, a file for the greedy answers and one for every sample:
    VLMEvalKit knows one prediction an item. Raises :class:`HarnessError`."""
    if re.fullmatch(r"[A-Za-z0-9][\w.+-]*", model) is None:
        raise HarnessError(f"--model {model!r}: must be a name for files, such as qwen2.5-vl-7b")
    dataset, columns = _dataset(saved)
    by_sample: dict[tuple[str, int], dict[str, Generation]] = defaultdict(dict)
    for answer in saved.answers:
        said = answer.generation
        by_sample[said.decoding, said.sample][said.item] = said
    written = []
    for (decoding, sample), answers in by_sample.items():
        name = model if decoding == "greedy" else f"{model}-sample{sample}"
        index: dict[str, int] = {}
        changed: dict[str, str] = {}
        rows = []
        for number, item in enumerate(saved.items):
            if item.id not in answers:
                continue
            text, why = _readable(answers[item.id].text)
            if why:
                changed[item.id] = why
            row = columns(number, item)
            index[item.id] = row["index"]
            rows.append({**row, "prediction": text})
        if len(set(index.values())) < len(index):
            raise HarnessError(f"two items of {dataset} would share an index")
        path = out / name / f"{name}_{dataset}.tsv"
        _write(path, rows)
        written.append(
            Exported(path, dataset, decoding, sample, len(rows), saved.total, index, changed)
        )
    return written


def export_all(
    given: Path, name: str | None, data: str | None, model: str | None, out: Path
) -> Iterator[Exported]:
    """Export a run (every trial, and every benchmark that VLMEvalKit has), or what
    :func:`harness.rescoring.saved.load` takes: yields :class:`Exported`. Raises
    :class:`HarnessError`."""
    if not (given / "plan.json").is_file():
        yield from export(load(given, name, data), model or _model(given), out)
        return
    if model is not None:
        raise HarnessError("--model names one model; the trials of a run have names of their own")
    done = [trial for trial in reading.load(given).trials if trial.state == "ok"]
    if not done:
        raise HarnessError(f"{given}: no trial has a result; `harness status {given}` shows why")
    for one in sorted(done, key=lambda trial: trial.id):
        trial, known = given / "trials" / one.id, list(one.scores)
        if name is not None and name not in known:
            raise HarnessError(unknown(f"benchmark of {given}", name, known))
        for each in [name] if name else [one for one in known if one in KNOWN] or known:
            yield from export(load(trial, each, data), _model(trial), out)


def _model(given: Path) -> str:
    """A name for the model: run and trial, or the name of a published file."""
    folder = given.resolve()
    if (folder / "result.json").is_file():
        return f"{folder.parents[1].name}-{folder.name}"
    return "model" if given.is_dir() or given.suffix == ".parquet" else given.stem


# ------------------------------------------------------------------------------------------ columns


def _dataset(saved: Saved) -> tuple[str, Callable[[int, Item], dict[str, Any]]]:
    """Its name for these items, and an item's row: (its number, the item) -> cells."""
    name = saved.benchmark.name
    if name == "wemath":
        return "WeMath", _wemath
    if name == "mathvista":
        return "MathVista_MINI", _mathvista
    if name == "mathvision":
        return "MathVision_MINI" if saved.total <= MATHVISION_MINI else "MathVision", _mathvision
    if name == "mathverse":
        versions = {item.meta["problem_version"] for item in saved.items}
        if "Text Only" in versions:
            raise HarnessError("VLMEvalKit has no data set of MathVerse's Text Only version")
        one = "" if len(versions) > 1 else "_" + versions.pop().replace(" ", "_")
        return f"MathVerse_MINI{one}", _mathverse
    raise HarnessError(f"VLMEvalKit's files are written for {', '.join(KNOWN)}, and not for {name}")


def _wemath(number: int, item: Item) -> dict[str, Any]:
    meta = item.meta
    return {
        "index": number,
        "ID": meta["ID"],
        "key": meta["key"],
        "question": meta["text"],
        **meta["options"],
        "answer": item.answer,
        "knowledge concept": meta["knowledge_concept"],
    }


def _mathvista(number: int, item: Item) -> dict[str, Any]:
    meta = item.meta
    choices = meta["choices"]
    letter = chr(ord("A") + choices.index(item.answer)) if item.answer in choices else ""
    facets = ("category", "context", "grade", "source", "language", "unit", "precision")
    return {
        "index": _number(item.id),
        "question": item.question,
        "answer": item.answer,
        "question_type": meta["question_type"],
        "answer_type": meta["answer_type"],
        "answer_option": letter,
        "choices": repr(choices),
        "task": meta.get("task", ""),
        "skills": repr(list(meta.get("skills") or [])),
        **{facet: meta[facet] for facet in facets if meta.get(facet) is not None},
    }


def _mathverse(number: int, item: Item) -> dict[str, Any]:
    """``metadata`` as its scorer reads it: it turns every ``'`` into ``"`` and parses JSON."""
    meta = item.meta
    parts = ("split", "source", "subject", "subfield")
    return {
        "index": _number(item.id),
        "problem_index": _number(item.cluster),
        "problem_version": meta["problem_version"],
        "question": item.question,
        "question_for_eval": meta["question_for_eval"],
        "query_cot": meta.get("query_cot", ""),
        "question_type": meta["question_type"],
        "answer": item.answer,
        "metadata": repr({part: str(meta[part]) for part in parts if meta.get(part)}),
    }


def _mathvision(number: int, item: Item) -> dict[str, Any]:
    return {
        "index": _number(item.id),
        "question": item.question or "<image1>",  # its judge's prompt breaks on an empty cell
        "choices": repr(list(item.meta["options"])),
        "answer": item.answer,
        "category": item.meta["subject"],
        "level": item.meta["level"],
    }


def _number(id: str) -> int:
    if not id.isascii() or not id.isdigit():
        raise HarnessError(f"VLMEvalKit numbers its items, and {id!r} is no number")
    return int(id)


# ---------------------------------------------------------------------------------------- the files


def _readable(text: str) -> tuple[str, str]:
    """The text that its loader reads as this one or the nearest to it, and what was changed.

    A space at the end changes no verdict: every rule there strips it.
    """
    if text in READ_AS_MISSING:
        return f"{text} ", f"{text!r} is read as an empty cell: a space added at its end"
    sound = text.encode("utf-8", "replace").decode("utf-8")
    return sound, "" if sound == text else "half characters (lone surrogates) replaced by '?'"


def _write(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Rows that lack a column have an empty cell there. The file appears when it is complete."""
    columns = dict.fromkeys(column for row in rows for column in row if column != "prediction")
    text = io.StringIO(newline="")
    writer = csv.DictWriter(
        text, [*columns, "prediction"], delimiter="\t", quoting=csv.QUOTE_ALL, lineterminator="\n"
    )
    writer.writeheader()
    writer.writerows(rows)
    content = text.getvalue().encode("utf-8")
    if path.exists() and path.read_bytes() == content:
        return
    _refuse_stale(path)
    with whole_file(path) as fresh:
        fresh.write_bytes(content)


def _refuse_stale(path: Path) -> None:
    """VLMEvalKit takes up what a judge said of a file by the file's name, also when the file has
    changed since."""
    stale = [
        each.name
        for each in sorted(path.parent.glob(f"{path.stem}_*"))
        if not re.fullmatch(r"_(Text|Vision)_[A-Z][a-z]+\.tsv", each.name[len(path.stem) :])
    ]
    if stale:
        raise HarnessError(
            f"{path.parent} holds VLMEvalKit's verdicts on earlier responses, which it would take "
            f"for verdicts on these: {', '.join(stale)}. Delete them, or export to another folder."
        )
