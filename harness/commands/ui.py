"""``harness ui``: the tracker's page."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from harness.commands.options import ROOT, Root


def command(
    root: Root = ROOT, port: Annotated[int, typer.Option(help="Port on 127.0.0.1.")] = 5000
) -> None:
    """Open the MLflow page of the runs below a root, on this machine only."""
    from harness.results.trackers.mlflow_client import make_database, ui_command

    make_database(root.absolute() / "mlflow.db")
    start = ui_command(root, port)
    os.execvp(start[0], start)
