"""``harness sync``: a run's mirror again, from its files."""

from __future__ import annotations

from harness.commands.options import RunFolder, TrackingUri
from harness.commands.run import tracker_of
from harness.console import console


def command(run_folder: RunFolder, tracking_uri: TrackingUri = None) -> None:
    """Rebuild a run's mirror, in MLflow unless its experiment says so, from its files."""
    from harness.experiment.spec import Extension
    from harness.results.reading import read_object, read_plan
    from harness.results.trackers.mlflow_client import without_secret

    read_plan(run_folder)
    written = read_object(run_folder / "spec.json").get("tracker", {"name": "mlflow"})
    choice = Extension.model_validate(written)
    folder = run_folder.resolve()
    tracker = tracker_of(choice, folder, folder.parent, tracking_uri)
    tracker.sync()
    address = without_secret(getattr(tracker, "uri", ""))
    ours = address == f"sqlite:///{folder.parent / 'mlflow.db'}"
    shown = "; `harness ui` shows it" if ours else f" to {address or choice.name}"
    console().print(f"Mirrored {run_folder}{shown}", markup=False)
