"""What every tracker must do. A tracker's own tests subclass :class:`TrackerContract`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from harness.results.trackers.base import Tracker, TrackingError
from harness.store.files import write_json

#: Trials of :func:`run_folder`, with how each has ended.
STATES = {"base-s0": "ok", "vote-s0": "ok", "vote-s1": "failed", "vote-s2": "pending"}


class TrackerContract:
    """Subclass it, give the first three methods, and pytest runs the rest."""

    def make(self, run_folder: Path, root: Path) -> Tracker:
        """A tracker that can reach where it mirrors to: each root to a place of its own."""
        raise NotImplementedError

    def make_dead(self, run_folder: Path, root: Path) -> Tracker:
        """A tracker whose server is not there."""
        raise NotImplementedError

    def mirrored(self, run_folder: Path, root: Path) -> Any:
        """All that is mirrored, in a form that compares equal: without ids and times of its own."""
        raise NotImplementedError

    def test_updates_in_any_order_and_twice_come_to_the_same(self, tmp_path: Path) -> None:
        folders = [run_folder(tmp_path / name / "runs") for name in ("once", "twice")]
        for folder, ids in zip(folders, (list(STATES), [*reversed(STATES), *STATES]), strict=True):
            tracker = self.make(folder, folder.parent)
            tracker.start()
            for name in ids:
                tracker.update(name)
            tracker.finish()
        once, twice = (self.mirrored(folder, folder.parent) for folder in folders)
        assert once
        assert once == twice

    def test_a_run_that_goes_on_is_completed_and_not_doubled(self, tmp_path: Path) -> None:
        folder = run_folder(tmp_path / "runs")
        for _ in range(2):
            tracker = self.make(folder, folder.parent)
            tracker.start()
            for name in STATES:
                tracker.update(name)
            tracker.finish()
        again = run_folder(tmp_path / "again" / "runs")
        self.make(again, again.parent).sync()
        assert self.mirrored(folder, folder.parent) == self.mirrored(again, again.parent)

    def test_a_server_that_is_not_there_stops_a_run_at_its_start(self, tmp_path: Path) -> None:
        folder = run_folder(tmp_path / "runs")
        for call in ("start", "sync"):
            with pytest.raises(TrackingError):
                getattr(self.make_dead(folder, folder.parent), call)()

    def test_a_server_that_dies_does_not_stop_a_run(self, tmp_path: Path) -> None:
        """As it is for one that was there at the start."""
        folder = run_folder(tmp_path / "runs")
        tracker = self.make_dead(folder, folder.parent)
        for name in STATES:
            tracker.update(name)
        tracker.finish()


def run_folder(root: Path) -> Path:
    """A run below a root: an untrained trial, a trained one, one that failed, one to come."""
    folder = root / "contract"
    trials = [_planned(name) for name in STATES]
    plan = {"name": "contract", "baseline": "base", "benchmarks": [], "trials": trials}
    write_json(folder / "plan.json", plan)
    write_json(folder / "spec.json", {"name": "contract", "model": "tiny"})
    write_json(folder / "environment.json", {"git": {}})
    for trial in trials:
        _write(root, folder / "trials" / trial["id"], trial, STATES[trial["id"]])
    return folder


def _planned(name: str) -> dict[str, Any]:
    arm, _, seed = name.partition("-s")
    method = "none" if arm == "base" else "mm_upt"
    return {
        "id": name,
        "arm": arm,
        "point": {},
        "seed": int(seed),
        "method": method,
        "label": arm,
        "settings": {"method": method, "lr": 5e-5},
        "steps": [],
        "differences": [] if arm == "base" else ["method: none -> mm_upt"],
    }


def _write(root: Path, place: Path, trial: dict[str, Any], state: str) -> None:
    if state == "pending":
        return
    reason = "train: the loss is not finite" if state == "failed" else ""
    moments = {"started": 1.8e9, "updated": 1.8e9 + 60, "ended": 1.8e9 + 60}
    write_json(place / "status.json", {"state": state, "reason": reason, **moments})
    if state == "failed":
        return
    training = []
    if trial["method"] != "none":
        curve = root / "store" / "train" / trial["id"] / "metrics.jsonl"
        curve.parent.mkdir(parents=True)
        rows = [{"step": n, "reward": n / 8, "seconds": 1.0} for n in (1, 2, 3)]
        curve.write_text("".join(json.dumps(row) + "\n" for row in rows))
        training = [curve.relative_to(root).as_posix()]
    result = {
        "trial": trial["id"],
        "status": "ok",
        "seconds": 60.0,
        "steps": [],
        "metrics": {"mathvista/accuracy": 0.5},
        "scores": {},
        "training": training,
    }
    write_json(place / "result.json", result)
