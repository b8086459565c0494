"""Walks a plan: trials as processes, shared steps first, every change on disk.

Kill it at any instant and run it again: what is in the store is not made again, and a training goes
on from its last checkpoint. One runner works on a run folder at a time; several may share a store.
"""

from __future__ import annotations

import json
import logging
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from filelock import FileLock, Timeout

from harness import environment
from harness.errors import HarnessError
from harness.experiment.spec import Experiment
from harness.plan.planner import Plan, Trial
from harness.results.trackers.base import Tracker
from harness.run import job, status, trial
from harness.run.executors.base import Executor
from harness.run.job import Job
from harness.run.sweep import SweepStudy
from harness.store.files import read_json, update_json, write_json
from harness.store.results import Store

_log = logging.getLogger(__name__)

_POLL_SECONDS = 0.25


class Observer(Protocol):
    """What shows a run to people: lines, or a live table."""

    def begin(self, runner: Runner) -> None: ...

    def changed(self, trial: Trial, state: dict[str, Any]) -> None:
        """A trial began a step, or ended."""

    def tick(self) -> None:
        """Called a few times a second."""

    def end(self) -> None: ...


@dataclass(frozen=True)
class Outcome:
    """How a run ended: trial ids by how they ended, and whether anything was done at all."""

    ok: tuple[str, ...]
    failed: dict[str, str]
    worked: bool


class Runner:
    """Runs one plan in ``<root>/<name>``. ``start`` makes the executor, when there is work."""

    def __init__(
        self,
        plan: Plan,
        root: Path,
        observer: Observer,
        start: Callable[[], Executor],
        tracker: Tracker | None = None,
    ) -> None:
        self.plan = plan
        self.store = Store(root)
        self.folder = self.store.root / plan.name
        self.states: dict[str, dict[str, Any]] = {}
        self.workers = 0
        self._observer = observer
        self._start_executor = start
        self._tracker = tracker
        self._running: dict[str, Job] = {}
        self._trials = {t.id: t for t in plan.trials}
        self._waiting: list[Trial] = []
        self._shown: dict[str, tuple[Any, ...]] = {}
        self._broken: dict[str, str] = {}
        self._warned: set[str] = set()

    def run(self, experiment: Experiment, text: str) -> Outcome:
        """Run what is not done yet. Raises :class:`HarnessError` where another runner is at work
        here, and KeyboardInterrupt, after ending its trials, when told to stop.
        """
        with self._only_one():
            self._write_head(experiment, text)
            sweep = SweepStudy(self.plan, self.folder) if self.plan.sweep else None
            self._waiting = [t for t in self.plan.trials if not self._is_done(t)]
            worked = bool(self._waiting)
            if self._tracker:
                self._tracker.start()
            if sweep:
                sweep.begin()
                self._guarded(sweep.update)
            if worked:
                self._work(sweep)
            if self._tracker:
                self._guarded(self._tracker.finish)
        failed = {
            t.id: str(self.states[t.id].get("reason") or "no reason was recorded")
            for t in self.plan.trials
            if self.states[t.id]["state"] != "ok"
        }
        ok = tuple(t.id for t in self.plan.trials if t.id not in failed)
        return Outcome(ok, failed, worked)

    def trial_folder(self, one: Trial) -> Path:
        return self.folder / "trials" / one.id

    def work_folder(self, one: Trial) -> Path | None:
        """Where the step that a running trial is at is worked on."""
        name = self.states[one.id].get("step")
        key = next((s.key for s in one.steps if s.name == name), None)
        return self.store.work(key) if key else None

    @contextmanager
    def _only_one(self) -> Iterator[None]:
        self.folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self.folder / ".runner.lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise HarnessError(
                f"another `harness run` is at work in {self.folder}; "
                f"`harness status {self.folder}` shows it"
            ) from None
        try:
            yield
        finally:
            lock.release()

    def _write_head(self, experiment: Experiment, text: str) -> None:
        (self.folder / "experiment.yaml").write_text(text, encoding="utf-8")
        update_json(self.folder / "spec.json", experiment.model_dump(mode="json"))
        update_json(self.folder / "plan.json", self.plan.summary())

    def _is_done(self, one: Trial) -> bool:
        """Whether a trial's result stands, made from the store if it holds every step."""
        folder = self.trial_folder(one)
        spec = trial.freeze(self.plan, one)
        update_json(folder / "spec.json", spec.model_dump(mode="json"))
        now = read_json(folder / status.FILE)
        if trial.finished(spec, folder) and isinstance(now, dict) and now.get("state") == "ok":
            self.states[one.id] = now
            return True
        if trial.stored(spec, folder):
            self._set(one, "ok", "", note="from the store")
            return True
        (folder / "result.json").unlink(missing_ok=True)
        self._set(one, "pending", "")
        return False

    def _set(self, one: Trial, state: str, reason: str, note: str = "") -> None:
        """Write the status of a trial that no executor has."""
        now = time.time()
        value = {
            "state": state,
            "reason": reason,
            "step": self.states.get(one.id, {}).get("step") if state == "failed" else None,
            "progress": None,
            "started": self.states.get(one.id, {}).get("started"),
            "updated": now,
            "ended": None if state == "pending" else now,
            "pid": None,
            "note": note,
        }
        self.states[one.id] = value
        with suppress(OSError):  # a full disk must not take the runner down with the trial
            (self.trial_folder(one) / job.FILE).unlink(missing_ok=True)
            write_json(self.trial_folder(one) / status.FILE, value)

    def _work(self, sweep: SweepStudy | None) -> None:
        write_json(self.folder / "environment.json", environment.describe())
        executor = self._start_executor()
        self.workers = executor.workers
        self._event("run", workers=executor.workers, trials=len(self._waiting))
        self._guarded(self._observer.begin, self)
        try:
            while self._waiting or self._running:
                self._start(executor)
                time.sleep(_POLL_SECONDS)
                for name in list(self._running):
                    self._look(self._trials[name], executor, sweep)
                self._guarded(self._observer.tick)
        finally:
            stopped = list(self._running)
            executor.cancel(list(self._running.values()))
            for name in stopped:
                self._set(self._trials[name], "pending", "interrupted; `harness run` goes on")
            self._event("end", interrupted=stopped)
            self._guarded(self._observer.end)

    def _start(self, executor: Executor) -> None:
        """Start trials while there is room, none that would only wait for what another makes."""
        if not executor.has_room:
            return
        for one in self._order():
            try:
                self._take_up(one, executor)
            except OSError as error:  # a full disk, most often: it fails this trial, not the run
                self._waiting.remove(one)
                self._set(one, "failed", trial.reason(error, None))
                self._ended(one)
            if not executor.has_room:
                return

    def _take_up(self, one: Trial, executor: Executor) -> None:
        """Start a waiting trial, or end it where it needs no process, or leave it waiting."""
        broken = next((s.key for s in one.steps if s.key in self._broken), None)
        if broken:
            self._waiting.remove(one)
            self._set(one, "failed", f"needs a step that failed: {self._broken[broken]}")
            self._ended(one)
        elif trial.stored(trial.freeze(self.plan, one), self.trial_folder(one)):
            self._waiting.remove(one)
            self._set(one, "ok", "", note="from the store")
            self._ended(one)
        elif self._missing(one).isdisjoint(self._in_progress()):
            folder = self.trial_folder(one)
            (folder / status.FILE).unlink(missing_ok=True)  # from here on it is the trial's own
            self._running[one.id] = given = executor.submit(folder)
            self._waiting.remove(one)
            with suppress(OSError):  # it runs, with or without what tells other nodes of it
                job.record(folder, given)
            self.states[one.id] = {"state": "queued", "step": None, "started": time.time()}
            self._event("start", trial=one.id)

    def _order(self) -> list[Trial]:
        """Waiting trials, those first whose missing steps most others wait for; then as planned."""
        wanted = Counter(key for one in self._waiting for key in self._missing(one))
        place = {t.id: i for i, t in enumerate(self.plan.trials)}

        def shared(one: Trial) -> int:
            return sum(wanted[key] - 1 for key in self._missing(one))

        return sorted(self._waiting, key=lambda one: (-shared(one), place[one.id]))

    def _missing(self, one: Trial) -> set[str]:
        return {s.key for s in one.steps if self.store.find(s.kind, s.key) is None}

    def _in_progress(self) -> set[str]:
        return {key for name in self._running for key in self._missing(self._trials[name])}

    def _look(self, one: Trial, executor: Executor, sweep: SweepStudy | None) -> None:
        """Take note of what a running trial has done since."""
        code = executor.poll(self._running[one.id])
        seen = read_json(self.trial_folder(one) / status.FILE)
        if isinstance(seen, dict):
            self.states[one.id] = seen
        if code is None:
            self._notice(one)
            return
        del self._running[one.id]
        result = read_json(self.trial_folder(one) / "result.json")
        if code == 0 and isinstance(result, dict):
            self.states[one.id]["state"] = "ok"
        else:
            state = self.states[one.id]
            if state["state"] != "failed":
                reason = _killed(code) if code < 0 else _last_line(self.trial_folder(one))
                at = f"{state['step']}: " if state.get("step") else ""
                self._set(one, "failed", at + reason)
            self._blame(one)
        self._ended(one)
        if sweep:
            self._guarded(sweep.update)

    def _blame(self, one: Trial) -> None:
        """Remember the step that failed: others that need it are not run to fail the same way."""
        name = self.states[one.id].get("step")
        for step in one.steps:
            if step.name == name:
                self._broken[step.key] = f"{one.id}: {self.states[one.id]['reason']}"

    def _notice(self, one: Trial) -> None:
        state = self.states[one.id]
        now = (state.get("step"), state.get("reason"))
        if state.get("step") and self._shown.get(one.id) != now:
            self._shown[one.id] = now
            self._event("step", trial=one.id, step=state["step"], note=state.get("reason", ""))
            self._guarded(self._observer.changed, one, state)

    def _ended(self, one: Trial) -> None:
        state = self.states[one.id]
        self._event(state["state"], trial=one.id, reason=state.get("reason", ""))
        self._guarded(self._observer.changed, one, state)
        if self._tracker:
            self._guarded(self._tracker.update, one.id)

    def _guarded(self, work: Callable[..., None], *details: Any) -> None:
        """Do what only shows or counts the trials: where it fails it costs a warning, never a
        trial.
        """
        try:
            work(*details)
        except Exception as error:
            said = f"{work.__qualname__} failed ({type(error).__name__}: {error})"
            if said not in self._warned:
                self._warned.add(said)
                _log.warning("%s; the trials go on", said)

    def _event(self, event: str, **details: Any) -> None:
        line = json.dumps({"time": round(time.time(), 3), "event": event, **details})
        with suppress(OSError), (self.folder / "events.jsonl").open("a") as file:
            file.write(line + "\n")


def _killed(code: int) -> str:
    if code == -9:
        return "killed by the system (signal 9), as when memory runs out; see log.txt"
    return f"killed by signal {-code}; see log.txt"


def _last_line(folder: Path) -> str:
    """The last line of a log: what a process that could not say more has said."""
    try:
        lines = (folder / "log.txt").read_text(errors="replace").strip().splitlines()
    except OSError:
        lines = []
    return lines[-1][:500] if lines else "ended without a word"


def free_space(root: Path) -> int:
    """Bytes free where results go."""
    place = root
    while not place.exists():
        place = place.parent
    return shutil.disk_usage(place).free
