"""``harness report``: a run's report again, from its files."""

from __future__ import annotations

from typing import Annotated

import typer

from harness.commands.options import RunFolder
from harness.console import console


def command(
    run_folder: RunFolder,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON; nothing is written.")] = False,
) -> None:
    """Write a run's report again from its files, and print its table."""
    import json

    from harness.results import report

    if as_json:
        typer.echo(json.dumps(report.as_json(run_folder), indent=1))
        return
    folder = report.write(run_folder)
    report.print_table(run_folder)
    console().print(f"Report: {folder / 'report.md'}", markup=False)
