"""The sweep as an Optuna study: declared points are enqueued, asked for, and told their value.

One controller process, the runner, owns the study. Its storage is a SQLite file in the run folder,
so it goes on after a crash, and ``optuna-dashboard`` can show it. The value of a point is the mean
over its seeds of the headline figure of the first benchmark. A point of which a trial failed is
told as failed and never as a value; the next run enqueues it again.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from harness.plan.planner import Plan, Trial
from harness.results.reading import is_of
from harness.store.files import read_json, write_json
from harness.store.keys import canonical, digest

DATABASE = "study.db"
#: What the study was told last, so that a run with nothing new need not open it.
_TOLD = "study.json"


class SweepStudy:
    """The study of a plan's sweep; opened only when there is something to ask for or to tell.

    Its name ends with a hash of all that its points have in common, so that one study never mixes
    results that cannot be compared: other settings, seeds or data begin another study.
    """

    def __init__(self, plan: Plan, run_folder: Path) -> None:
        assert plan.sweep is not None
        self._folder = run_folder
        self._headline = plan.benchmarks[0].headline
        self._axes: dict[str, list[Any]] = plan.sweep["axes"]
        self._default: dict[str, Any] = plan.sweep["default"]
        self._points: dict[str, list[Trial]] = {}
        for trial in plan.trials:
            if trial.arm == plan.sweep["of"]:
                self._points.setdefault(canonical(trial.point), []).append(trial)
        common = [[step.key for step in trial.steps] for trial in self._points[canonical({})]]
        self.name = f"{plan.name}-{digest([self._axes, common])[:8]}"
        self._study: Any = None
        self._asked: dict[str, int] = {}

    def begin(self) -> None:
        """Ask for every point that has no value yet. Call once, before the trials run."""
        if any(value is None for value in self._told().values()) or (
            set(self._told()) != set(self._points)
        ):
            self._open()

    def update(self) -> None:
        """Tell the study every point that is finished since."""
        if self._study is None:
            return
        from optuna.trial import TrialState

        now = self.values()
        for point in [p for p in self._asked if p in now]:
            number, value = self._asked[point], now[point]
            if value is None:
                self._study.tell(number, state=TrialState.FAIL)
            else:
                self._study.tell(number, value)
            del self._asked[point]
        told = {point: value for point, value in now.items() if point not in self._asked}
        if told != self._told():
            write_json(self._folder / _TOLD, {"study": self.name, "values": told})

    def values(self) -> dict[str, float | None]:
        """Each finished point's value, None where a trial failed; others are left out."""
        found: dict[str, float | None] = {}
        for point, trials in self._points.items():
            folders = [self._folder / "trials" / trial.id for trial in trials]
            states = [read_json(folder / "status.json") or {} for folder in folders]
            if any(state.get("state") in ("running", "pending") for state in states):
                continue
            if any(state.get("state") == "failed" for state in states):
                found[point] = None
                continue
            results = [read_json(folder / "result.json") for folder in folders]
            if all(
                is_of(r, [s.key for s in t.steps]) for r, t in zip(results, trials, strict=True)
            ):
                found[point] = sum(r["metrics"][self._headline] for r in results) / len(results)
        return found

    def _told(self) -> dict[str, float | None]:
        told = read_json(self._folder / _TOLD)
        if not isinstance(told, dict) or told.get("study") != self.name:
            return {}
        values: dict[str, float | None] = told["values"]
        return values

    def _open(self) -> None:
        import optuna
        from optuna.trial import TrialState

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._study = optuna.create_study(
            study_name=self.name,
            storage=f"sqlite:///{(self._folder / DATABASE).resolve()}",
            load_if_exists=True,
            direction="maximize",
            # Declared points only: nothing is ever sampled.
            sampler=optuna.samplers.RandomSampler(seed=0),
        )
        distributions = {
            axis: optuna.distributions.CategoricalDistribution(
                list(dict.fromkeys(_choice(v) for v in [self._default[axis], *values]))
            )
            for axis, values in self._axes.items()
        }
        enqueued = set()
        complete = set()
        for trial in self._study.get_trials(deepcopy=False):
            point = trial.user_attrs.get("point")
            if trial.state == TrialState.RUNNING:
                # Its run was killed. The point is still to be had, under the same number.
                self._asked[point] = trial.number
            elif trial.state == TrialState.WAITING:
                enqueued.add(point)
            elif trial.state == TrialState.COMPLETE:
                complete.add(point)
        for point, trials in self._points.items():
            if point not in complete | enqueued | set(self._asked):
                settings = self._default | trials[0].point
                self._study.enqueue_trial(
                    {axis: _choice(settings[axis]) for axis in self._axes},
                    user_attrs={"point": point, "trials": [trial.id for trial in trials]},
                )
                enqueued.add(point)
        for _ in enqueued:
            trial = self._study.ask(distributions)
            self._asked[trial.user_attrs["point"]] = trial.number


def _choice(value: Any) -> Any:
    """A value as Optuna takes it: nested settings as text."""
    return (
        value if value is None or isinstance(value, (bool, int, float, str)) else canonical(value)
    )
