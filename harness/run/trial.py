"""One trial as a process: ``python -m harness.run.trial <folder>/spec.json``.

Reads the frozen spec, runs the steps that the store lacks, and answers through ``status.json`` and
``result.json`` in the same folder. Any scheduler can run it; exit code 0 means that ``result.json``
is there.
"""

from __future__ import annotations

import errno
import os
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from backends.base.backend import TrainingError
from backends.base.config import Config
from backends.base.resources import Resources
from backends.training.workers import die_with
from benchmarks.base import DataError
from harness import environment
from harness.errors import HarnessError
from harness.plan.planner import BenchmarkPlan, Plan, Step, Trial
from harness.plan.services import Services
from harness.plan.specs import KINDS
from harness.results.reading import is_of
from harness.run.status import Status
from harness.steps.asking import EngineHolder
from harness.store.files import read_json, write_json
from harness.store.results import Result, Store
from harness.store.sources.located import Located

#: Set by a runner to its process id: the trial then ends when that process does.
PARENT = "HARNESS_RUNNER_PID"


class TrialSpec(Config):
    """``spec.json`` of a trial: all that its process needs to know."""

    trial: Trial
    resources: Resources
    benchmarks: tuple[BenchmarkPlan, ...]
    services: Services
    sources: dict[str, Located]
    reward_files: dict[str, str]


def freeze(plan: Plan, trial: Trial) -> TrialSpec:
    return TrialSpec(
        trial=trial,
        resources=plan.resources,
        benchmarks=plan.benchmarks,
        services=plan.services,
        sources=plan.sources,
        reward_files=plan.reward_files,
    )


def root_of(folder: Path) -> Path:
    """The root of a trial's folder ``<root>/<run>/trials/<id>``."""
    return folder.resolve().parents[2]


def main(arguments: list[str]) -> int:
    if len(arguments) != 1:
        print("usage: python -m harness.run.trial <folder>/spec.json", file=sys.stderr)
        return 2
    if parent := int(os.environ.pop(PARENT, "0")):
        die_with(parent)  # the runner, even if that is killed
    spec_file = Path(arguments[0]).resolve()
    spec = TrialSpec.model_validate(read_json(spec_file))
    folder = spec_file.parent
    status = Status(folder)
    try:
        run(spec, folder, status)
    except BaseException as error:
        traceback.print_exc()
        status.end("failed", reason(error, status.state["step"]))
        return 1
    status.end("ok")
    return 0


def run(spec: TrialSpec, folder: Path, status: Status) -> None:
    """Run the steps that are not in the store, then write ``result.json``."""
    store = Store(root_of(folder))
    (folder / "result.json").unlink(missing_ok=True)
    began = time.time()
    steps = []
    maker = _Maker(spec, store, status)
    for step in spec.trial.steps:
        started = time.time()
        found = store.find(step.kind, step.key)
        if found is None:
            print(f"{time.strftime('%H:%M:%S')} {step.name}", flush=True)
        cached = found is not None
        if found is None:
            found, cached = maker.make(step)
        maker.done[step.key] = found
        if step.kind == "score":  # its figures are what the trial tells
            maker.whole(step.key)
        steps.append(_entry(step, maker.done[step.key], store, cached, time.time() - started))
    finish(spec, folder, store, steps, time.time() - began)


def stored(spec: TrialSpec, folder: Path) -> bool:
    """Write ``result.json`` from the store alone; False where a step is missing there."""
    store = Store(root_of(folder))
    steps = []
    for step in spec.trial.steps:
        found = store.find(step.kind, step.key)
        if found is None or (step.kind == "score" and store.verify(found)):
            return False
        steps.append(_entry(step, found, store, True, 0.0))
    finish(spec, folder, store, steps, 0.0)
    return True


def _entry(step: Step, found: Result, store: Store, cached: bool, seconds: float) -> dict[str, Any]:
    left_out = found.manifest.get("left_out")
    return ({} if left_out is None else {"left_out": left_out}) | {
        "kind": step.kind,
        "name": step.name,
        "benchmark": step.benchmark,
        "of": step.of,
        "key": step.key,
        "path": found.path.relative_to(store.root).as_posix(),
        "cached": cached,
        "seconds": round(seconds, 3),
    }


@dataclass(frozen=True)
class _Maker:
    """What makes the steps of a trial: ``done`` has the results so far, by key."""

    spec: TrialSpec
    store: Store
    status: Status
    done: dict[str, Result] = field(default_factory=dict)
    verified: set[str] = field(default_factory=set)
    engines: EngineHolder = field(default_factory=EngineHolder)

    def whole(self, key: str) -> Result:
        """The result with this key, its bytes compared with its manifest's sums once: they are read
        before anything is made of them. A damaged one is put aside and made again."""
        found = self.done[key]
        if key in self.verified:
            return found
        step = next(step for step in self.spec.trial.steps if step.key == key)
        if self.store.verify(found):
            damaged = self.store.put_aside(step.kind, key)
            print(
                f"{found.path} is damaged ({', '.join(damaged)}): put aside in "
                f"{self.store.root / 'work'}, and made again",
                flush=True,
            )
            self.done[key], _ = self.make(step)
        self.verified.add(key)
        return self.done[key]

    def make(self, step: Step) -> tuple[Result, bool]:
        """The step's result, and whether another process made it while this one waited."""
        status = self.status
        status.step(step.name)
        with self.store.claim(
            step.key, lambda: status.step(step.name, "waits: another process is making it")
        ) as work:
            found = self.store.find(step.kind, step.key)
            if found is not None:
                return found, True
            status.step(step.name)
            started = time.time()
            out = work / "out"
            out.mkdir(parents=True, exist_ok=True)
            more = self._execute(step, work)
            record = more | {
                "kind_version": step.version,
                "spec": step.spec,
                "parents": step.parents,
                "started": started,
                "seconds": round(time.time() - started, 3),
                "environment": environment.short(),
            }
            return self.store.commit(step.kind, step.label, step.key, record), False

    def _execute(self, step: Step, work: Path) -> dict[str, Any]:
        """Do the work of a step; what it adds to its result's manifest."""
        from harness.steps import curate, generate, respond, score, synthesize, train
        from harness.steps.context import Context

        context = Context(
            store=self.store,
            scratch=work,
            parents={role: self.whole(key).path for role, key in step.parents.items()},
            located=self.spec.sources,
            reward_files=self.spec.reward_files,
            resources=self.spec.resources,
            services=self.spec.services,
            engines=self.engines,
            progress=self.status.progress,
            watch=self.status.watch,
        )
        functions: dict[str, Callable[[Any, Context], None]] = {
            "synthesize": synthesize.run,
            "respond": respond.run,
            "curate": curate.run,
            "train": train.run,
            "generate": generate.run,
            "score": score.run,
        }
        functions[step.kind](KINDS[step.kind].model_validate(step.spec), context)
        return context.record


def finish(
    spec: TrialSpec, folder: Path, store: Store, steps: list[dict[str, Any]], seconds: float
) -> None:
    """Write ``result.json`` from the steps' results."""
    trial = spec.trial
    metrics: dict[str, float] = {}
    scores: dict[str, Any] = {}
    by_key = {entry["key"]: entry for entry in steps}
    template = {s.key: s.spec for s in trial.steps if s.kind == "generate"}
    for one in spec.benchmarks:
        step = next(s for s in trial.steps if s.kind == "score" and s.benchmark == one.name)
        path = by_key[step.key]["path"]
        summary = read_json(store.root / path / "summary.json")
        asked = template[step.parents["generations"]]
        metrics |= summary["metrics"]
        scores[one.name] = {
            "scorer": one.scorer_id,
            "prompt": f"{_named(asked['template'])}@{asked['prompt']}",
            "data": one.data.id,
            "n": summary["n"],
            "of": summary["of"],
            "differences": summary["differences"],
            "limit": one.limit,
            "counts": summary["counts"],
            "decoding": {name: asked[name] for name in ("greedy", "sampled", "max_tokens")},
            "headline": one.headline,
            "path": path,
        }
    write_json(
        folder / "result.json",
        {
            "trial": trial.id,
            "arm": trial.arm,
            "point": trial.point,
            "seed": trial.seed,
            "status": "ok",
            "seconds": round(seconds, 3),
            "steps": steps,
            "metrics": metrics,
            "scores": scores,
            "training": [
                f"{entry['path']}/metrics.jsonl"
                for entry in steps
                if entry["kind"] == "train" and entry["of"] is None
            ],
        },
    )


def finished(spec: TrialSpec, folder: Path) -> bool:
    """Whether ``result.json`` is of exactly these steps, all of them still in the store, and the
    scores that it and the report tell as they were written."""
    result = read_json(folder / "result.json")
    if not is_of(result, [s.key for s in spec.trial.steps]) or result.get("status") != "ok":
        return False
    store = Store(root_of(folder))
    found = [store.find(s.kind, s.key) for s in spec.trial.steps]
    return all(
        one is not None and not (one.manifest["kind"] == "score" and store.verify(one))
        for one in found
    )


_DISK_FULL = (
    "No space left on device",
    "Disk quota exceeded",
    "PytorchStreamWriter failed writing",
)


def reason(error: BaseException, step: str | None) -> str:
    """Why a trial failed, in a line that its reader understands."""
    at = f"{step}: " if step else ""
    cause: BaseException | None = error
    while cause is not None:
        full = isinstance(cause, OSError) and cause.errno in (errno.ENOSPC, errno.EDQUOT)
        # Weight writers wrap the system's error in one of their own and keep its text, or torch's
        # does not even that: its writer fails where a file takes no more.
        said = str(cause)
        if full or any(sign in said for sign in _DISK_FULL):
            return f"{at}the disk is full; make room and run again, it goes on from here"
        cause = cause.__cause__ or cause.__context__
    if isinstance(error, (KeyboardInterrupt, SystemExit)):
        return f"{at}interrupted"
    said = str(error).strip() or type(error).__name__
    if isinstance(error, (HarnessError, TrainingError, DataError)):
        return at + said
    if isinstance(error, MemoryError):
        return f"{at}out of memory"
    return f"{at}{type(error).__name__}: {said.splitlines()[-1]}"


def _named(template: object) -> str:
    """What a table calls a template: one that the experiment file writes has no name."""
    return template if isinstance(template, str) else "own"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
