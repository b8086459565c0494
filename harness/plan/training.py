"""The steps before an arm's checkpoint: questions written, responses collected, stages trained."""

from __future__ import annotations

from collections.abc import Mapping

from backends import curation
from backends.base.stage import Curation, External, Stage
from backends.training.objectives import objective
from benchmarks.prompts import SYNTHESIS, template
from harness.experiment.conditions import Condition
from harness.experiment.spec import Experiment
from harness.plan import identities
from harness.plan.specs import Asks, Curate, Respond, Synthesize, Train
from harness.plan.step import Step, step
from harness.store.sources import models, questions
from harness.store.sources.hashes import Hashes
from harness.store.sources.models import Model, ServedModel, TrainedModel
from harness.store.sources.questions import Questions

#: What a trial calls a step that asks so.
_NAMES: dict[Asks, str] = {
    "question": "respond",
    "description": "describe",
    "contrast": "mislead",
    "described": "respond",
    "judgement": "judge",
    "rating": "rate",
}
#: A judge says one word, and what it reads is no longer than a prompt and a response; its own
#: words come on top.
_JUDGE_TOKENS, _JUDGE_WORDS = 16, 256


class TrainingPlanner:
    """Plans the training of conditions of one experiment. ``models`` and ``pools`` collect what is
    located, by what the experiment calls it, and ``reward_files`` where each reward of a user's own
    file is, by its identity."""

    def __init__(
        self, experiment: Experiment, arms: Mapping[str, Condition], hashes: Hashes
    ) -> None:
        self.experiment, self.arms, self.hashes = experiment, arms, hashes
        self.models: dict[str, Model] = {}
        self.pools: dict[str, Questions] = {}
        self.reward_files: dict[str, str] = {}
        self.model = self.model_of(experiment.model)

    def steps(self, condition: Condition, seed: int) -> list[Step]:
        """The steps to the condition's checkpoint, which the last one leaves."""
        steps: list[Step] = []
        before: Step | None = None
        many = len(condition.stages) > 1
        for number, (stage, source) in enumerate(
            zip(condition.stages, condition.questions, strict=True), 1
        ):
            made = _Stage(self, condition, seed, stage, source, before, number if many else None)
            steps += made.steps
            before = made.steps[-1]
        return list({one.key: one for one in steps}.values())

    def teacher(self, name: str, seed: int) -> list[Step]:
        """The steps to another arm's checkpoint, under names that say whose they are."""
        made = self.steps(self.arms[name], seed)
        return [
            step.model_copy(update={"name": f"{name}: {step.name}", "of": step.of or name})
            for step in made
        ]

    def pool(self, source: str) -> Questions:
        if source not in self.pools:
            skip = self.experiment.on_broken_picture
            self.pools[source] = questions.locate(source, self.hashes, skip)
        return self.pools[source]

    def model_of(self, source: str) -> Model:
        if source not in self.models:
            self.models[source] = models.locate(source, self.hashes)
        return self.models[source]

    def external(self, source: str) -> Model | TrainedModel:
        """An external model: one that is there, or one that another arm trains."""
        return TrainedModel.of(source) or self.model_of(source)

    def synthesis(self, pool: Questions) -> Step:
        settings = self.experiment.synthesis
        writer = self.model_of(settings.model or self.experiment.model)
        spec = Synthesize(
            family_id=identities.family(writer),
            questions=pool.id,
            engine_id=identities.engine("openai" if isinstance(writer, ServedModel) else "hf"),
            prompt=SYNTHESIS[settings.mode].hash,
            dtype=self.experiment.resources.dtype,
            **settings.model_dump() | {"model": writer.id},
        )
        return step(spec, "synthesize", settings.mode, {})


class _Stage:
    """The steps of one stage: what its training needs, and the training itself, last."""

    def __init__(
        self,
        planner: TrainingPlanner,
        condition: Condition,
        seed: int,
        stage: Stage,
        source: str,
        before: Step | None,
        number: int | None,
    ) -> None:
        self.planner, self.stage, self.seed = planner, stage, seed
        self.pool = planner.pool(source)
        self.before = before
        self.family = identities.family(planner.model)
        self.suffix = f" {number}" if number else ""
        self.label = f"{condition.name}-s{seed}" + (f"-{number}" if number else "")
        self.dtype = planner.experiment.resources.dtype
        self.steps: list[Step] = []
        parents: dict[str, str] = {}
        if condition.synthetic_ratio > 0:
            parents["synthetic"] = self._add(planner.synthesis(self.pool))
        if stage.curation is not None:
            parents["curated"] = self._curate(stage.curation)
        if stage.external is not None:
            parents |= self._external(stage.external)
        samples = objective(stage).has_rollouts
        spec = Train(
            model=None if before else planner.model.id,
            family_id=self.family,
            questions=self.pool.id,
            synthetic_ratio=condition.synthetic_ratio,
            stage=self._by_content(stage),
            reward_ids=identities.reward_ids(stage),
            prompt=identities.prompt(stage),
            backend=condition.backend,
            backend_id=identities.backend(condition.backend),
            engine_id=identities.engine(stage.rollout_engine) if samples else None,
            seed=seed,
            dtype=self.dtype,
        )
        if before is not None:
            parents["model"] = before.key
        self._add(step(spec, f"train{self.suffix}", self.label, parents))

    def _add(self, made: Step) -> str:
        self.steps.append(made)
        return made.key

    def _curate(self, rule: Curation) -> str:
        """Ask the model that the stage starts from, then choose among what it said."""
        parents: dict[str, str] = {}
        if rule.keep == "contrast":
            parents["responses"] = self._respond("description", rule)
            parents["rejected"] = self._respond("contrast", rule)
        elif rule.keep == "described":
            once = self._respond("description", None)
            parents["responses"] = self._respond("described", rule, {"descriptions": once})
        else:
            parents["responses"] = self._respond("question", rule)
        if rule.keep in ("judged", "ranked"):
            asks: Asks = "judgement" if rule.keep == "judged" else "rating"
            own = {"responses": parents["responses"]}
            parents["judgements"] = self._respond(asks, None, own)
        spec = Curate(
            questions=self.pool.id,
            keep=rule.keep,
            per_question=rule.per_question,
            threshold=rule.threshold if rule.keep == "judged" else None,
        )
        return self._add(step(spec, f"curate{self.suffix}", f"{rule.keep}-{self.label}", parents))

    def _respond(
        self, asks: Asks, rule: Curation | None, parents: dict[str, str] | None = None
    ) -> str:
        """What the stage's starting model says: samples as the rule wants them, else greedily."""
        stage = self.stage
        judging = asks in ("judgement", "rating")
        form = template("plain" if judging else stage.template)
        spec = Respond(
            model=None if self.before else self.planner.model.id,
            family_id=self.family,
            questions=self.pool.id,
            engine=stage.rollout_engine,
            engine_id=identities.engine(stage.rollout_engine),
            asks=asks,
            template=form.choice,
            prompt=curation.wording(form.hash, *curation.FORMS[asks]),
            samples=rule.samples if rule else 1,
            temperature=rule.temperature if rule else 0.0,
            top_p=rule.top_p if rule else 1.0,
            max_tokens=_JUDGE_TOKENS if judging else stage.max_response_tokens,
            max_prompt_tokens=stage.max_prompt_tokens
            + (stage.max_response_tokens + _JUDGE_WORDS if judging else 0),
            seed=self.seed if rule else 0,
            dtype=self.dtype,
        )
        given = dict(parents or {})
        if self.before is not None:
            given["model"] = self.before.key
        name = f"{_NAMES[asks]}{self.suffix}"
        return self._add(step(spec, name, f"{asks}-{self.label}", given))

    def _external(self, external: External) -> dict[str, str]:
        """A parent for each model. Their responses are data, like a question's text: the seed of a
        trial has no part in them, and one set serves all trials."""
        stage, parents = self.stage, {}
        form = template(stage.template)
        for place, source in enumerate(external.models):
            given: dict[str, str] = {}
            family = self.family
            model = self.planner.external(source)
            if isinstance(model, TrainedModel):
                teacher = self.planner.teacher(model.arm, self.seed)
                self.steps += teacher
                given["model"] = teacher[-1].key
            else:
                family = identities.family(model)
            engine = "openai" if isinstance(model, ServedModel) else stage.rollout_engine
            spec = Respond(
                model=None if given else model.id,
                family_id=family,
                questions=self.pool.id,
                engine=engine,
                engine_id=identities.engine(engine),
                asks="question",
                template=form.choice,
                prompt=curation.wording(form.hash),
                samples=external.samples,
                temperature=external.temperature,
                top_p=1.0,
                max_tokens=stage.max_response_tokens,
                max_prompt_tokens=stage.max_prompt_tokens,
                seed=0,
                dtype=self.dtype,
            )
            name = f"external {place + 1}{self.suffix and f' of{self.suffix}'}"
            parents[f"external {place}"] = self._add(
                step(spec, name, f"external-{self.label}", given)
            )
        return parents

    def _by_content(self, stage: Stage) -> Stage:
        """The stage with its external models as content ids, and the rewards of a user's own file
        by identity: where a folder or a file lies, or what an arm is called, is no part of a
        result."""
        terms = []
        for term in stage.rewards:
            if of_file := identities.reward_file(term):
                name, self.planner.reward_files[name] = of_file
                term = term.model_copy(update={"name": name})
            terms.append(term)
        stage = stage.model_copy(update={"rewards": tuple(terms)})
        if stage.external is None:
            return stage
        ids = tuple(self.planner.external(source).id for source in stage.external.models)
        external = stage.external.model_copy(update={"models": ids})
        return stage.model_copy(update={"external": external})
