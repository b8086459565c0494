"""Models and data by what they contain: a source as written in the file, and its content id.

The id goes into a step's key; the source says where the content is found on this machine. A content
id is ``sha256:<64 hex>`` for local files, ``<repository>@<commit>`` for the hub, and
``tiny/<name>@<version>`` for the embedded world's generated data.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from backends.base.config import Config
from benchmarks.plugins import unknown
from benchmarks.registry import benchmark
from harness.errors import HarnessError, StepError
from harness.store.files import read_json, sha256, write_json
from harness.store.keys import digest
from harness.store.results import Store

if TYPE_CHECKING:
    from benchmarks.base import Benchmark, Item

TINY = "tiny"
LM_EVAL = "lm_eval:"
#: What `model` begins with where a server answers: the name it goes by there follows.
SERVED = "server:"
_HUB_MODEL = re.compile(r"^[\w.-]+/[\w.-]+@(?P<revision>\S+)$")
_HUB_DATA = re.compile(
    r"^hub:(?P<repository>[\w.-]+/[\w.-]+)@(?P<revision>[^\s\[\]]+)(?P<split>\[[\w.-]+\])?$"
)
_COMMIT = re.compile(r"^[0-9a-f]{40}$")


class Located(Config):
    """What something contains (``id``) and where it is (``source``: a path, or as written).
    ``split`` is the part of a benchmark's data, where it is not the usual one."""

    id: str
    source: str
    split: str | None = None


class Hashes:
    """sha256 of files, remembered by (path, size, time of change) so that 15 GB are read once.

    ``save`` writes the memory below an existing root; without one nothing is created.
    """

    def __init__(self, root: Path) -> None:
        self._file = root / "work" / "content-ids.json"
        known = read_json(self._file)
        self._known: dict[str, list[object]] = known if isinstance(known, dict) else {}
        self._new = False

    def file(self, path: Path) -> str:
        path = path.resolve()
        state = path.stat()
        seen = [state.st_size, state.st_mtime_ns]
        entry = self._known.get(str(path))
        if entry and entry[:2] == seen:
            return str(entry[2])
        value = sha256(path)
        self._known[str(path)] = [*seen, value]
        self._new = True
        return value

    def folder(self, folder: Path) -> str:
        """One id for all regular files of a folder by relative name; hidden ones do not count.

        Links count as what they lead to, files and folders alike: that is what a loader reads.
        """
        names = sorted(path.relative_to(folder).as_posix() for path in _files(folder))
        return "sha256:" + digest({name: self.file(folder / name) for name in names})

    def save(self) -> None:
        if self._new:
            write_json(self._file, self._known)
            self._new = False


def _files(folder: Path) -> Iterator[Path]:
    """The regular files below a folder, in no order. (``rglob`` follows no linked folder.)"""
    for where, folders, names in os.walk(folder, followlinks=True):
        here = Path(where)
        place = here.resolve()
        folders[:] = [
            name
            for name in folders
            # A link to a folder that it lies in would go round for ever.
            if name[0] != "." and not place.is_relative_to((here / name).resolve())
        ]
        yield from (here / name for name in names if name[0] != "." and (here / name).is_file())


def locate_model(source: str, hashes: Hashes) -> Located:
    """``tiny``, a folder in Hugging Face layout, ``owner/name@<commit>``, or what a server calls
    its model (``server:<name>``), which is taken at its word.

    Raises :class:`HarnessError` naming what a model folder lacks, or how to pin a revision.
    """
    if source == TINY:
        from benchmarks.tiny import checkpoint

        _complete(checkpoint())
        return Located(id=hashes.folder(checkpoint()), source=source)
    if source.startswith(SERVED):
        return Located(id=source, source=source)
    folder = Path(source).expanduser()
    if folder.is_dir():
        _complete(folder)
        return Located(id=hashes.folder(folder), source=str(folder.resolve()))
    match = _HUB_MODEL.match(source)
    if match and not folder.exists():
        _pinned(source, match["revision"])
        return Located(id=f"hub:{source}", source=source)
    expected = f"expected `{TINY}`, a folder in Hugging Face layout, or owner/name@<commit>"
    raise HarnessError(f"{source!r} is no model: {expected}")


def _complete(folder: Path) -> None:
    needs = {
        "config.json": ("config.json",),
        "weights (*.safetensors)": ("*.safetensors",),
        "processor (preprocessor_config.json or processor_config.json)": (
            "preprocessor_config.json",
            "processor_config.json",
        ),
        "tokenizer (tokenizer.json or tokenizer_config.json)": (
            "tokenizer.json",
            "tokenizer_config.json",
        ),
    }
    lacking = [
        what for what, names in needs.items() if not any(any(folder.glob(name)) for name in names)
    ]
    if lacking:
        raise HarnessError(f"the model folder {folder} has no {' and no '.join(lacking)}")


def _pinned(source: str, revision: str) -> None:
    if not _COMMIT.match(revision):
        raise HarnessError(
            f"{source!r}: pin the revision by its commit, 40 hex digits as the hub's history shows "
            f"it, because {revision!r} can move and results would no longer say what they are of"
        )


def model_path(model: Located) -> Path:
    """The folder of a located model on this machine; downloads a hub model into the hub's own
    cache.
    """
    if model.source == TINY:
        from benchmarks.tiny import checkpoint

        return checkpoint()
    if model.id.startswith("hub:"):
        from huggingface_hub import snapshot_download

        repository, _, revision = model.source.partition("@")
        return Path(snapshot_download(repository, revision=revision))
    return Path(model.source)


def locate_questions(source: str, hashes: Hashes) -> Located:
    """``tiny/<split>``, a ``.jsonl`` or ``.parquet`` file, or ``hub:owner/name@<commit>[split]``.

    A local file is read and checked here. Raises :class:`HarnessError`.
    """
    from benchmarks.base import DataError

    if source.startswith(f"{TINY}/"):
        from benchmarks import tiny

        if source not in (known := [f"{TINY}/{split}" for split in tiny.SPLITS]):
            raise HarnessError(unknown("question pool", source, known))
        return Located(id=f"{source}@{tiny.VERSION}", source=source)
    if match := _HUB_DATA.match(source):
        _pinned(source, match["revision"])
        if match["split"] is None:
            raise HarnessError(f"{source!r}: name the split too, as in {source}[train]")
        return Located(id=source, source=source)
    path = Path(source).expanduser()
    if not path.is_file() or path.suffix not in (".jsonl", ".parquet"):
        what = "no such file" if not path.exists() else "not a .jsonl or .parquet file"
        expected = f"expected {TINY}/train, such a file, or hub:owner/name@<commit>[split]"
        raise HarnessError(f"{source!r}: {what}; {expected}")
    try:
        items = load_questions(Located(id="", source=str(path)))
    except DataError as error:
        raise HarnessError(str(error)) from None
    if not items:
        raise HarnessError(f"{source!r} holds no questions")
    return Located(id=_items_id(items, hashes), source=str(path.resolve()))


def _items_id(items: Iterable[Item], hashes: Hashes) -> str:
    """Over what the items say and show, whatever file format holds them."""
    total = hashlib.sha256()
    for item in items:
        pictures = [
            hashlib.sha256(p).hexdigest() if isinstance(p, bytes) else hashes.file(p)
            for p in item.images
        ]
        said = [item.id, item.question, item.answer, item.solution, item.cluster, pictures]
        total.update(digest(said).encode())
    return f"sha256:{total.hexdigest()}"


def load_questions(questions: Located) -> list[Item]:
    """The items of a located question pool."""
    from benchmarks.data import questions as files

    if questions.source.startswith(f"{TINY}/"):
        from benchmarks import tiny

        return tiny.questions(questions.source.partition("/")[2])
    return files.load_questions(questions.source)


def locate_benchmark(
    name: str,
    data: str | None,
    model: str,
    hashes: Hashes,
    num_fewshot: int | None = None,
    split: str | None = None,
) -> Located:
    """The data of a benchmark: a folder, one file that holds its pictures (.tsv, .parquet),
    ``tiny/<name>``, or ``hub:owner/name@<commit>``.

    Unset: the tiny world's mini version for the tiny model. Of ``lm_eval:<task>`` it is what the
    task asks, ``data`` the folder of its definition. A split other than the benchmark's usual one
    is part of the id. Raises :class:`HarnessError`.
    """
    from benchmarks import tiny
    from benchmarks.base import DataError

    if name.startswith(LM_EVAL):
        if split is not None:
            raise HarnessError(unknown(f"split of {name}", split, ()))
        return _locate_lm_eval(name, data, num_fewshot)
    one = benchmark(name)
    try:
        one.known_split(split)
    except DataError as error:
        raise HarnessError(str(error)) from None
    known = [f"{TINY}/{each}" for each in tiny.BENCHMARKS]
    if data is None:
        if model != TINY:
            raise HarnessError(
                f"say where the data of {name} is: data: <folder of its owners' files>"
            )
        data = f"{TINY}/{name}"
    folder = Path(data).expanduser()
    if data.startswith(f"{TINY}/") and not folder.exists():
        if data not in known:
            raise HarnessError(unknown("mini benchmark", data, known))
        return Located(id=f"{data}@{tiny.VERSION}", source=data)
    if match := _HUB_DATA.match(data):
        _pinned(data, match["revision"])
        if match["split"] is not None:
            raise HarnessError(
                f"data {data!r}: leave out {match['split']}; a split other than the usual one "
                "stands beside it, as `split: testmini`"
            )
        return _part(one, data, data, split)
    if not folder.exists():
        raise HarnessError(
            f"data {data!r}: no such folder; expected a folder with the owners' files of {name}, "
            f"or one of {', '.join(known)}"
        )
    try:
        split = one.held_split(folder, split)
    except DataError as error:
        raise HarnessError(f"data {data!r}: {error}") from None
    return _part(one, _content(folder, hashes), str(folder.resolve()), split)


def _part(one: Benchmark, content: str, source: str, split: str | None) -> Located:
    if split is None or split == next(iter(one.splits), None):
        return Located(id=content, source=source)
    return Located(id=f"{content}[{split}]", source=source, split=split)


def _content(path: Path, hashes: Hashes) -> str:
    return hashes.folder(path) if path.is_dir() else f"sha256:{hashes.file(path)}"


def _locate_lm_eval(name: str, include_path: str | None, num_fewshot: int | None) -> Located:
    from benchmarks.base import DataError
    from benchmarks.bridges.lm_eval import at

    try:
        one = at(lm_eval_address(name, include_path, num_fewshot))
        return Located(id=one.content_id(), source=one.address)
    except (KeyError, DataError) as error:
        raise HarnessError(str(error.args[0])) from None


def lm_eval_address(name: str, include_path: str | None, num_fewshot: int | None) -> str:
    """What :func:`benchmarks.registry.benchmark` has to be told of an lm-eval task; paths become
    absolute, as a trial runs in another folder."""
    from benchmarks.bridges.lm_eval import address

    if include_path is not None:
        include_path = str(Path(include_path).expanduser().resolve())
    return address(name, include_path, num_fewshot)


def benchmark_at(name: str, data: Located) -> Benchmark:
    """The benchmark of this name; an lm-eval task as it is defined where its data says."""
    return benchmark(address(name, data))


def address(name: str, data: Located) -> str:
    """What :func:`benchmarks.registry.benchmark` is told to make a benchmark with this data."""
    return data.source if name.startswith(LM_EVAL) else name


def benchmark_folder(data: Located, store: Store) -> Path:
    """The folder of a benchmark's data; the tiny world's and what an lm-eval task asks are written
    into the store once."""
    if data.source.startswith(f"{TINY}/"):
        return _tiny_data(data, store)
    if data.source.startswith(LM_EVAL):
        return _lm_eval_data(data, store)
    if data.source.startswith("hub:"):
        from benchmarks.data.questions import hub

        return hub(data.source)[0]
    return Path(data.source)


def _tiny_data(data: Located, store: Store) -> Path:
    from benchmarks import tiny

    key = digest({"kind": "data", "id": data.id})
    with store.claim(key) as work:
        found = store.find("data", key)
        if found is None:
            name = data.source.partition("/")[2]
            tiny.write_benchmark(name, work / "out")
            found = store.commit("data", f"{TINY}-{name}", key, {"id": data.id})
    return found.path


def _lm_eval_data(data: Located, store: Store) -> Path:
    from benchmarks.bridges.lm_eval import at

    key = digest({"kind": "data", "id": data.id})
    with store.claim(key) as work:
        found = store.find("data", key)
        if found is None:
            one = at(data.source)
            if one.content_id() != data.id:
                raise _changed("lm-eval task", data)
            one.write(work / "out")
            found = store.commit("data", f"lm_eval-{one.task}", key, {"id": data.id})
    return found.path


def unchanged(located: Mapping[str, Located], hashes: Hashes) -> None:
    """Raise :class:`StepError` where a local folder or file no longer holds what was planned
    with."""
    for role, one in located.items():
        path, content = Path(one.source), one.id.partition("[")[0]
        if content.startswith("sha256:") and path.exists() and _content(path, hashes) != content:
            raise _changed(role, one)


def planned_questions(questions: Located, hashes: Hashes) -> list[Item]:
    """The items of a pool; :class:`StepError` where they are not those that were planned with."""
    items = load_questions(questions)
    if questions.id.startswith("sha256:") and _items_id(items, hashes) != questions.id:
        raise _changed("question file", questions)
    return items


def _changed(role: str, one: Located) -> StepError:
    return StepError(f"the {role} {one.source} changed since the run was planned; run again")
