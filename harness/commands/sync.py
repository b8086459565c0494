"""``harness sync``: a run's mirror again, from its files."""

from __future__ import annotations

from harness.commands.console import console
from harness.commands.options import RunFolder
from harness.commands.report import refuse_no_run


def command(run_folder: RunFolder) -> None:
    """Rebuild a run's MLflow mirror from its files."""
    from harness.results import mlflow_mirror

    refuse_no_run(run_folder)
    mlflow_mirror.sync(run_folder, run_folder.resolve().parent)
    console().print(f"Mirrored {run_folder}; `harness ui` shows it", markup=False)
