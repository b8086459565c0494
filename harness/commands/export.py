"""``harness export``: saved responses for another toolkit."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def command(
    file: Annotated[
        Path,
        typer.Argument(help="A run's folder (every trial and benchmark), or what `rescore` takes."),
    ],
    out: Annotated[Path, typer.Option(help="The folder to write to, a folder a model in it.")],
    format: Annotated[str, typer.Option(help="vlmevalkit.")] = "vlmevalkit",
    benchmark: Annotated[str | None, typer.Option(help="Default: every one that is there.")] = None,
    model: Annotated[
        str | None, typer.Option(help="The model's name in the files. Default: run and trial.")
    ] = None,
    data: Annotated[
        str | None, typer.Option(help="The benchmark's files, where FILE holds no golds.")
    ] = None,
) -> None:
    """Write saved responses in the format of another toolkit, for its scorer."""
    from benchmarks.plugins import unknown
    from harness.errors import HarnessError
    from harness.interop.vlmevalkit.export import export_all

    if format != "vlmevalkit":
        raise HarnessError(unknown("format", format, ["vlmevalkit"]))
    for written in export_all(file, benchmark, data, model, out):
        subset = "" if written.n == written.total else f" (SUBSET of {written.total})"
        print(f"{written.path}: {written.n} responses{subset} to {written.dataset}")
        for item, why in written.changed.items():
            print(f"  changed: item {item}: {why}")
