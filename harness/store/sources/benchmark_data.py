"""What may stand where a benchmark's data is named: a folder of its owners' files, one file that
holds its pictures (.tsv, .parquet), ``tiny/<name>``, or ``hub:owner/name@<commit>``.

Unset it is the tiny world's mini version for the tiny model. Of ``lm_eval:<task>`` it is what the
task asks, and what stands there is the folder of its definition.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from benchmarks.base import Benchmark, DataError
from benchmarks.bridges import LM_EVAL
from benchmarks.data.hub import HubData
from benchmarks.plugins import unknown
from benchmarks.registry import benchmark
from harness.errors import HarnessError
from harness.store.keys import digest
from harness.store.results import DATA, Store
from harness.store.sources.base import TINY, Source, require_commit, tiny_name
from harness.store.sources.hashes import Hashes


class BenchmarkData(Source):
    """The items of a benchmark. ``split`` is the part of them, where it is not the usual one."""

    split: str | None = None

    @abstractmethod
    def path(self, store: Store) -> Path:
        """The folder or file to load; what is generated is written into the store once."""

    def address(self, name: str) -> str:
        """What :func:`benchmarks.registry.benchmark` takes to make the benchmark ``name`` with this
        data."""
        return name


class BenchmarkFiles(BenchmarkData):
    """A folder with the owners' files, or one file."""

    kind: Literal["benchmark files"] = "benchmark files"

    @property
    def place(self) -> Path:
        return Path(self.source)

    def content_id(self, hashes: Hashes) -> str:
        return _part(hashes.content(self.place), self.split)

    def path(self, store: Store) -> Path:
        return self.place


class HubBenchmark(BenchmarkData):
    """A data set of the hub, at a commit."""

    kind: Literal["hub benchmark"] = "hub benchmark"

    def path(self, store: Store) -> Path:
        hub = HubData.of(self.source)
        assert hub is not None
        return hub.download()


class TinyBenchmark(BenchmarkData):
    """A mini benchmark that the embedded world generates."""

    kind: Literal["tiny benchmark"] = "tiny benchmark"

    @property
    def name(self) -> str:
        return tiny_name(self.source) or ""

    def path(self, store: Store) -> Path:
        from benchmarks import tiny

        def write(folder: Path) -> None:
            tiny.write_benchmark(self.name, folder)

        return _kept(self, f"{TINY}-{self.name}", write, store)


class LmEvalItems(BenchmarkData):
    """What an lm-eval task asks; ``source`` is the task's address."""

    kind: Literal["lm_eval items"] = "lm_eval items"

    def address(self, name: str) -> str:
        return self.source

    def path(self, store: Store) -> Path:
        from benchmarks.bridges import lm_eval

        def write(folder: Path) -> None:
            task = lm_eval.at(self.source)
            if task.content_id() != self.id:
                raise self.changed("lm-eval task")
            task.write(folder)

        return _kept(self, self.source.partition("?")[0].replace(":", "-"), write, store)


Data = BenchmarkFiles | HubBenchmark | TinyBenchmark | LmEvalItems


def _kept(data: BenchmarkData, label: str, write: Callable[[Path], None], store: Store) -> Path:
    """The folder in the store that ``write`` fills once."""
    key = digest({"kind": DATA, "id": data.id})
    with store.claim(key) as work:
        result = store.find(DATA, key)
        if result is None:
            write(work / "out")
            result = store.commit(DATA, label, key, {"id": data.id})
    return result.path


def is_lm_eval(name: str) -> bool:
    """Whether a benchmark is a task of lm-eval: ``lm_eval:<task>``."""
    return name.startswith(LM_EVAL)


def address(name: str, data: str | None, num_fewshot: int | None = None) -> str:
    """What :func:`benchmarks.registry.benchmark` has to be told of the benchmark ``name`` whose
    ``data`` is this; paths become absolute, as a trial runs in another folder."""
    if not is_lm_eval(name):
        return name
    from benchmarks.bridges import lm_eval

    folder = None if data is None else str(Path(data).expanduser().resolve())
    return lm_eval.address(name, folder, num_fewshot)


def benchmark_of(name: str, data: BenchmarkData) -> Benchmark:
    """The benchmark of this name; an lm-eval task as it is defined where its data says."""
    return benchmark(data.address(name))


def is_named(source: str) -> bool:
    """Whether a text names data, the embedded world's or the hub's, rather than its place."""
    return tiny_name(source) is not None or HubData.of(source) is not None


def reopen(id: str, source: str, split: str | None = None) -> Data:
    """The data of this id, which was found there before. Nothing is read."""
    kinds: list[tuple[bool, type[Data]]] = [
        (is_lm_eval(source), LmEvalItems),
        (tiny_name(source) is not None, TinyBenchmark),
        (HubData.of(source) is not None, HubBenchmark),
    ]
    kind = next((kind for fits, kind in kinds if fits), BenchmarkFiles)
    return kind(id=id, source=source, split=split)


def locate(
    name: str,
    data: str | None,
    model: str,
    hashes: Hashes,
    num_fewshot: int | None = None,
    split: str | None = None,
) -> Data:
    """The data of a benchmark of an experiment on ``model``. A split other than the benchmark's
    usual one is part of the id. Raises :class:`HarnessError`."""
    if is_lm_eval(name):
        return _lm_eval(name, data, num_fewshot, split)
    made = benchmark(name)
    check_split(made, split)
    if data is None:
        if model != TINY:
            raise HarnessError(
                f"say where the data of {name} is: data: <folder of its owners' files>"
            )
        data = f"{TINY}/{name}"
    path = Path(data).expanduser()
    if tiny_name(data) is not None and not path.exists():
        return _tiny(made, data, split)
    if (hub := HubData.of(data)) is not None:
        require_commit(data, hub.revision)
        if hub.split:
            raise HarnessError(
                f"data {data!r}: leave out [{hub.split}]; a split other than the usual one "
                "stands beside it, as `split: testmini`"
            )
        part = _unusual(made, split)
        return HubBenchmark(id=_part(data, part), source=data, split=part)
    if not path.exists():
        raise HarnessError(
            f"data {data!r}: no such folder; expected a folder with the owners' files of {name}, "
            f"or one of {', '.join(_minis())}"
        )
    part = _unusual(made, _split_of_files(made, data, path, split))
    content = hashes.content(path)
    return BenchmarkFiles(id=_part(content, part), source=str(path.resolve()), split=part)


def check_split(made: Benchmark, split: str | None) -> None:
    """Raises :class:`HarnessError` for a split that the benchmark does not know."""
    if split is None or split in made.splits:
        return
    if not made.splits:
        raise HarnessError(f"{made.name} has no splits; leave out `split: {split}`")
    raise HarnessError(unknown(f"split of {made.name}", split, made.splits))


def _unusual(made: Benchmark, split: str | None) -> str | None:
    return None if split == next(iter(made.splits), None) else split


def _part(content: str, split: str | None) -> str:
    return content if split is None else f"{content}[{split}]"


def _minis() -> list[str]:
    from benchmarks import tiny

    return [f"{TINY}/{each}" for each in tiny.BENCHMARKS]


def _tiny(made: Benchmark, data: str, split: str | None) -> TinyBenchmark:
    from benchmarks import tiny

    if data not in (known := _minis()):
        raise HarnessError(unknown("mini benchmark", data, known))
    if _unusual(made, split) is not None:
        raise HarnessError(
            f"data {data!r} has no split {split!r}: a mini benchmark is as the split "
            f"{made.splits[0]!r} only"
        )
    return TinyBenchmark(id=f"{data}@{tiny.VERSION}", source=data)


def _split_of_files(made: Benchmark, data: str, path: Path, split: str | None) -> str | None:
    """The split that is there to be read, of the owners' files as their names tell it."""
    try:
        return made.held_split(path, split)
    except DataError as error:
        raise HarnessError(f"data {data!r}: {error}") from None


def _lm_eval(
    name: str, include_path: str | None, num_fewshot: int | None, split: str | None
) -> LmEvalItems:
    from benchmarks.bridges import lm_eval

    if split is not None:
        raise HarnessError(
            f"{name} asks the split that its definition names; leave out `split: {split}`"
        )
    try:
        task = lm_eval.at(address(name, include_path, num_fewshot))
        return LmEvalItems(id=task.content_id(), source=task.address)
    except (KeyError, DataError) as error:
        raise HarnessError(str(error.args[0])) from None
