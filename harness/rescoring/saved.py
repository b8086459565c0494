"""Saved responses and the items they answer: our own generations, or a published file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from benchmarks.base import Benchmark, DataError, Generation, Item
from benchmarks.plugins import unknown
from benchmarks.registry import BENCHMARKS, benchmark
from benchmarks.saved.answer import Answer
from benchmarks.saved.published import benchmark_of, read
from harness.errors import HarnessError
from harness.results.reading import is_of
from harness.steps.context import subset
from harness.store.files import read_json, read_object
from harness.store.keys import digest
from harness.store.results import Store
from harness.store.sources import benchmark_data
from harness.store.sources.base import tiny_name
from harness.store.sources.benchmark_data import Data
from harness.store.sources.hashes import Hashes

GENERATIONS = "generations.parquet"
_FIELDS = tuple(field.name for field in fields(Generation))
_COLUMNS = ("item", "decoding", "sample", "text")


@dataclass(frozen=True)
class Saved:
    """``answers`` to ``items`` of one benchmark; ``format`` says what the file is, ``total`` how
    many items its data holds, and ``notes`` what the file can have lost."""

    benchmark: Benchmark
    format: str
    items: tuple[Item, ...]
    answers: tuple[Answer, ...]
    total: int
    notes: tuple[str, ...] = ()


def load(
    file: Path,
    name: str | None,
    data: str | None,
    split: str | None = None,
    root: Path = Path("runs"),
) -> Saved:
    """The saved responses of a file or of a trial's or step's folder.

    ``name`` is the benchmark, needed where the file does not tell; ``data`` where its owners' files
    are, as in an experiment file, needed where the file holds no golds; ``split`` the part of a
    published file's data, where it is not the usual one; the tiny world's data is written below
    ``root``. Raises :class:`HarnessError`.
    """
    if (file / "plan.json").is_file():
        trials = [path.parent for path in sorted(file.glob("trials/*/result.json"))]
        shown = f", such as {trials[0]}" if trials else ""
        raise HarnessError(f"{file} is a run: name one of its trials{shown}")
    try:
        if file.is_dir() or file.name == GENERATIONS or file.suffix == ".parquet":
            if split is not None:
                raise HarnessError(f"--split: {file} holds responses of ours, which tell theirs")
            return _ours(file, name, data)
        return _published(file, name, data, split, root)
    except DataError as error:
        raise HarnessError(str(error)) from None


def _named(name: str, include_path: str | None = None) -> Benchmark:
    """The benchmark of this name; of an lm-eval task ``include_path`` is where it is defined."""
    try:
        return benchmark(benchmark_data.address(name, include_path))
    except KeyError as error:
        if benchmark_data.is_lm_eval(name):
            raise HarnessError(str(error.args[0])) from None
        raise HarnessError(unknown("benchmark", name, BENCHMARKS)) from None


# -------------------------------------------------------------------------------------- published


def _published(
    file: Path, name: str | None, data: str | None, split: str | None, root: Path
) -> Saved:
    name = name or benchmark_of(file)
    if name is None:
        raise HarnessError(f"{file} does not tell its benchmark; add --benchmark")
    one = _named(name, data)
    if split is not None and data is None:
        raise HarnessError("--split is a part of --data, which is not given")
    given = _given(one, data, split, root)
    published = read(file, one, given)
    items = published.items if given is None else given
    if items is None:
        raise HarnessError(
            f"{file} holds no golds; add --data with the folder or file of {one.title} as its "
            "owners publish it"
        )
    made = _joined(file, one, f"{published.format} file", items, published.answers)
    notes = [*published.notes, *made.notes]
    edition = one.fitting(items)
    if edition is None or tiny_name(data or "") is not None:
        return replace(made, notes=tuple(notes))
    where = data or file.name
    notes += [f"{where} is not as published: {line}" for line in one.altered(items)]
    return replace(made, total=max(made.total, edition.n), notes=tuple(notes))


def _given(
    one: Benchmark, data: str | None, split: str | None, root: Path
) -> Sequence[Item] | None:
    """The items of ``--data``; of an lm-eval task, whose definition that is, what it asks. None
    where neither is named."""
    if benchmark_data.is_lm_eval(one.name):
        from benchmarks.bridges.lm_eval import LmEval

        assert isinstance(one, LmEval)
        return one.rendered()
    if data is None:
        return None
    return one.load_text(_source_of(one, data, split, root), split)


def _source_of(one: Benchmark, data: str, split: str | None, root: Path) -> Path:
    """Where the rows of ``--data`` are; no picture is looked at, so a file without them will do."""
    path = Path(data).expanduser()
    if not path.exists() and benchmark_data.is_named(data):
        located = benchmark_data.locate(one.name, data, "", Hashes(root), split=split)
        return located.path(Store(root))
    if not path.exists():
        raise HarnessError(f"--data {data}: no such folder or file")
    benchmark_data.check_split(one, split)
    return path


def _joined(
    file: Path, one: Benchmark, format: str, items: Sequence[Item], answers: Sequence[Answer]
) -> Saved:
    """The items that are answered. An answer to an unknown item is an error, an item without one
    makes a subset."""
    known = {item.id for item in items}
    asked = {answer.generation.item for answer in answers}
    strange = [a.generation.item for a in answers if a.generation.item not in known]
    if strange:
        raise HarnessError(
            f"{file}: {len(strange)} answers are to items that the data of {one.title} does not "
            f"hold; the first: {unknown('item', strange[0], known)}"
        )
    answered = tuple(item for item in items if item.id in asked)
    notes = [one.withheld(answered)] if one.withheld(answered) else []
    if failed := [answer.generation.item for answer in answers if answer.failed]:
        shown = ", ".join(failed[:5]) + (", ..." if len(failed) > 5 else "")
        notes.append(
            f"{len(failed)} of {len(answers)} responses are errors of the tool that asked, counted "
            f"as empty, unparsed and wrong: {shown}"
        )
    if empty := sum(not a.failed and not a.generation.text.strip() for a in answers):
        notes.append(f"{empty} of {len(answers)} responses are empty")
    return Saved(one, format, answered, tuple(answers), len(items), tuple(notes))


# -------------------------------------------------------------------------------------------- ours


def _ours(file: Path, name: str | None, data: str | None) -> Saved:
    folder = file if file.is_dir() else file.parent
    located: Mapping[str, Any] = {}
    if (folder / "result.json").is_file() and (folder / "spec.json").is_file():
        folder, located = _trial_score(folder, name)
    folder = _generated(folder)
    path = file if file.is_file() else folder / GENERATIONS
    if not path.is_file():
        raise HarnessError(
            f"{file}: holds no saved responses; expected {GENERATIONS}, a trial's folder with "
            "result.json, a score or generate step's folder, or a published file"
        )
    manifest = read_json(folder / "manifest.json")
    spec = manifest["spec"] if isinstance(manifest, dict) and "spec" in manifest else {}
    if name and spec and spec["benchmark"] != name:
        raise HarnessError(f"{path} holds answers to {spec['benchmark']}, not to {name}")
    if not (name := name or spec.get("benchmark")):
        raise HarnessError(f"{path} does not tell its benchmark; add --benchmark")
    if benchmark_data.is_lm_eval(name):
        return _lm_eval(path, name, spec, located, data)
    one = _named(name)
    source, split = _source(one, folder, spec.get("data"), located, data)
    items = subset(one.load_text(source, split), spec.get("limit"))
    answers = [Answer(generation) for generation in _generations(path)]
    return _joined(path, one, "generations file of ours", items, answers)


def _lm_eval(
    path: Path,
    name: str,
    spec: Mapping[str, Any],
    located: Mapping[str, Any],
    include_path: str | None,
) -> Saved:
    """Answers to an lm-eval task: what it asked is in the store, how it judges is defined now."""
    if "data" not in spec:
        raise HarnessError(f"{path}: no folder of a step, so what {name} asked is not known")
    if include_path is None and spec["data"] in located:
        task = _reopened(spec["data"], located)
    else:
        address = benchmark_data.address(name, include_path)
        task = benchmark_data.reopen(spec["data"], address)
    try:
        one = benchmark_data.benchmark_of(name, task)
    except KeyError as error:
        raise HarnessError(f"{error.args[0]}; add --data <its include_path>") from None
    folder = task.path(Store(path.resolve().parents[3]))
    items = subset(one.load(folder), spec.get("limit"))
    answers = [Answer(generation) for generation in _generations(path)]
    return _joined(path, one, "generations file of ours", items, answers)


def _trial_score(folder: Path, name: str | None) -> tuple[Path, Mapping[str, Any]]:
    spec, result = read_object(folder / "spec.json"), read_object(folder / "result.json")
    if not is_of(result, [step["key"] for step in spec["trial"]["steps"]]):
        raise HarnessError(
            f"{folder}: its result is of other settings; `harness run` makes it anew"
        )
    scores = result.get("scores", {})
    if name is None and len(scores) != 1:
        raise HarnessError(f"{folder} has scores of {', '.join(scores)}; add --benchmark")
    name = name or next(iter(scores))
    if name not in scores:
        raise HarnessError(f"{folder} has no scores of {name}, only of {', '.join(scores)}")
    root = folder.resolve().parents[2]
    return root / scores[name]["path"], spec["sources"]


def _generated(folder: Path) -> Path:
    """The generate step's folder that a score step was made from, or the folder itself."""
    manifest = read_json(folder / "manifest.json")
    if not isinstance(manifest, dict) or manifest.get("kind") != "score":
        return folder
    store = Store(folder.resolve().parents[2])
    generated = store.find("generate", manifest["parents"]["generations"])
    if generated is None:
        raise HarnessError(f"{folder}: its generations are no longer in the store {store.root}")
    return generated.path


def _source(
    one: Benchmark,
    folder: Path,
    data_id: str | None,
    located: Mapping[str, Any],
    data: str | None,
) -> tuple[Path, str | None]:
    """The folder of the items' data, and the split: as given, as the trial found it, or the tiny
    world's."""
    above = folder.resolve().parents
    store = Store(above[2] if len(above) > 2 else folder)
    if data is not None:
        split = next((s for s in one.splits if data_id and data_id.endswith(f"[{s}]")), None)
        given = benchmark_data.locate(one.name, data, "", Hashes(store.root), split=split)
        if data_id and given.id != data_id:
            raise HarnessError(
                f"--data {data} is not what these responses are to: it is {given.id}, and they "
                f"were generated from {data_id}"
            )
    elif data_id and data_id in located:
        given = _reopened(data_id, located)
    elif data_id and tiny_name(data_id) is not None:
        given = benchmark_data.reopen(data_id, data_id.partition("@")[0])
    else:
        raise HarnessError(
            f"{folder} does not say where the data of {one.name} is; add --data <folder of its "
            "owners' files>"
        )
    return given.path(store), given.split


def _reopened(data_id: str, located: Mapping[str, Any]) -> Data:
    """The data that a trial's ``spec.json`` says where it found."""
    entry = located[data_id]
    return benchmark_data.reopen(data_id, entry["source"], entry.get("split"))


def _generations(path: Path) -> list[Generation]:
    import pyarrow
    import pyarrow.parquet as pq

    try:
        rows = pq.read_table(path).to_pylist()
    except (OSError, pyarrow.ArrowException) as error:
        raise HarnessError(f"{path}: not a readable parquet file ({error})") from None
    generations: dict[str, Generation] = {}
    for number, row in enumerate(rows, 1):
        lacks = [column for column in _COLUMNS if row.get(column) is None]
        if lacks:
            raise HarnessError(f"{path}, row {number}: no {' and no '.join(lacks)}")
        key = digest([row["item"], row["decoding"], row["sample"]])
        if key in generations:
            raise HarnessError(
                f"{path}, row {number}: {row['decoding']} sample {row['sample']} of item "
                f"{row['item']!r} is there twice"
            )
        generations[key] = Generation(**{name: row[name] for name in _FIELDS if name in row})
    if not generations:
        raise HarnessError(f"{path}: holds no responses")
    return list(generations.values())
