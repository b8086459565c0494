"""``harness run``: an experiment from its file to its table."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.commands.options import ROOT, ExperimentFile, Root, TrackingUri
from harness.console import console

if TYPE_CHECKING:
    from harness.experiment.spec import Experiment, Extension
    from harness.results.trackers.base import Tracker
    from harness.run.runner import Outcome


def command(
    experiment: ExperimentFile,
    root: Root = ROOT,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Trials at a time (default: GPUs, or cores).")
    ] = None,
    executor: Annotated[
        str | None, typer.Option(help="Instead of the file's; `harness list executors`.")
    ] = None,
    tracking: Annotated[
        bool, typer.Option(help="Mirror the run to the file's tracker, MLflow unless it says so.")
    ] = True,
    tracking_uri: TrackingUri = None,
) -> None:
    """Train and score every arm of an experiment, then print its table.

    What the store holds already is not run again: stop it at any moment and run the same command to
    go on. Exit code 1 if a trial failed, 2 if the experiment file has a mistake, 130 if
    interrupted.
    """
    from harness.errors import HarnessError
    from harness.experiment import checks, extensions
    from harness.experiment.spec import Extension

    spec, text = checks.read(experiment, root)
    if executor is not None:
        choice = Extension(name=executor)
        for mistake in extensions.mistakes(extensions.EXECUTORS, choice):
            raise HarnessError(f"--executor: {mistake}")
        spec = spec.model_copy(update={"executor": choice})
    outcome = execute(spec, text, root, workers, tracking, tracking_uri)
    folder = root / spec.name
    print_report(folder)
    print_outcome(outcome, folder)


def execute(
    spec: Experiment,
    text: str,
    root: Path,
    workers: int | None,
    tracking: bool,
    tracking_uri: str | None = None,
) -> Outcome:
    """Run a checked experiment whose file reads ``text``. Exits with code 130 where interrupted."""
    from functools import partial

    from harness.experiment.extensions import EXECUTORS
    from harness.plan import published_data
    from harness.plan.planner import make
    from harness.run import display
    from harness.run.runner import Runner
    from harness.store.results import Store
    from harness.store.sources.hashes import Hashes

    hashes = Hashes(root)
    made = make(spec, hashes)
    root.mkdir(parents=True, exist_ok=True)
    hashes.save()
    store = Store(root)
    store.refuse_two_disks()
    for line in filter(None, (store.outdated(), *published_data.unlike(made, store))):
        console(stderr=True).print(f"Note: {line}", markup=False, soft_wrap=True)
    tracker = None
    if tracking:
        tracker = tracker_of(spec.tracker, root / made.name, root, tracking_uri)
    start = partial(
        EXECUTORS.load(spec.executor.name),
        made.resources,
        workers or spec.workers,
        **spec.executor.parameters,
    )
    runner = Runner(made, root, display.observer(console()), start, tracker)
    try:
        return runner.run(spec, text)
    except KeyboardInterrupt:
        console(stderr=True).print(
            f"\nInterrupted. What is done is in {root}; the same command goes on from there.",
            markup=False,
        )
        raise typer.Exit(130) from None


def tracker_of(choice: Extension, folder: Path, root: Path, uri: str | None) -> Tracker:
    """The tracker of a run's folder, at ``uri`` where one is given instead of its own."""
    from harness.errors import HarnessError
    from harness.experiment import extensions

    if uri is not None:
        choice = choice.model_copy(update={"parameters": choice.parameters | {"uri": uri}})
        for mistake in extensions.mistakes(extensions.TRACKERS, choice):
            raise HarnessError(f"--tracking-uri: {mistake}")
    made: Tracker = extensions.TRACKERS.load(choice.name)(folder, root, **choice.parameters)
    return made


def print_outcome(outcome: Outcome, folder: Path) -> None:
    """Print what failed and where the results are. Exits with code 1 where a trial failed."""
    from rich.markup import escape

    out = console()
    if not outcome.worked:
        out.print("[dim]Everything was in the store; nothing was run.[/]")
    for name, reason in outcome.failed.items():
        log = folder / "trials" / name / "log.txt"
        why = escape(f"{name}: {reason}")
        out.print(f"[red]failed[/] {why} [dim]({escape(str(log))})[/]", soft_wrap=True)
    out.print(f"[dim]Results: {escape(str(folder))}[/]", soft_wrap=True)
    if outcome.failed:
        out.print("The same command tries the failed trials again.")
        raise typer.Exit(1)


def print_report(folder: Path) -> None:
    """Print the report's tables; compute them only if a trial is newer than the last report, or
    another version wrote it.
    """
    from pydantic import ValidationError

    from harness.results import report
    from harness.results.report import terminal
    from harness.results.report.model import Report

    written = folder / "report" / "report.json"
    if not _is_newest(written, folder):
        report.write(folder)
    try:
        made = Report.model_validate_json(written.read_bytes())
    except ValidationError:
        report.write(folder)
        made = Report.model_validate_json(written.read_bytes())
    terminal.show(made)


def _is_newest(file: Path, folder: Path) -> bool:
    """Whether a file is there and newer than everything that it was made from."""
    if not file.exists():
        return False
    made_from = [folder / "plan.json"]
    for name in ("result.json", "status.json"):  # a trial that fails leaves a status only
        made_from += folder.glob(f"trials/*/{name}")
    return all(file.stat().st_mtime >= each.stat().st_mtime for each in made_from if each.exists())
