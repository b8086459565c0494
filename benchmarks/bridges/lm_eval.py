"""Any ``generate_until`` task of lm-eval as a benchmark: ``lm_eval:gsm8k``.

lm-eval renders the prompts (few-shot examples included) and judges the answers with the task's own
filters and metrics; the responses come from our engines and stay in our store. Differences from a
run of ``lm_eval`` itself, each on purpose:

* A response is cut at the stop sequences that the task states, when it is judged. lm-eval's own
  default for a task that states none, a blank line, cuts every chain of thought and is not applied.
* ``repeats`` and sampling settings are the experiment's; every response is judged alone.
* The prompt is one user message (the template of the arm goes around it), pictures before text.
* What is asked is identified by its contents; lm-eval's own hashes differ from run to run for
  documents with pictures.

Needs the package ``lm-eval`` (0.4.13), which is imported only when a task is used.
"""

from __future__ import annotations

import hashlib
import io
import json
import logging
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode

from benchmarks.aggregate import accuracies
from benchmarks.answers.reading import read
from benchmarks.base import Benchmark, DataError, Item, Scorer, Values, Verdict, placed
from benchmarks.bridges import LM_EVAL
from benchmarks.bridges._lm_eval_child import TaskChild
from benchmarks.plugins import unknown

FILE = "items.jsonl"
#: lm-eval's own default, so that few-shot examples are those that it draws.
FEWSHOT_SEED = 1234
#: Metrics that are a mean of right and wrong where a task does not say how to aggregate them.
_MEANS = ("exact_match", "acc")
#: The fields of a definition that verdicts depend on; the others are seen in what is asked.
_JUDGING = (
    *("filter_list", "metric_list", "process_results", "generation_kwargs"),
    *("doc_to_target", "doc_to_choice"),
)
#: Filters over several responses to one question.
_VOTES = ("majority_vote", "take_first_k")


def address(name: str, include_path: str | None = None, num_fewshot: int | None = None) -> str:
    """What :func:`benchmarks.registry.benchmark` takes to make the benchmark ``lm_eval:<task>``
    with these settings."""
    given = {"include_path": include_path, "num_fewshot": num_fewshot}
    query = urlencode({key: value for key, value in given.items() if value is not None})
    return f"{name}?{query}" if query else name


def at(where: str) -> LmEval:
    """The benchmark at an :func:`address`. Raises as :class:`LmEval`."""
    name, _, query = where.partition("?")
    given = {key: values[0] for key, values in parse_qs(query).items()}
    shots = given.get("num_fewshot")
    return LmEval(
        name.removeprefix(LM_EVAL), given.get("include_path"), None if shots is None else int(shots)
    )


class LmEval(Benchmark):
    """An lm-eval task, found in ``include_path`` (a folder of task files, as ``lm_eval
    --include_path`` takes) or among those that lm-eval ships. ``num_fewshot``: None is the task's
    own number.

    Its scorers are named as lm-eval names its figures, ``<metric>,<filter>``. Raises KeyError for
    an unknown task and :class:`DataError` for one that cannot be a benchmark here, with the reason.
    """

    def __init__(
        self, task: str, include_path: str | None = None, num_fewshot: int | None = None
    ) -> None:
        self.task = task
        self.name = f"{LM_EVAL}{task}"
        self.include_path = include_path
        self.headline = f"{self.name}/accuracy"
        self.num_fewshot = num_fewshot
        self.file, self.config = _definition(task, include_path)
        _refuse(task, self.config)
        self.judged = _judged(task, self.config)
        self.scorers = tuple(f"{metric},{pipeline}" for metric, pipeline in self.judged)
        self.default_scorer = self.scorers[0]
        shots = "" if num_fewshot is None else f", {num_fewshot}-shot"
        self.title = f"{task} (lm-eval{shots})"

    @property
    def address(self) -> str:
        return address(self.name, self.include_path, self.num_fewshot)

    # ------------------------------------------------------------------------------------- items

    def rendered(self) -> list[Item]:
        """The items as lm-eval asks them, from the task's data set. Raises :class:`DataError`
        where that cannot be loaded."""
        return list(_rendered(self.address, self._definition_id()))

    def content_id(self) -> str:
        """Over what is asked and what it is judged against: prompts, documents, pictures."""
        total = hashlib.sha256(self.name.encode())
        for item in self.rendered():
            pictures = [hashlib.sha256(p).hexdigest() for p in item.images if isinstance(p, bytes)]
            total.update(json.dumps([_row(item), pictures], sort_keys=True).encode())
        return f"sha256:{total.hexdigest()}"

    def write(self, folder: Path) -> None:
        """Write the items into ``folder``, for :meth:`load`: the data set is not needed again."""
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / FILE).open("w", encoding="utf-8") as file:
            for item in self.rendered():
                names = []
                for picture in item.images:
                    assert isinstance(picture, bytes)
                    names.append(f"{hashlib.sha256(picture).hexdigest()}.png")
                    (folder / names[-1]).write_bytes(picture)
                file.write(json.dumps(_row(item) | {"images": names}) + "\n")

    def read(self, source: Path | str, split: str | None, pictures: bool) -> list[Item]:
        folder = Path(source)
        file = folder / FILE
        try:
            lines = file.read_text(encoding="utf-8").splitlines()
            return [_item(json.loads(line), folder) for line in lines]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DataError(f"{file}: not the items of an lm-eval task ({error!r})") from None

    # ----------------------------------------------------------------------------------- figures

    def make_scorer(self, name: str) -> Scorer:
        metric, pipeline = self.judged[self.scorers.index(name)]
        own = self.config.get("metadata") or {}
        release = own.get("version", "unversioned") if isinstance(own, Mapping) else "unversioned"
        id = f"{self.name}@{release}/{name}+{self._definition_id(*_JUDGING)[:12]}"
        return TaskScorer(id, self.file, self.task, metric, pipeline, _until(self.config))

    def values(self, items: Sequence[Item], verdicts: Iterable[Verdict]) -> list[Values]:
        return accuracies(self.name, items, verdicts, lambda item: ())

    def _definition_id(self, *fields: str) -> str:
        """Over these fields of the task's definition (default: all), the code that they name, and
        lm-eval's version. Where the files lie is no part of it."""
        total = hashlib.sha256(version("lm-eval").encode())
        for field in sorted(fields or self.config):
            total.update(f"{field}={_settled(self.config.get(field), total)}".encode())
        return total.hexdigest()


def _settled(value: Any, total: Any) -> str:
    """A setting as text; the code that a function of it lies beside goes into ``total``."""
    if isinstance(value, Mapping):
        return str({key: _settled(value[key], total) for key in value})
    if isinstance(value, list):
        return str([_settled(each, total) for each in value])
    module, _, function = str(value).rpartition(".")
    if isinstance(value, str) and module.startswith("/") and Path(f"{module}.py").is_file():
        for file in sorted(Path(module).parent.glob("*.py")):
            total.update(file.read_bytes())
        return f"{Path(module).name}.{function}"
    return repr(value)


class TaskScorer(Scorer):
    """One metric of a task on one of its filters, by lm-eval itself in a process that can be
    killed: filters are regular expressions of many hands, and responses are hostile."""

    def __init__(
        self, id: str, file: Path, task: str, metric: str, pipeline: str, until: Sequence[str]
    ) -> None:
        self.id = id
        self.child = TaskChild(file.parent, task, id.rpartition("+")[2])
        self.metric = metric
        self.pipeline = pipeline
        self.until = until

    def score(self, item: Item, response: str) -> Verdict:
        """Raises :class:`DataError` where the metric says neither right nor wrong."""
        rule = f"{self.metric},{self.pipeline}"
        meta = item.meta
        text = cut(response, self.until)
        said = self.child.judge(meta["doc"], meta["targets"], text, self.metric, self.pipeline)
        if "error" in said:
            return Verdict(item.id, False, None, "undecided", f"{rule}: {said['error']}")
        if said["value"] not in (0, 1):
            raise DataError(
                f"the metric {self.metric!r} says {said['value']} of item {item.id!r}: it grades "
                "by degree, and a verdict is right or wrong. Choose another scorer of the task."
            )
        extracted = said["read"]
        if extracted is None:  # the task judges whole responses; a vote still needs their answers
            extracted = read(text).answer
        elif extracted in ("", "[invalid]"):  # what lm-eval's filters say where they match nothing
            return Verdict(item.id, bool(said["value"]), None, "unparsed", rule)
        return Verdict(item.id, bool(said["value"]), extracted, "ok", rule)


def cut(text: str, until: Iterable[str]) -> str:
    """The text before the first of the stop sequences."""
    for stop in until:
        text = text.split(stop, 1)[0] if stop else text
    return text


# --------------------------------------------------------------------------------- the definition


def _lm_eval_tasks() -> Path:
    """The folder of the tasks that lm-eval ships; checks that it is installed."""
    found = find_spec("lm_eval")
    if found is None or not found.submodule_search_locations:
        raise DataError(
            "lm-eval tasks need the package lm-eval: pip install 'rl-harness[lm-eval]' (or lm-eval)"
        )
    return Path(found.submodule_search_locations[0]) / "tasks"


def _definition(task: str, include_path: str | None) -> tuple[Path, dict[str, Any]]:
    """The file of a task and its settings, includes resolved and functions named."""
    shipped = _lm_eval_tasks()
    file = None
    if include_path is not None:
        folder = Path(include_path).expanduser()
        if not folder.is_dir():
            raise DataError(f"{include_path!r}: no such folder of lm-eval tasks")
        file = _files(folder).get(task)
    file = file or _shipped(shipped).get(task)
    if file is None:
        names = [*(_files(folder) if include_path is not None else ()), *_shipped(shipped)]
        where = f" of lm-eval or in {include_path}" if include_path is not None else " of lm-eval"
        raise KeyError(unknown(f"task{where}", task, names))
    from lm_eval.tasks import TaskManager

    logging.getLogger("lm_eval").setLevel(logging.ERROR)  # it warns of every default of a task
    entry = TaskManager(include_path=str(file.parent), include_defaults=False).task_index[task]
    return file, dict(entry.cfg or {})


_NAMED = re.compile(rb"^(?:task|group):[ \t]*[\"']?([^\s\"'#\[]+)", re.MULTILINE)


def _files(folder: Path) -> dict[str, Path]:
    """Task or group name to its file. Reading names alone is 20 times as fast as lm-eval's index,
    which parses every file of its 14 thousand tasks."""
    found: dict[str, Path] = {}
    for file in sorted(folder.rglob("*.yaml")):
        for name in _NAMED.findall(file.read_bytes()):
            found.setdefault(name.decode(errors="replace"), file.resolve())
    return found


@lru_cache(maxsize=1)
def _shipped(folder: Path) -> dict[str, Path]:
    return _files(folder)


def _refuse(task: str, config: Mapping[str, Any]) -> None:
    """Raise :class:`DataError` where the task cannot be a benchmark here."""
    members = config.get("task")
    if "group" in config or isinstance(members, list):
        names = [m if isinstance(m, str) else str(m.get("task", m)) for m in members or ()]
        raise DataError(
            f"{task!r} is a group of lm-eval tasks; name one of them: {', '.join(names)}"
        )
    if "class" in config:
        raise DataError(
            f"the lm-eval task {task!r} is a Python class of its own; only tasks that are written "
            "as a YAML file can be rendered and judged here"
        )
    kind = config.get("output_type", "generate_until")
    if kind != "generate_until":
        raise DataError(
            f"the lm-eval task {task!r} is of output type {kind!r}: it compares likelihoods of "
            "given continuations, and engines here generate. Choose a generate_until variant of it"
        )
    if config.get("unsafe_code"):
        raise DataError(
            f"the lm-eval task {task!r} executes what the model wrote; that is never done here"
        )
    if config.get("doc_to_audio"):
        raise DataError(f"the lm-eval task {task!r} asks about sound; engines here read pictures")


def _judged(task: str, config: Mapping[str, Any]) -> list[tuple[str, str]]:
    """(metric, filter) of every figure that is a mean of right and wrong on single responses."""
    pipelines = config.get("filter_list") or [{"name": "none", "filter": []}]
    single = [
        pipeline["name"]
        for pipeline in pipelines
        if not any(step["function"] in _VOTES for step in pipeline["filter"])
    ]
    metrics = [
        metric["metric"]
        for metric in config.get("metric_list") or ()
        if isinstance(metric.get("metric"), str)
        and "/" not in metric["metric"]  # a function's place
        and (
            metric.get("aggregation") == "mean"
            or (metric.get("aggregation") is None and metric["metric"] in _MEANS)
        )
    ]
    found = [(metric, name) for name in single for metric in metrics]
    if not found:
        raise DataError(
            f"the lm-eval task {task!r} has no figure that is a mean of right and wrong over "
            "single responses; its own figures need lm_eval itself"
        )
    return found


def _until(config: Mapping[str, Any]) -> tuple[str, ...]:
    """The stop sequences that the task itself states."""
    stated = (config.get("generation_kwargs") or {}).get("until") or ()
    return (stated,) if isinstance(stated, str) else tuple(stated)


# -------------------------------------------------------------------------------------- rendering


@lru_cache(maxsize=4)
def _rendered(where: str, definition: str) -> tuple[Item, ...]:
    """``definition`` is there so that an edited task is rendered again."""
    import datasets
    from lm_eval.tasks import TaskManager

    one = at(where)
    datasets.disable_progress_bars()
    manager = TaskManager(include_path=str(one.file.parent), include_defaults=False)
    try:
        task = manager.load([one.task])["tasks"][one.task]
    except ModuleNotFoundError as error:
        raise DataError(f"the lm-eval task {one.task!r} needs more packages: {error}") from None
    except Exception as error:  # a data set is loaded by other people's code, in many ways
        source = one.config.get("dataset_path", "of its own")
        raise DataError(
            f"the data set {source!r} of the lm-eval task {one.task!r} cannot be loaded: "
            f"{type(error).__name__}: {error}. Without network it must be in the cache of the "
            "package datasets, or the task must name local files (dataset_path: json, "
            "dataset_kwargs: {data_files: ...})"
        ) from None
    if one.num_fewshot is not None:
        task.set_config("num_fewshot", one.num_fewshot)
    task.set_fewshot_seed(FEWSHOT_SEED)
    return tuple(_items(task))


def _items(task: Any) -> Iterator[Item]:
    for number, doc in task.doc_iterator():
        text = task.fewshot_context(
            doc, num_fewshot=task.config.num_fewshot or 0, gen_prefix=task.doc_to_prefix(doc)
        )
        if not isinstance(text, str):
            raise DataError(f"document {number} of the task has several prompts")
        pictures = task.doc_to_image(doc) or []
        pictures = pictures if isinstance(pictures, list) else [pictures]
        if pictures:
            text = placed(f"document {number} of the task", text, len(pictures)).strip()
        kept = {key: value for key, value in doc.items() if not _is_picture(value)}
        target = task.doc_to_target(doc)
        yield Item(
            id=str(number),
            question=text,
            answer=str(target[0] if isinstance(target, list) and target else target),
            images=tuple(map(_png, pictures)),
            meta={
                "doc": json.loads(json.dumps(kept, default=str)),
                "targets": task.multiple_target,
            },
        )


def _is_picture(value: Any) -> bool:
    return hasattr(value, "tobytes") and hasattr(value, "save")


def _png(picture: Any) -> bytes:
    from benchmarks.data.pictures import as_seen, is_turned

    file = io.BytesIO()
    if picture.mode not in ("1", "L", "LA", "P", "RGB", "RGBA") or is_turned(picture):
        picture = as_seen(picture)
    picture.save(file, "PNG")
    return file.getvalue()


def _row(item: Item) -> dict[str, Any]:
    said = {"id": item.id, "question": item.question, "answer": item.answer}
    return said | {"doc": item.meta["doc"], "targets": item.meta["targets"]}


def _item(row: Mapping[str, Any], folder: Path) -> Item:
    return Item(
        id=row["id"],
        question=row["question"],
        answer=row["answer"],
        images=tuple(folder / name for name in row["images"]),
        meta={"doc": row["doc"], "targets": row["targets"]},
    )
