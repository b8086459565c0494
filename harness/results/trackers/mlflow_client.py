"""MLflow's client as a mirror uses it: experiments found or made, everything logged in batches."""

from __future__ import annotations

import json
import logging
import math
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

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

    if uri.startswith("sqlite:///"):
        Path(uri.removeprefix("sqlite:///")).parent.mkdir(parents=True, exist_ok=True)
    mlflow.set_tracking_uri(uri)
    client = mlflow.MlflowClient(tracking_uri=uri)
    client.search_experiments(max_results=1)
    return client


def ui_command(root: Path, port: int = 5000) -> list[str]:
    """The command that serves MLflow's page for this root on 127.0.0.1."""
    root = Path(root).resolve()
    return [
        *(sys.executable, "-m", "mlflow", "server"),
        *("--backend-store-uri", f"sqlite:///{root / 'mlflow.db'}"),
        *("--default-artifact-root", (root / "mlartifacts").as_uri()),
        *("--host", "127.0.0.1", "--port", str(port), "--workers", "1"),
    ]


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
