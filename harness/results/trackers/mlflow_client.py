"""MLflow's client as a mirror uses it: experiments found or made, everything logged in batches."""

from __future__ import annotations

import json
import logging
import math
import os
import re
import sqlite3
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from filelock import FileLock

from benchmarks.atomic import remove_unfinished, whole_file

_log = logging.getLogger(__name__)
_SQLITE = "sqlite:///"
URI_VARIABLE = "MLFLOW_TRACKING_URI"
_BATCH = 900  # a batch may hold 1000 metrics and 100 params


class Client:
    """A tracking address that answers. ``api`` is MLflow's own client."""

    def __init__(self, uri: str) -> None:
        self._uri = uri
        self.api = connect(uri)

    def experiment(self, name: str, artifacts: Path) -> str:
        """The id of the experiment of this name, made or restored where it is not there.

        A server knows where its artifacts go; only a file of our own is told: ``artifacts``.
        """
        found = self.api.get_experiment_by_name(name)
        if found is not None and found.lifecycle_stage == "active":
            return str(found.experiment_id)
        if found is not None:
            self.api.restore_experiment(found.experiment_id)
            return str(found.experiment_id)
        place = (artifacts / name).as_uri() if self._uri.startswith("sqlite:") else None
        # The kind makes the page open as model training, not as an application of language models.
        kind = {"mlflow.experimentKind": "custom_model_development"}
        return str(self.api.create_experiment(name, artifact_location=place, tags=kind))

    def alive(self, run_id: str | None) -> bool:
        """Whether this run is there and not deleted."""
        from mlflow.exceptions import MlflowException

        if not run_id:
            return False
        try:
            return bool(self.api.get_run(run_id).info.lifecycle_stage == "active")
        except MlflowException:
            return False

    def log(
        self,
        run_id: str,
        metrics: list[tuple[str, Any, int, int]] | None = None,
        params: dict[str, Any] | None = None,
        tags: dict[str, Any] | None = None,
    ) -> None:
        """Log in batches; what is not a finite number is left out, as MLflow would distort it."""
        from mlflow.entities import Metric, Param, RunTag

        kept = [
            Metric(legal(name), float(value), at, step)
            for name, value, at, step in metrics or ()
            if isinstance(value, int | float) and math.isfinite(value)
        ]
        for i in range(0, len(kept), _BATCH):
            self.api.log_batch(run_id, metrics=kept[i : i + _BATCH])
        flat = [Param(legal(k), str(v)[:6000]) for k, v in _flat(params or {})]
        for i in range(0, len(flat), 100):
            self.api.log_batch(run_id, params=flat[i : i + 100])
        if tags:
            named = [RunTag(k, str(v)[:5000]) for k, v in tags.items()]
            self.api.log_batch(run_id, tags=named)


def connect(uri: str) -> Any:
    """A client of this tracking address, tried out; a dead server costs seconds, not minutes."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
    for noisy in ("alembic", "mlflow.store.db.utils", "mlflow.tracking.fluent"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    import mlflow

    if uri.startswith(_SQLITE):
        make_database(Path(uri.removeprefix(_SQLITE)))
    theirs = os.environ.get(URI_VARIABLE)
    mlflow.set_tracking_uri(uri)
    # MLflow notes it in the environment too, where the next run would take it for the user's.
    os.environ.pop(URI_VARIABLE, None)
    if theirs is not None:
        os.environ[URI_VARIABLE] = theirs
    client = mlflow.MlflowClient(tracking_uri=uri)
    client.search_experiments(max_results=1)
    return client


def make_database(path: Path) -> None:
    """Make MLflow's database where there is none.

    MLflow makes its tables one by one, and a database with some of them can never be used: it is
    made under a lock in a file beside its place, and moved there whole. One that another version
    left unfinished is put aside.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_name(f".{path.name}.lock")):
        if path.exists() and not _finished(path):
            aside = path.with_name(f"{path.name}-unfinished-{time.time_ns()}")
            _log.warning("%s was left unfinished: it is %s now, and made anew", path, aside.name)
            path.rename(aside)
        if path.exists():
            return
        remove_unfinished(path.parent, path.name)
        for journal in path.parent.glob(f".{path.name}.*.new-*"):
            journal.unlink(missing_ok=True)
        with whole_file(path, sync=True) as fresh:
            from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

            made = SqlAlchemyStore(
                f"{_SQLITE}{fresh}", (path.absolute().parent / "mlartifacts").as_uri()
            )
            made.engine.dispose()


def _finished(path: Path) -> bool:
    """Whether a database's tables were made to the last: MLflow notes their version at the end."""
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as database:
            return bool(database.execute("SELECT version_num FROM alembic_version").fetchone())
    except sqlite3.OperationalError as error:
        if "no such table" in str(error):
            return False
        raise


def ui_command(root: Path, port: int = 5000) -> list[str]:
    """The command that serves MLflow's page for this root on 127.0.0.1."""
    root = Path(root).resolve()
    return [
        *(sys.executable, "-m", "mlflow", "server"),
        *("--backend-store-uri", f"sqlite:///{root / 'mlflow.db'}"),
        *("--default-artifact-root", (root / "mlartifacts").as_uri()),
        *("--host", "127.0.0.1", "--port", str(port), "--workers", "1"),
    ]


def without_secret(uri: str) -> str:
    """An address without the name and password in it, for files and messages."""
    return re.sub(r"(?<=://)[^/@]*@", "***@", uri)


def compare_path(runs: list[str], experiment: str) -> str:
    """The part of MLflow's address that compares runs (no more than 100)."""

    def dump(value: list[str]) -> str:
        return json.dumps(value, separators=(",", ":")).replace('"', "%22")

    return f"#/compare-runs?runs={dump(runs[:100])}&experiments={dump([experiment])}"


def _flat(value: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, item in value.items():
        if isinstance(item, dict) and item:
            yield from _flat(item, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", json.dumps(item) if isinstance(item, list) else item


def legal(name: str) -> str:
    """A name MLflow takes: letters, digits and ``_ - . space : /``; ``pass@1`` -> ``pass_at_1``."""
    return re.sub(r"[^\w\-. :/]", "_", name.replace("@", "_at_"))[:250]
