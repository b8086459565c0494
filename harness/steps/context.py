"""What a step is given besides its spec."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from backends.base.resources import Resources
from backends.base.stage import Stage
from backends.rewards import REWARDS
from benchmarks.base import Benchmark, Item
from benchmarks.data.pictures import broken, told
from benchmarks.registry import benchmark
from harness.errors import StepError
from harness.plan import published_data as data
from harness.plan.services import Services
from harness.steps.asking import EngineHolder
from harness.store.results import Store
from harness.store.sources import benchmark_data
from harness.store.sources.benchmark_data import Data
from harness.store.sources.hashes import Hashes
from harness.store.sources.located import Located
from harness.store.sources.models import Model, ServedModel
from harness.store.sources.questions import Questions


@dataclass(frozen=True)
class Context:
    """``scratch`` is kept when the step is killed; what it holds in ``out`` becomes the result.

    A model, a pool or a benchmark's data that is no longer what its id says is a
    :class:`StepError`: the result would be stored under a name that is not its own.

    ``parents`` maps a role to a finished step's folder, ``located`` a content id to its place,
    ``reward_files`` the identity of a reward in a user's own file to where it is.
    ``progress(done, total, unit)`` tells people; ``watch(file, total, unit)`` lets the number of
    lines of a growing file tell them. ``engines`` holds the engine that the steps of a trial share,
    and ``record`` what the step adds to the manifest of its result.
    """

    store: Store
    scratch: Path
    parents: Mapping[str, Path]
    located: Mapping[str, Located]
    resources: Resources
    progress: Callable[[int, int, str], None]
    watch: Callable[[Path, int, str], None]
    reward_files: Mapping[str, str] = field(default_factory=dict)
    services: Services = field(default_factory=Services)
    engines: EngineHolder = field(default_factory=EngineHolder)
    record: dict[str, Any] = field(default_factory=dict)

    @property
    def out(self) -> Path:
        """The folder that becomes the result."""
        return self.scratch / "out"

    def model(self, content_id: str | None) -> Path:
        """The model folder: the one of this id, or the parent ``model``'s checkpoint."""
        if content_id is None:
            return self.parents["model"] / "checkpoint"
        model = self.located[content_id]
        assert isinstance(model, Model)
        model.refuse_change("model", Hashes(self.store.root))
        return model.path()

    def writer(self, content_id: str | None, engine: str) -> dict[str, Any]:
        """How :meth:`EngineHolder.open` asks the model of this id: the server that has it, or its
        folder by this engine."""
        for server in self.services.writers:
            if content_id == ServedModel.named(server.identity).id:
                return {"name": "openai", "model": None, "server": server}
        return {"name": engine, "model": self.model(content_id)}

    def stage(self, planned: Stage) -> Stage:
        """The stage with the rewards of a user's own file by their place on this machine."""
        terms = []
        for term in planned.rewards:
            if (place := self.reward_files.get(term.name)) is not None:
                if not Path(place.rpartition(":")[0]).is_file():
                    raise StepError(f"reward {term.name!r} is no longer at {place}")
                if REWARDS.identity(place) != term.name:
                    raise StepError(f"{place} has changed since it was planned; run again")
                term = term.model_copy(update={"name": place})
            terms.append(term)
        return planned.model_copy(update={"rewards": tuple(terms)})

    def questions(self, content_id: str) -> list[Item]:
        """The question pool of this id, whose pictures can all be shown to a model.

        Raises :class:`StepError` naming the rows where that is not so, or, where the pool is to be
        read without them, says how many those are in the log and in the result's manifest.
        """
        pool = self.located[content_id]
        assert isinstance(pool, Questions)
        items = pool.load(Hashes(self.store.root))
        found = _broken(pool, items)
        if not found:
            return items
        said = f"questions {pool.source}: {told(found)}"
        if pool.on_broken_picture == "refuse":
            raise StepError(
                f"{said}. Mend these files, or leave such rows out with `on_broken_picture: skip` "
                "beside `questions`"
            )
        kept = [item for item in items if item.id not in found]
        if not kept:
            raise StepError(f"{said}; no question is left")
        print(f"left out of {said}", flush=True)
        self.record["left_out"] = {"questions": len(found), "first": dict(list(found.items())[:5])}
        return kept

    def benchmark(self, name: str, data_id: str) -> Benchmark:
        """The benchmark of this name, whose data has this id."""
        return benchmark_data.benchmark_of(name, self._data(data_id))

    def items(self, name: str, data_id: str, limit: int | None) -> list[Item]:
        """A benchmark's items in the owners' order; with ``limit`` a part, whole clusters."""
        located = self._data(data_id)
        items = _items(located.address(name), located.path(self.store), located.split)
        located.refuse_change(f"data of {name}", Hashes(self.store.root))
        return subset(items, limit)

    def check(self, name: str, data_id: str) -> tuple[int, list[str]]:
        """See :func:`harness.plan.published_data.compare`."""
        located = self._data(data_id)
        items, one = self.items(name, data_id, None), self.benchmark(name, data_id)
        return data.compare(one, located, items, located.path(self.store))

    def _data(self, data_id: str) -> Data:
        located = self.located[data_id]
        assert isinstance(located, Data)
        return located


#: What was found in each pool that this process has looked through, by its id.
_looked_through: dict[str, dict[str, str]] = {}


def _broken(pool: Questions, items: Sequence[Item]) -> dict[str, str]:
    """Which rows of a pool have a picture that cannot be shown, and why; several steps of a trial
    ask."""
    if pool.id not in _looked_through:
        _looked_through[pool.id] = broken(items)
    return _looked_through[pool.id]


@lru_cache(maxsize=4)
def _items(name: str, folder: Path, split: str | None) -> list[Item]:
    return benchmark(name).load(folder, split)


def subset(items: list[Item], limit: int | None) -> list[Item]:
    """At least ``limit`` items as whole clusters, so that figures over groups stay defined.

    Clusters are taken in the order of a hash of their name: the same for every arm and machine, and
    no more of one kind of question than of another, as the first rows of a file would be.
    """
    if limit is None or limit >= len(items):
        return items
    from harness.store.keys import digest

    sizes: dict[str, int] = {}
    for item in items:
        sizes[item.cluster or item.id] = sizes.get(item.cluster or item.id, 0) + 1
    chosen: set[str] = set()
    count = 0
    for cluster in sorted(sizes, key=digest):
        if count >= limit:
            break
        chosen.add(cluster)
        count += sizes[cluster]
    return [item for item in items if (item.cluster or item.id) in chosen]
