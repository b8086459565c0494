"""A run's mirror in MLflow: one experiment a study, one parent run, one nested run a trial.

Local files are the truth and :func:`sync` rebuilds the mirror from them. A tracking server that is
misconfigured stops a run at its start; one that dies later costs a warning, never a trial.
``mlflow.json`` in the run folder remembers what was mirrored, so that a run in which nothing is new
does not even import mlflow.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
import os
import re
import sys
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from harness.errors import HarnessError
from harness.results import reading as results
from harness.results.reading import Trial
from harness.store.files import read_object, write_json

_log = logging.getLogger(__name__)
_STATUS = {"ok": "FINISHED", "failed": "FAILED", "missing": "RUNNING"}
_BATCH = 900  # a batch may hold 1000 metrics and 100 params


class TrackingError(HarnessError):
    """MLflow cannot be used as configured; the message says what was tried."""


class Mirror:
    """Mirrors one run folder. ``uri`` defaults to the SQLite file ``<root>/mlflow.db``."""

    def __init__(self, run_folder: Path, root: Path, uri: str | None = None) -> None:
        self.folder, self.root = Path(run_folder).resolve(), Path(root).resolve()
        self.uri = uri or f"sqlite:///{self.root / 'mlflow.db'}"
        self._memory = self.folder / "mlflow.json"
        self._client: Any = None
        self._lost = self._worked = False

    def start(self) -> None:
        """Connect if there is anything to mirror. Raises :class:`TrackingError` if that fails."""
        if not self._state["parent"] or any(self._is_new(t) for t in self._trials()):
            self._connect()

    def update(self, trial_id: str) -> None:
        """Mirror what is new of one trial; cheap where nothing is. Never raises."""
        if not self._lost:
            self._guarded(lambda: self._mirror(self._trial(trial_id)))

    def finish(self) -> None:
        """Mirror what is left and the report, and close the parent run. Never raises."""
        self._guarded(self._finish)

    def mirror_all(self) -> dict[str, Any]:
        """Mirror everything, loudly: the ids of the experiment, the parent and the trials' runs."""
        self._connect()
        self._finish()
        runs = {name: seen["run"] for name, seen in self._state["trials"].items()}
        return {"experiment": self._state["experiment"], "parent": self._state["parent"],
                "trials": runs}  # fmt: skip

    # What is new

    @cached_property
    def _state(self) -> dict[str, Any]:
        """What is mirrored of this experiment, read when the run has written its ``spec.json``."""
        one = {"uri": self.uri, "spec": _digest(read_object(self.folder / "spec.json"))}
        known = read_object(self._memory)
        if one.items() <= known.items():
            return known
        return {**one, "experiment": None, "parent": None, "report": None, "trials": {}}

    def _remember(self) -> None:
        write_json(self._memory, self._state)

    def _plan(self) -> dict[str, Any]:
        return read_object(self.folder / "plan.json")

    def _trials(self) -> list[Trial]:
        return [
            results.load_trial(self.folder, self.root, planned)
            for planned in self._plan().get("trials", ())
        ]

    def _trial(self, trial_id: str) -> Trial:
        planned = next(t for t in self._plan()["trials"] if t["id"] == trial_id)
        return results.load_trial(self.folder, self.root, planned)

    def _is_new(self, trial: Trial) -> bool:
        return self._state["trials"].get(trial.id, {}).get("stamp") != self._stamp(trial)

    def _stamp(self, trial: Trial) -> str:
        place = self.folder / "trials" / trial.id
        files = [place / "status.json", place / "result.json", *trial.training]
        return _digest([_identity(trial), [_size(path) for path in files]])

    # Connecting

    def _connect(self) -> None:
        if self._client is not None:
            return
        try:
            self._client = _client(self.uri)
            plan = self._plan()
            self._state["experiment"] = self._experiment(plan)
            if not self._alive(self._state["parent"]):
                self._state |= {"parent": self._parent(plan), "report": None, "trials": {}}
                self._adopt()
            self._remember()
        except Exception as error:
            self._client = None
            raise TrackingError(
                f"MLflow cannot be used at {self.uri}: {_first_line(error)}\n"
                "Check the address (a server's http://host:port, or sqlite:////absolute/path.db), "
                "or run without tracking."
            ) from error

    def _experiment(self, plan: dict[str, Any]) -> str:
        name = plan["name"]
        found = self._client.get_experiment_by_name(name)
        if found is not None and found.lifecycle_stage == "active":
            return str(found.experiment_id)
        if found is not None:
            self._client.restore_experiment(found.experiment_id)
            return str(found.experiment_id)
        # A server knows where its artifacts go; only our own file has to be told.
        place = None
        if self.uri.startswith("sqlite:"):
            place = (self.root / "mlartifacts" / name).as_uri()
        # The kind makes the page open as model training, not as an application of language models.
        kind = {"mlflow.experimentKind": "custom_model_development"}
        return str(self._client.create_experiment(name, artifact_location=place, tags=kind))

    def _alive(self, run_id: str | None) -> bool:
        from mlflow.exceptions import MlflowException

        if not run_id:
            return False
        try:
            return bool(self._client.get_run(run_id).info.lifecycle_stage == "active")
        except MlflowException:
            return False

    def _search(self, condition: str) -> list[Any]:
        return list(self._client.search_runs([self._state["experiment"]], condition))

    def _parent(self, plan: dict[str, Any]) -> str:
        """The parent run of this folder and experiment: found again by its tags, or a new one.

        A changed experiment gets its own; the old one keeps its params and its trials.
        """
        own = {"harness.folder": str(self.folder), "harness.experiment.spec": self._state["spec"]}
        found = self._search(" and ".join(f"tags.`{k}` = '{v}'" for k, v in own.items()))
        if found:
            return str(found[0].info.run_id)
        commit, dirty = _git(read_object(self.folder / "environment.json"))
        spec = read_object(self.folder / "spec.json")
        name = plan["name"] + (f" · {commit[:7]}" if commit else "")
        tags = {"harness.role": "study"} | own | _source(commit, dirty)
        run = self._client.create_run(
            self._state["experiment"], start_time=_now(), run_name=name, tags=tags
        )
        names = [b["name"] for b in plan.get("benchmarks", ())]
        keys = ("model", "questions", "seeds", "backend", "training", "evaluation", "synthesis")
        params = {k: spec[k] for k in keys if spec.get(k) not in (None, {}, [])}
        params |= {"baseline": plan.get("baseline"), "benchmarks": ", ".join(names)}
        self._log(run.info.run_id, params=params)
        return str(run.info.run_id)

    def _adopt(self) -> None:
        """Trials' runs that are there although ``mlflow.json`` is not. They are mirrored again."""
        for run in self._search(f"tags.`mlflow.parentRunId` = '{self._state['parent']}'"):
            tags = run.data.tags
            self._state["trials"][tags["harness.run.trial"]] = {
                "run": run.info.run_id,
                "identity": tags.get("harness.identity"),
                "model": tags.get("harness.model_id"),
                "step": 0,
            }

    # Mirroring

    def _guarded(self, work: Callable[[], None]) -> None:
        try:
            work()
        except Exception as error:
            if not self._lost:
                _log.warning(
                    "MLflow at %s is lost (%s); the run goes on, `harness sync` mirrors the rest",
                    self.uri,
                    _first_line(error),
                )
            self._lost = True

    def _mirror(self, trial: Trial) -> None:
        if not self._is_new(trial):
            return
        stamp = self._stamp(trial)
        if trial.state == "missing" and not trial.status:
            return
        self._connect()
        self._worked = True
        seen = self._run_of(trial)
        self._curves(trial, seen)
        if trial.state == "ok" and seen.get("result") != _digest(trial.metrics):
            self._scores(trial, seen)
            seen["result"] = _digest(trial.metrics)
        if seen.get("state") != trial.state:
            self._status(trial, seen["run"])
            seen["state"] = trial.state
        seen["stamp"] = stamp
        self._remember()

    def _run_of(self, trial: Trial) -> dict[str, Any]:
        """The trial's run, made where there is none; other settings or steps make another run."""
        runs, identity = self._state["trials"], _identity(trial)
        seen: dict[str, Any] = runs.get(trial.id, {})
        if seen and seen["identity"] == identity:
            return seen
        if seen:
            self._client.delete_run(seen["run"])
        commit, dirty = _git(read_object(self.folder / "environment.json"))
        tags = {
            "mlflow.parentRunId": self._state["parent"],
            "harness.role": "trial",
            "harness.run.trial": trial.id,
            "harness.arm": trial.arm,
            "harness.seed": str(trial.seed),
            "harness.identity": identity,
        } | _source(commit, dirty)
        if trial.differences:
            tags["mlflow.note.content"] = "\n".join(f"- {line}" for line in trial.differences)
        run = self._client.create_run(
            self._state["experiment"],
            # A trial made from the store alone has no start: it took no time.
            start_time=_milliseconds(trial.status.get("started") or trial.status.get("ended"))
            or _now(),
            run_name=trial.name,
            tags=tags,
        )
        params = {"arm": trial.arm, "seed": trial.seed, "method": trial.method}
        self._log(run.info.run_id, params={**params, **trial.point, **trial.settings})
        runs[trial.id] = {"run": run.info.run_id, "identity": identity, "step": 0}
        self._remember()
        return runs[trial.id]

    def _curves(self, trial: Trial, seen: dict[str, Any]) -> None:
        """Training metrics under ``train/``; the steps of several stages go on counting."""
        start = _milliseconds(trial.status.get("started")) or 0
        rows, last = [], seen["step"]
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
        self._log(seen["run"], metrics=metrics)
        seen["step"] = max([last, *(row["step"] for row, _ in rows)])

    def _scores(self, trial: Trial, seen: dict[str, Any]) -> None:
        from mlflow.entities import Dataset, DatasetInput, InputTag

        at = _milliseconds(trial.status.get("ended")) or _now()
        self._log(seen["run"], metrics=[(k, v, at, 0) for k, v in trial.metrics.items()])
        inputs = []
        for name, score in trial.scores.items():
            data = str(score.info.get("data", name))
            tags = {"mlflow.data.context": "eval", "scorer": str(score.info.get("scorer", ""))}
            inputs.append(
                DatasetInput(
                    Dataset(
                        name=name,
                        digest=_digest(data)[:8],
                        source_type="local",
                        source=json.dumps({"uri": data}),
                        profile=json.dumps({"num_rows": score.info.get("n")}),
                    ),
                    [InputTag(k, v) for k, v in tags.items()],
                )
            )
        if inputs:
            self._client.log_inputs(seen["run"], datasets=inputs)
        if trial.checkpoint and not seen.get("model"):
            seen["model"] = self._model(trial, seen["run"])

    def _model(self, trial: Trial, run_id: str) -> str:
        """The checkpoint as an external model: a link into the store, not a copy of gigabytes."""
        import mlflow
        from mlflow.entities import LoggedModelOutput

        model = mlflow.create_external_model(
            name=re.sub(r"[/:.%\"']", "_", trial.id),
            source_run_id=run_id,
            experiment_id=self._state["experiment"],
            tags={"harness.checkpoint": str(trial.checkpoint), "harness.run.trial": trial.id},
            model_type=trial.method,
        )
        self._client.log_outputs(run_id, [LoggedModelOutput(model.model_id, step=0)])
        self._client.set_tag(run_id, "harness.model_id", model.model_id)
        return str(model.model_id)

    def _status(self, trial: Trial, run_id: str) -> None:
        self._log(run_id, tags={"harness.run.status": trial.state, "harness.reason": trial.reason})
        if trial.state == "missing":
            self._client.update_run(run_id, status="RUNNING")
        else:
            end = _milliseconds(trial.status.get("ended")) or _now()
            self._client.set_terminated(run_id, _STATUS[trial.state], end)

    def _finish(self) -> None:
        for trial in self._trials():
            self._mirror(trial)
        if self._worked or not (self.folder / "report" / "report.json").is_file():
            from harness.results import report as reports

            reports.write(self.folder)
        report = read_object(self.folder / "report" / "report.json")
        stamp = _digest({k: v for k, v in report.items() if k != "written"})
        if not self._state["parent"] or stamp == self._state["report"]:
            return
        self._connect()
        parent = self._state["parent"]
        if report:
            self._client.log_artifacts(parent, str(self.folder / "report"), "report")
            self._client.set_tag(parent, "mlflow.note.content", _note(self.folder, self._state))
        states = [t.state for t in self._trials()]
        counts = {f"harness.trials.{s}": states.count(s) for s in ("ok", "failed", "missing")}
        self._log(parent, tags=counts)
        done = "FAILED" if "failed" in states else "KILLED" if "missing" in states else "FINISHED"
        self._client.set_terminated(parent, done)
        self._state["report"] = stamp
        self._remember()

    def _log(
        self,
        run_id: str,
        metrics: list[tuple[str, Any, int, int]] | None = None,
        params: dict[str, Any] | None = None,
        tags: dict[str, Any] | None = None,
    ) -> None:
        """Log in batches; what is not a finite number is left out, as MLflow would distort it."""
        from mlflow.entities import Metric, Param, RunTag

        kept = [
            Metric(_legal(name), float(value), at, step)
            for name, value, at, step in metrics or ()
            if isinstance(value, int | float) and math.isfinite(value)
        ]
        for i in range(0, len(kept), _BATCH):
            self._client.log_batch(run_id, metrics=kept[i : i + _BATCH])
        flat = [Param(_legal(k), str(v)[:6000]) for k, v in _flat(params or {})]
        for i in range(0, len(flat), 100):
            self._client.log_batch(run_id, params=flat[i : i + 100])
        if tags:
            named = [RunTag(k, str(v)[:5000]) for k, v in tags.items()]
            self._client.log_batch(run_id, tags=named)


def sync(run_folder: Path, root: Path, uri: str | None = None) -> dict[str, Any]:
    """Rebuild the mirror from local files; returns the ids of its runs.

    Runs that are there already are found again and completed, not doubled. Raises
    :class:`TrackingError` where MLflow cannot be used.
    """
    return Mirror(run_folder, root, uri).mirror_all()


def ui_command(root: Path, port: int = 5000) -> list[str]:
    """The command that serves MLflow's page for this root on 127.0.0.1."""
    root = Path(root).resolve()
    return [
        *(sys.executable, "-m", "mlflow", "server"),
        *("--backend-store-uri", f"sqlite:///{root / 'mlflow.db'}"),
        *("--default-artifact-root", (root / "mlartifacts").as_uri()),
        *("--host", "127.0.0.1", "--port", str(port), "--workers", "1"),
    ]


def compare_path(run_folder: Path) -> str:
    """The part of MLflow's address that compares a run's finished trials (no more than 100)."""
    state = read_object(Path(run_folder) / "mlflow.json")
    runs = [t["run"] for t in state.get("trials", {}).values() if t.get("state") == "ok"]
    return _compare(runs, str(state.get("experiment")))


def _compare(runs: list[str], experiment: str) -> str:
    def dump(value: list[str]) -> str:
        return json.dumps(value, separators=(",", ":")).replace('"', "%22")

    return f"#/compare-runs?runs={dump(runs[:100])}&experiments={dump([experiment])}"


def _client(uri: str) -> Any:
    """A client of this tracking address, tried out; a dead server costs seconds, not minutes."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
    for noisy in ("alembic", "mlflow.store.db.utils", "mlflow.tracking.fluent"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    import mlflow

    if uri.startswith("sqlite:///"):
        Path(uri.removeprefix("sqlite:///")).parent.mkdir(parents=True, exist_ok=True)
    mlflow.set_tracking_uri(uri)
    client = mlflow.MlflowClient(tracking_uri=uri)
    client.search_experiments(max_results=1)
    return client


def _note(folder: Path, state: dict[str, Any]) -> str:
    """The results table as the description of the parent run (a tag holds 8000 characters)."""
    page = (folder / "report" / "report.md").read_text()
    runs = [t["run"] for t in state["trials"].values() if t.get("state") == "ok"]
    link = _compare(runs, state["experiment"])
    table = page.partition("## Results")[2].partition("\n## ")[0].partition("\n### ")[0].strip()
    head = f"[Compare the finished trials]({link}) · full report: `report/report.md` (Artifacts)"
    note = f"{head}\n\n{table}"
    return note if len(note) < 8000 else head


def _flat(value: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, item in value.items():
        if isinstance(item, dict) and item:
            yield from _flat(item, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", json.dumps(item) if isinstance(item, list) else item


def _legal(name: str) -> str:
    """A name MLflow takes: letters, digits and ``_ - . space : /``; ``pass@1`` -> ``pass_at_1``."""
    return re.sub(r"[^\w\-. :/]", "_", name.replace("@", "_at_"))[:250]


def _source(commit: str, dirty: bool) -> dict[str, str]:
    tags = {"mlflow.source.name": "harness", "mlflow.source.type": "LOCAL"}
    if commit:
        tags |= {"mlflow.source.git.commit": commit, "harness.git": commit}
        tags["harness.dirty"] = str(dirty).lower()
    return tags


def _git(environment: dict[str, Any]) -> tuple[str, bool]:
    git = environment.get("git")
    if isinstance(git, dict):
        return str(git.get("commit") or ""), bool(git.get("dirty"))
    return str(git or ""), bool(environment.get("dirty"))


def _milliseconds(moment: Any) -> int | None:
    """Unix milliseconds of a time written as seconds or as ISO 8601."""
    if isinstance(moment, str) and moment:
        return round(1000 * datetime.fromisoformat(moment).timestamp())
    return round(1000 * moment) if isinstance(moment, int | float) else None


def _now() -> int:
    return round(1000 * time.time())


def _size(path: Path) -> list[int]:
    try:
        stat = path.stat()
    except OSError:
        return []
    return [stat.st_mtime_ns, stat.st_size]


def _identity(trial: Trial) -> str:
    """What a run in MLflow is of: nothing else may be logged to it."""
    return _digest([trial.settings, trial.keys])


def _digest(value: Any) -> str:
    text = json.dumps(value, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
