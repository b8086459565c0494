"""The report of a run: tables, plots and published rows, in the terminal, markdown and JSON.

:func:`write` leaves ``report.md``, ``report.json`` (with ``report.schema.json``) and the plots (PNG
and SVG) in ``<run>/report``. All are views of one :class:`~harness.results.report.model.Report`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from benchmarks.atomic import write_text
from harness.results import reading as results


def write(run_folder: Path) -> Path:
    """Write the report of a run, finished or not, and return its folder.

    Raises :class:`~harness.results.reading.ResultsError` where the folder holds no run.
    """
    from harness.results.report import markdown, plots, summary
    from harness.results.report.model import Report

    found = results.load(run_folder)
    report = summary.build(found)
    folder = found.folder / "report"
    folder.mkdir(exist_ok=True)
    report = report.model_copy(update={"figures": plots.write(report, found, folder)})
    write_text(folder / "report.json", report.model_dump_json(indent=1))
    schema = json.dumps(Report.model_json_schema(), indent=1)
    write_text(folder / "report.schema.json", schema)
    write_text(folder / "report.md", markdown.render(report))
    return folder


def as_json(run_folder: Path) -> dict[str, Any]:
    """What ``report.json`` holds, computed now."""
    from harness.results.report import summary

    return summary.build(results.load(run_folder)).model_dump(mode="json")


def print_table(run_folder: Path) -> None:
    """Print the tables of a run to the terminal."""
    from harness.results.report import summary, terminal

    terminal.show(summary.build(results.load(run_folder)))
