"""A run's mirror in MLflow: one experiment a study, one parent run, one nested run a trial.

Local files are the truth and :func:`sync` rebuilds the mirror from them. A tracking server that is
misconfigured stops a run at its start; one that dies later costs a warning, never a trial.
``mlflow.json`` in the run folder remembers what was mirrored, so that a run in which nothing is new
does not even import mlflow.
"""

from __future__ import annotations

import json
import logging
import os
import re
import time
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

from harness.results import reading
from harness.results.reading import TrialResult
from harness.results.trackers.base import TrackingError
from harness.results.trackers.mlflow_client import (
    URI_VARIABLE,
    Client,
    compare_path,
    without_secret,
)
from harness.results.trackers.mlflow_memory import Memory, TrialRun, digest

_log = logging.getLogger(__name__)
_STATUS = {"ok": "FINISHED", "failed": "FAILED", "missing": "RUNNING"}


class MlflowTracker:
    """Mirrors a run to MLflow. ``uri`` defaults to ``MLFLOW_TRACKING_URI``, and where that is not
    set to the SQLite file ``<root>/mlflow.db``."""

    def __init__(self, run_folder: Path, root: Path, uri: str | None = None) -> None:
        self.folder, self.root = Path(run_folder).resolve(), Path(root).resolve()
        given = uri or os.environ.get(URI_VARIABLE)
        self.uri = given or f"sqlite:///{self.root / 'mlflow.db'}"
        self._client: Client | None = None
        self._lost = self._worked = False

    def start(self) -> None:
        """Connect if there is anything to mirror. Raises :class:`TrackingError` if that fails."""
        if not self._memory.parent or any(self._is_new(t) for t in self._trials()):
            self._connect()

    def update(self, trial_id: str) -> None:
        """Mirror what is new of one trial; cheap where nothing is. Never raises."""
        if not self._lost:
            self._guarded(lambda: self._mirror(self._trial(trial_id)))

    def finish(self) -> None:
        """Mirror what is left and the report, and close the parent run. Never raises."""
        self._guarded(self._finish)

    def sync(self) -> None:
        """Mirror everything, loudly; runs that are there already are completed, not doubled."""
        self._connect()
        self._finish()

    # What is new

    @cached_property
    def _memory(self) -> Memory:
        """What is mirrored of this experiment, read when the run has written its ``spec.json``."""
        return Memory.read(self.folder, without_secret(self.uri))

    def _plan(self) -> dict[str, Any]:
        return reading.read_object(self.folder / "plan.json")

    def _trials(self) -> list[TrialResult]:
        return [
            reading.load_trial(self.folder, self.root, planned)
            for planned in self._plan().get("trials", ())
        ]

    def _trial(self, trial_id: str) -> TrialResult:
        planned = next(t for t in self._plan()["trials"] if t["id"] == trial_id)
        return reading.load_trial(self.folder, self.root, planned)

    def _is_new(self, trial: TrialResult) -> bool:
        seen = self._memory.trials.get(trial.id)
        return seen is None or seen.stamp != self._stamp(trial)

    def _stamp(self, trial: TrialResult) -> str:
        place = self.folder / "trials" / trial.id
        files = [place / "status.json", place / "result.json", *trial.training]
        return digest([_identity(trial), [_size(path) for path in files]])

    # Connecting

    def _connect(self) -> Client:
        if self._client is not None:
            return self._client
        try:
            client = Client(self.uri)
            plan, memory = self._plan(), self._memory
            memory.experiment = client.experiment(plan["name"], self.root / "mlartifacts")
            if not client.alive(memory.parent):
                memory.parent, memory.report = self._parent(client, plan), None
                memory.trials = self._adopted(client)
            memory.write(self.folder)
        except Exception as error:
            raise TrackingError(
                f"MLflow cannot be used at {without_secret(self.uri)}: {_first_line(error)}\n"
                "Check the address (a server's http://host:port, or sqlite:////absolute/path.db), "
                "or run without tracking."
            ) from error
        self._client = client
        return client

    def _search(self, client: Client, condition: str) -> list[Any]:
        return list(client.api.search_runs([self._memory.experiment], condition))

    def _parent(self, client: Client, plan: dict[str, Any]) -> str:
        """The parent run of this folder and experiment: found again by its tags, or a new one.

        A changed experiment gets its own; the old one keeps its params and its trials.
        """
        own = {"harness.folder": str(self.folder), "harness.experiment.spec": self._memory.spec}
        condition = " and ".join(f"tags.`{k}` = '{v}'" for k, v in own.items())
        if runs := self._search(client, condition):
            return str(runs[0].info.run_id)
        commit, dirty = _git(reading.read_object(self.folder / "environment.json"))
        spec = reading.read_object(self.folder / "spec.json")
        name = plan["name"] + (f" · {commit[:7]}" if commit else "")
        tags = {"harness.role": "study"} | own | _source(commit, dirty)
        run = client.api.create_run(
            self._memory.experiment, start_time=_now(), run_name=name, tags=tags
        )
        names = [b["name"] for b in plan.get("benchmarks", ())]
        keys = ("model", "questions", "seeds", "backend", "training", "evaluation", "synthesis")
        params = {k: spec[k] for k in keys if spec.get(k) not in (None, {}, [])}
        params |= {"baseline": plan.get("baseline"), "benchmarks": ", ".join(names)}
        client.log(run.info.run_id, params=params)
        return str(run.info.run_id)

    def _adopted(self, client: Client) -> dict[str, TrialRun]:
        """Trials' runs that are there although ``mlflow.json`` is not. They are mirrored again."""
        trials = {}
        for run in self._search(client, f"tags.`mlflow.parentRunId` = '{self._memory.parent}'"):
            tags = run.data.tags
            trials[tags["harness.run.trial"]] = TrialRun(
                run.info.run_id, tags.get("harness.identity"), model=tags.get("harness.model_id")
            )
        return trials

    # Mirroring

    def _guarded(self, work: Callable[[], None]) -> None:
        try:
            work()
        except Exception as error:
            if not self._lost:
                _log.warning(
                    "MLflow at %s is lost (%s); the run goes on, `harness sync` mirrors the rest",
                    without_secret(self.uri),
                    _first_line(error),
                )
            self._lost = True

    def _mirror(self, trial: TrialResult) -> None:
        if not self._is_new(trial):
            return
        stamp = self._stamp(trial)
        if trial.state == "missing" and not trial.status:
            return
        client = self._connect()
        self._worked = True
        seen = self._run_of(client, trial)
        self._curves(client, trial, seen)
        if trial.state == "ok" and seen.result != digest(trial.metrics):
            self._scores(client, trial, seen)
            seen.result = digest(trial.metrics)
        if seen.state != trial.state:
            self._status(client, trial, seen.run)
            seen.state = trial.state
        seen.stamp = stamp
        self._memory.write(self.folder)

    def _run_of(self, client: Client, trial: TrialResult) -> TrialRun:
        """The trial's run, made where there is none; other settings or steps make another run."""
        runs, identity = self._memory.trials, _identity(trial)
        seen = runs.get(trial.id)
        if seen and seen.identity == identity:
            return seen
        if seen:
            client.api.delete_run(seen.run)
        commit, dirty = _git(reading.read_object(self.folder / "environment.json"))
        tags = {
            "mlflow.parentRunId": self._memory.parent,
            "harness.role": "trial",
            "harness.run.trial": trial.id,
            "harness.arm": trial.arm,
            "harness.seed": str(trial.seed),
            "harness.identity": identity,
        } | _source(commit, dirty)
        if trial.differences:
            tags["mlflow.note.content"] = "\n".join(f"- {line}" for line in trial.differences)
        run = client.api.create_run(
            self._memory.experiment,
            # A trial made from the store alone has no start: it took no time.
            start_time=_milliseconds(trial.status.get("started") or trial.status.get("ended"))
            or _now(),
            run_name=trial.name,
            tags=tags,
        )
        params = {"arm": trial.arm, "seed": trial.seed, "method": trial.method}
        client.log(run.info.run_id, params={**params, **trial.point, **trial.settings})
        runs[trial.id] = TrialRun(run.info.run_id, identity)
        self._memory.write(self.folder)
        return runs[trial.id]

    def _curves(self, client: Client, trial: TrialResult, seen: TrialRun) -> None:
        """Training metrics under ``train/``; the steps of several stages go on counting."""
        start = _milliseconds(trial.status.get("started")) or 0
        rows, last = [], seen.step
        elapsed = 0.0
        for row in trial.curve():
            elapsed += row.get("seconds") or sum(
                v for k, v in row.items() if k.startswith("seconds_")
            )
            if row["step"] > last:
                rows.append((row, start + round(1000 * elapsed)))
        metrics = [
            (f"train/{name}", value, at, row["step"])
            for row, at in rows
            for name, value in row.items()
            if name != "step"
        ]
        client.log(seen.run, metrics=metrics)
        seen.step = max([last, *(row["step"] for row, _ in rows)])

    def _scores(self, client: Client, trial: TrialResult, seen: TrialRun) -> None:
        from mlflow.entities import Dataset, DatasetInput, InputTag

        at = _milliseconds(trial.status.get("ended")) or _now()
        client.log(seen.run, metrics=[(k, v, at, 0) for k, v in trial.metrics.items()])
        inputs = []
        for name, score in trial.scores.items():
            data = str(score.info.get("data", name))
            tags = {"mlflow.data.context": "eval", "scorer": str(score.info.get("scorer", ""))}
            inputs.append(
                DatasetInput(
                    Dataset(
                        name=name,
                        digest=digest(data)[:8],
                        source_type="local",
                        source=json.dumps({"uri": data}),
                        profile=json.dumps({"num_rows": score.info.get("n")}),
                    ),
                    [InputTag(k, v) for k, v in tags.items()],
                )
            )
        if inputs:
            client.api.log_inputs(seen.run, datasets=inputs)
        if trial.checkpoint and not seen.model:
            seen.model = self._model(client, trial, seen.run)

    def _model(self, client: Client, trial: TrialResult, run_id: str) -> str:
        """The checkpoint as an external model: a link into the store, not a copy of gigabytes."""
        import mlflow
        from mlflow.entities import LoggedModelOutput

        model = mlflow.create_external_model(
            name=re.sub(r"[/:.%\"']", "_", trial.id),
            source_run_id=run_id,
            experiment_id=self._memory.experiment,
            tags={"harness.checkpoint": str(trial.checkpoint), "harness.run.trial": trial.id},
            model_type=trial.method,
        )
        client.api.log_outputs(run_id, [LoggedModelOutput(model.model_id, step=0)])
        client.api.set_tag(run_id, "harness.model_id", model.model_id)
        return str(model.model_id)

    def _status(self, client: Client, trial: TrialResult, run_id: str) -> None:
        client.log(run_id, tags={"harness.run.status": trial.state, "harness.reason": trial.reason})
        if trial.state == "missing":
            client.api.update_run(run_id, status="RUNNING")
        else:
            end = _milliseconds(trial.status.get("ended")) or _now()
            client.api.set_terminated(run_id, _STATUS[trial.state], end)

    def _finish(self) -> None:
        for trial in self._trials():
            self._mirror(trial)
        if self._worked or not (self.folder / "report" / "report.json").is_file():
            from harness.results import report as reports

            reports.write(self.folder)
        report = reading.read_object(self.folder / "report" / "report.json")
        stamp = digest({k: v for k, v in report.items() if k != "written"})
        memory = self._memory
        if not memory.parent or stamp == memory.report:
            return
        client = self._connect()
        parent = memory.parent
        if report:
            client.api.log_artifacts(parent, str(self.folder / "report"), "report")
            client.api.set_tag(parent, "mlflow.note.content", _note(self.folder, memory))
        states = [t.state for t in self._trials()]
        counts = {f"harness.trials.{s}": states.count(s) for s in ("ok", "failed", "missing")}
        client.log(parent, tags=counts)
        done = "FAILED" if "failed" in states else "KILLED" if "missing" in states else "FINISHED"
        client.api.set_terminated(parent, done)
        memory.report = stamp
        memory.write(self.folder)


def _note(folder: Path, memory: Memory) -> str:
    """The results table as the description of the parent run (a tag holds 8000 characters)."""
    page = (folder / "report" / "report.md").read_text()
    link = compare_path(memory.finished(), str(memory.experiment))
    table = page.partition("## Results")[2].partition("\n## ")[0].partition("\n### ")[0].strip()
    head = f"[Compare the finished trials]({link}) · full report: `report/report.md` (Artifacts)"
    note = f"{head}\n\n{table}"
    return note if len(note) < 8000 else head


def _source(commit: str, dirty: bool) -> dict[str, str]:
    tags = {"mlflow.source.name": "harness", "mlflow.source.type": "LOCAL"}
    if commit:
        tags |= {"mlflow.source.git.commit": commit, "harness.git": commit}
        tags["harness.dirty"] = str(dirty).lower()
    return tags


def _git(environment: dict[str, Any]) -> tuple[str, bool]:
    git = environment.get("git") or {}
    return git.get("commit", ""), git.get("dirty", False)


def _milliseconds(seconds: float | None) -> int | None:
    return None if seconds is None else round(1000 * seconds)


def _now() -> int:
    return round(1000 * time.time())


def _size(path: Path) -> list[int]:
    try:
        stat = path.stat()
    except OSError:
        return []
    return [stat.st_mtime_ns, stat.st_size]


def _identity(trial: TrialResult) -> str:
    """What a run in MLflow is of: nothing else may be logged to it."""
    return digest([trial.settings, trial.keys])


def _first_line(error: Exception) -> str:
    line = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return without_secret(line)[:300]
