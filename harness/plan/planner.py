"""Arms, sweep points and seeds become trials; a trial is a chain of steps, each with its key.

Equal keys are one step, whoever needs it: the base model is evaluated once for all seeds, one
synthetic set serves every ratio and arm, a point of a sweep that equals an arm is that arm.
"""

from __future__ import annotations

from typing import Any

from pydantic import Field

from backends.base.config import Config
from backends.base.resources import Resources
from benchmarks import prompts
from harness.experiment import conditions, judges
from harness.experiment.conditions import Condition
from harness.experiment.derived import Derived, settle
from harness.experiment.spec import BenchmarkChoice, Experiment
from harness.plan import identities
from harness.plan.services import Services
from harness.plan.specs import Generate, Sampled, Score
from harness.plan.step import Step, step
from harness.plan.training import TrainingPlanner
from harness.store.keys import differences, show
from harness.store.sources import benchmark_data
from harness.store.sources.benchmark_data import Data, TinyBenchmark
from harness.store.sources.hashes import Hashes
from harness.store.sources.located import Located


class Trial(Config):
    """One arm, or one point of its sweep, with one seed. ``steps`` are in an order that can run."""

    id: str
    arm: str
    point: dict[str, Any]
    seed: int
    method: str
    label: str
    settings: dict[str, Any]
    differences: tuple[str, ...]
    steps: tuple[Step, ...]


class BenchmarkPlan(Config):
    """A benchmark as it is going to be asked and judged."""

    name: str
    title: str
    headline: str
    data: Data = Field(discriminator="kind")
    scorer: str
    scorer_id: str
    limit: int | None


class Plan(Config):
    """Everything that a run does. ``sources`` says where each content id is found, and
    ``reward_files`` where each reward of a user's own file is, by its identity."""

    name: str
    baseline: str | None
    paper: str | None
    backend: str
    resources: Resources
    derived: tuple[Derived, ...]
    benchmarks: tuple[BenchmarkPlan, ...]
    services: Services
    sweep: dict[str, Any] | None
    sources: dict[str, Located]
    reward_files: dict[str, str]
    trials: tuple[Trial, ...]

    def steps(self) -> dict[str, Step]:
        """Every distinct step by key, in an order that can run."""
        return {step.key: step for trial in self.trials for step in trial.steps}

    def summary(self) -> dict[str, Any]:
        """``plan.json``: the plan without the steps' specs, which are in each trial's
        ``spec.json``.
        """
        shown = {"kind", "name", "key", "label", "benchmark", "of"}
        dump = self.model_dump(
            mode="json", exclude={"trials", "sources", "reward_files", "resources"}
        )
        dump["benchmarks"] = [
            {**b.model_dump(mode="json"), "data": b.data.id} for b in self.benchmarks
        ]
        dump["trials"] = [
            trial.model_dump(mode="json", exclude={"steps"})
            | {"steps": [step.model_dump(include=shown) for step in trial.steps]}
            for trial in self.trials
        ]
        return dump


def make(experiment: Experiment, hashes: Hashes) -> Plan:
    """The plan of a checked experiment. Reads the models' and data's contents; runs nothing."""
    settled, derived = settle(experiment)
    return _Planner(settled, hashes).plan(derived)


class _Planner:
    def __init__(self, experiment: Experiment, hashes: Hashes) -> None:
        self.experiment = experiment
        self.hashes = hashes
        self.arms = {name: conditions.condition(experiment, name) for name in experiment.arms}
        self.training = TrainingPlanner(experiment, self.arms, hashes)
        self.benchmarks = [self._benchmark(choice) for choice in experiment.benchmarks]

    def plan(self, derived: tuple[Derived, ...]) -> Plan:
        experiment = self.experiment
        all_conditions = list(self.arms.values())
        sweep = None
        if experiment.sweep is not None:
            of = experiment.sweep.of
            swept = [conditions.condition(experiment, of, p) for p in conditions.points(experiment)]
            all_conditions += swept
            sweep = {
                "of": of,
                "design": experiment.sweep.design,
                "axes": experiment.sweep.axes(),
                "default": conditions.defaults(experiment),
            }
        trials = [self._trial(c, seed) for c in all_conditions for seed in experiment.seeds]
        located: list[Located] = [
            *self.training.models.values(),
            *self.training.pools.values(),
            *(one.data for one in self.benchmarks),
        ]
        return Plan(
            name=experiment.name,
            baseline=experiment.baseline,
            paper=experiment.paper,
            backend=experiment.backend,
            resources=experiment.resources,
            derived=derived,
            benchmarks=tuple(self.benchmarks),
            services=Services(
                evaluated=experiment.evaluation.server,
                writers=experiment.servers,
                judge=experiment.judge and judges.located(experiment.judge, self.hashes),
            ),
            sweep=sweep,
            sources={source.id: source for source in located},
            reward_files=self.training.reward_files,
            trials=tuple(trials),
        )

    def _benchmark(self, choice: BenchmarkChoice) -> BenchmarkPlan:
        data = benchmark_data.locate(
            choice.name,
            choice.data,
            self.experiment.model,
            self.hashes,
            choice.num_fewshot,
            choice.split,
        )
        one = benchmark_data.benchmark_of(choice.name, data)
        scorer = choice.scorer or one.default_scorer
        return BenchmarkPlan(
            name=choice.name,
            title=_title(one.title, data),
            headline=one.headline,
            data=data,
            scorer=scorer,
            scorer_id=judges.scorer_id(
                one,
                scorer,
                self.experiment.judge,
                self.hashes,
                self.experiment.resources.dtype,
            ),
            limit=choice.limit,
        )

    def _trial(self, condition: Condition, seed: int) -> Trial:
        steps: list[Step] = []
        checkpoint = None
        if condition.stages:
            steps = self.training.steps(condition, seed)
            checkpoint = steps[-1]
        for one in self.benchmarks:
            steps += self._evaluation(condition, seed, one, checkpoint)
        return Trial(
            id=f"{condition.name}-s{seed}",
            arm=condition.arm,
            point=dict(condition.point),
            seed=seed,
            method=condition.method,
            label=_label(condition),
            settings=condition.settings(),
            differences=tuple(self._differences(condition)),
            steps=tuple(steps),
        )

    def _evaluation(
        self, condition: Condition, seed: int, one: BenchmarkPlan, checkpoint: Step | None
    ) -> list[Step]:
        asked = self.experiment.evaluation
        assert asked.engine is not None, "settled"
        assert asked.max_tokens is not None, "settled"
        sampled = Sampled(
            n=asked.samples, temperature=asked.temperature, top_p=asked.top_p, seed=asked.seed
        )
        asks = asked.template or condition.template
        form = prompts.asked(asks, benchmark_data.benchmark_of(one.name, one.data))
        spec = Generate(
            model=None if checkpoint else self.training.model.id,
            family_id=identities.family(self.training.model),
            benchmark=one.name,
            data=one.data.id,
            limit=one.limit,
            engine=asked.engine,
            engine_id=identities.engine(asked.engine),
            template=form.choice,
            prompt=form.hash,
            min_pixels=asked.min_pixels,
            max_pixels=asked.max_pixels,
            greedy=asked.greedy,
            sampled=sampled if asked.samples else None,
            max_tokens=asked.max_tokens,
            max_prompt_tokens=asked.max_prompt_tokens,
            dtype=self.experiment.resources.dtype,
        )
        who = f"{condition.name}-s{seed}" if checkpoint else condition.name
        label = f"{one.name.replace(':', '_')}-{who}"
        parents = {"model": checkpoint.key} if checkpoint else {}
        generate = step(spec, f"generate {one.name}", label, parents)
        judge = Score(
            benchmark=one.name,
            data=one.data.id,
            limit=one.limit,
            scorer=one.scorer,
            scorer_id=one.scorer_id,
        )
        score = step(judge, f"score {one.name}", label, {"generations": generate.key})
        return [generate, score]

    def _differences(self, condition: Condition) -> list[str]:
        """From the baseline; against one that trains nothing only the method is worth a line."""
        baseline = self.experiment.baseline
        own = self.arms[condition.arm]
        lines: list[str] = []
        if baseline is not None and baseline != condition.arm:
            a, b = self.arms[baseline].settings(), own.settings()
            if not self.arms[baseline].stages:
                b = {k: v for k, v in b.items() if k in ("method", "template")}
                if own.backend != self.experiment.backend:
                    b["backend"] = own.backend
            lines += differences(a, b)
        if condition.point:
            lines += differences(own.settings(), condition.settings())
        return lines


def _title(title: str, data: Data) -> str:
    """A mini benchmark must not pass for the real one in a table."""
    plain = title.partition(" (")[0]
    if isinstance(data, TinyBenchmark):
        return f"mini {plain}" + (", hard split" if data.name == "hard" else "")
    return f"{plain} ({data.split})" if data.split else title


def _label(condition: Condition) -> str:
    """The condition as a table shows it: ``mm_upt``, ``mm_upt · group_size 16``."""
    return " · ".join([condition.arm, *(f"{k} {show(v)}" for k, v in condition.point.items())])
