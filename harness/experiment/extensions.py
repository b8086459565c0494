"""Extensions that an experiment file names and that change no result: executors and trackers."""

from __future__ import annotations

from benchmarks.plugins import Registry

EXECUTORS = Registry("executor", {"local": "harness.run.executors.local:LocalExecutor"})
TRACKERS = Registry("tracker", {"mlflow": "harness.results.trackers.mlflow:MlflowTracker"})
