"""The experiment file as frozen models. An unknown key is an error; the JSON schema is made from
these.

:func:`harness.experiment.checks.read` reads a file into an :class:`Experiment`; what only makes
sense together (names, contradictions, files that must exist) is checked there.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from backends.base.config import Config
from backends.base.engine import Address, Answering, EngineName, Server
from backends.base.resources import Resources
from backends.base.stage import Stage
from backends.base.template import TemplateChoice
from backends.engines.registry import missing, samples_locally
from benchmarks.plugins import Registry
from harness.experiment.settings import Axes, SharedSettings, StageSettings
from harness.store.sources.models import ServedModel
from harness.store.sources.questions import OnBroken

#: What a method *is*. An arm may override these; settings shared by all arms may not, as that would
#: turn every method into the same one.
METHOD_FIELDS = frozenset(StageSettings.model_fields) - frozenset(SharedSettings.model_fields)

Ratio = Annotated[float, Field(ge=0, le=1)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]
#: What lies beside the runs below a root.
_TAKEN = frozenset(("store", "work", "mlflow.db", "mlartifacts"))


def _free(name: str) -> str:
    if name in _TAKEN:
        raise ValueError("expected another name: below a root it is no run's")
    return name


class Arm(StageSettings):
    """One condition of the comparison: a method, and settings that differ from the shared ones."""

    method: str
    backend: str | None = Field(default=None, description="unset: the experiment's")
    questions: str | Annotated[tuple[str, ...], Field(min_length=1)] | None = Field(
        default=None, description="one pool, or a list with one for each stage of the method"
    )
    synthetic_ratio: Ratio = 0.0

    def settings(self) -> dict[str, Any]:
        """The stage settings that this arm sets, nested ones only as far as they are set."""
        own = {"method", "backend", "questions", "synthetic_ratio"}
        return self.model_dump(mode="json", exclude_unset=True, exclude=own)


class Sweep(Axes):
    """Axes of one arm: ``one_factor`` changes one at a time, ``grid`` crosses them."""

    of: str
    design: Literal["one_factor", "grid"] = "one_factor"
    synthetic_ratio: Annotated[tuple[Ratio, ...], Field(min_length=1)] | None = None

    def axes(self) -> dict[str, list[Any]]:
        """Axis name to its values, in the order of the file."""
        dump = self.model_dump(mode="json", exclude_unset=True, exclude={"of", "design"})
        return {name: values for name, values in dump.items() if values is not None}


class Synthesis(Config):
    """How new questions about the pictures of a pool are written (MM-UPT section 3.3)."""

    model: str | None = Field(default=None, description="who writes; unset: the experiment's model")
    mode: Literal["in_context", "direct"] = "in_context"
    count: int | None = Field(default=None, ge=1, description="unset: one per question")
    temperature: float = Field(default=1.0, gt=0)
    top_p: float = Field(default=1.0, gt=0, le=1)
    max_tokens: int = Field(default=512, ge=1, description="of a question")
    seed: int = Field(default=0, ge=0)


class BenchmarkChoice(Config):
    """A benchmark, and where its data is if not in its usual place."""

    name: str
    data: str | None = Field(
        default=None,
        description="a folder, a .tsv or .parquet file, hub:owner/name@<commit>, or tiny/<name>; "
        "of lm_eval:<task>, its include_path",
    )
    split: str | None = Field(
        default=None, description="such as testmini; unset: the one that its owners report"
    )
    scorer: str | None = Field(default=None, description="unset: the benchmark's default scorer")
    limit: int | None = Field(default=None, ge=1, description="about so many items only")
    num_fewshot: int | None = Field(
        default=None, ge=0, description="of lm_eval:<task>; unset: the task's own"
    )


def _named(value: Any) -> Any:
    return {"name": value} if isinstance(value, str) else value


class Extension(Config):
    """An executor or a tracker by name, with parameters of its own."""

    name: str
    parameters: dict[str, Any] = Field(default_factory=dict)


ExtensionChoice = Annotated[
    Extension, BeforeValidator(_named, json_schema_input_type=str | Extension)
]


class Evaluation(Config):
    """How every checkpoint is asked: once greedily, and ``samples`` times at ``temperature``."""

    engine: EngineName | None = Field(
        default=None,
        description="unset: openai where a server is named, vllm where it can run, else hf",
    )
    server: Server | None = Field(
        default=None, description="who is asked, by an engine such as openai"
    )
    template: TemplateChoice | None = Field(
        default=None, description="unset: the one that the arm trains with"
    )
    min_pixels: int | None = Field(default=None, ge=1, description="unset: the processor's own")
    max_pixels: int | None = Field(default=None, ge=1, description="unset: the processor's own")
    greedy: bool = True
    samples: int = Field(default=4, ge=0)
    temperature: float = Field(default=0.7, gt=0)
    top_p: float = Field(default=1.0, gt=0, le=1)
    max_tokens: int | None = Field(
        default=None,
        ge=1,
        description="of a response; unset: as many as the arms train with, or 2048",
    )
    max_prompt_tokens: int = Field(
        default=16384, ge=1, description="pictures included; longer ones are left out and counted"
    )
    seed: int = Field(default=0, ge=0)


class Judge(Answering):
    """The language model behind the scorer ``judge``: on a server that speaks OpenAI's protocol, or
    a local one that an engine loads. Its model and revision are part of the scorer's identity."""

    engine: EngineName = "openai"
    model: str = Field(
        min_length=1, description="as the server calls it; local: `tiny`, a folder, a repository"
    )
    revision: str | None = Field(default=None, description="of the model; a repository's commit")
    base_url: Address | None = Field(
        default=None, description="with the version, as in http://localhost:8000/v1"
    )

    @property
    def local(self) -> bool:
        """Whether the engine loads the model itself."""
        return samples_locally(self.engine)

    @model_validator(mode="after")
    def _consistent(self) -> Judge:
        if not self.local and self.base_url is None:
            raise ValueError(
                f"engine {self.engine} needs a base_url, such as http://localhost:8000/v1; the "
                "engines hf and vllm take a local model"
            )
        if self.local and missing(self.engine) is None and (self.base_url or self.api_key_env):
            raise ValueError(
                f"engine {self.engine} loads the model itself: leave out base_url and api_key_env, "
                "or set engine: openai"
            )
        return self


class Experiment(Config):
    """One experiment file."""

    name: Annotated[Name, AfterValidator(_free)]
    model: str = Field(
        description="`tiny`, a folder, or owner/name@<commit>; left out where a server is asked"
    )
    questions: str | None = Field(
        default=None,
        description="`tiny/train`, a .jsonl or .parquet file, or hub:owner/name@<commit>[split]",
    )
    on_broken_picture: OnBroken = Field(
        default="refuse",
        description="questions with a picture that cannot be shown to a model: refuse them all, or "
        "skip these rows and count them",
    )
    backend: str = "deepspeed"
    training: SharedSettings = SharedSettings()
    arms: Annotated[dict[Name, Arm], Field(min_length=1)]
    sweep: Sweep | None = None
    synthesis: Synthesis = Synthesis()
    servers: tuple[Server, ...] = Field(
        default=(), description="whose models write: `server:<model>` names one as a model"
    )
    seeds: Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(min_length=1)] = (0,)
    benchmarks: tuple[
        Annotated[
            BenchmarkChoice, BeforeValidator(_named, json_schema_input_type=str | BenchmarkChoice)
        ],
        ...,
    ] = ()
    evaluation: Evaluation = Evaluation()
    judge: Judge | None = Field(default=None, description="who is asked by `scorer: judge`")
    baseline: str | None = None
    paper: str | None = Field(default=None, description="published numbers to show beside ours")
    resources: Resources = Resources()
    workers: int | None = Field(default=None, ge=1, description="trials at a time")
    executor: ExtensionChoice = Field(
        default=Extension(name="local"), description="what has the trials run"
    )
    tracker: ExtensionChoice = Field(
        default=Extension(name="mlflow"), description="what mirrors the run elsewhere"
    )

    @model_validator(mode="before")
    @classmethod
    def _served(cls, data: Any) -> Any:
        """Where a server is asked, the model is what it serves."""
        if isinstance(data, dict) and "model" not in data:
            evaluation = data.get("evaluation")
            server = evaluation.get("server") if isinstance(evaluation, dict) else None
            if isinstance(server, dict) and isinstance(name := server.get("model"), str):
                revision = server.get("revision")
                served = ServedModel.named(f"{name}@{revision}" if revision else name)
                return {"model": served.source, **data}
        return data


def schema() -> dict[str, Any]:
    """The JSON schema of an experiment file, for editors; committed as
    ``schema/experiment.schema.json``.
    """
    made = Experiment.model_json_schema()
    _drop_empty_defaults(made)
    parts = made["$defs"]
    for name in ("SharedSettings", "Arm", "Sweep"):
        _like_the_stage(parts[name]["properties"], axes=name == "Sweep")
    for (part, name), examples in _examples().items():
        (parts[part] if part else made)["properties"][name]["examples"] = examples
    return {"$schema": "http://json-schema.org/draft-07/schema#", **made}


def _like_the_stage(settings: dict[str, Any], axes: bool) -> None:
    """Say of a stage's settings what the stage says of them; null only where it is a value."""
    for name, info in Stage.model_fields.items():
        if name not in settings:
            continue
        shown = settings[name]
        if info.description:
            shown["description"] = info.description
        if axes or type(None) not in get_args(info.annotation):
            (only,) = [kind for kind in shown.pop("anyOf") if kind != {"type": "null"}]
            shown |= only


def _examples() -> dict[tuple[str, str], list[str]]:
    """Our own names, by the part of the schema and the key that takes them. Packages add others, so
    that no list is complete."""
    from backends.methods import METHODS
    from backends.registry import BACKENDS
    from backends.rewards import REWARDS
    from benchmarks.prompts import OFFICIAL, templates
    from benchmarks.registry import BENCHMARKS
    from harness import papers

    return {
        ("Arm", "method"): _ours(METHODS),
        ("Arm", "template"): _ours(templates()),
        ("Arm", "backend"): _ours(BACKENDS),
        ("", "backend"): _ours(BACKENDS),
        ("", "paper"): papers.names(),
        ("RewardTerm", "name"): _ours(REWARDS),
        ("BenchmarkChoice", "name"): _ours(BENCHMARKS),
        ("Evaluation", "template"): [*_ours(templates()), OFFICIAL],
    }


def _ours(known: Registry | Mapping[str, Any]) -> list[str]:
    if isinstance(known, Registry):
        return [name for name, extension in known.all().items() if extension.ours]
    return list(known)


def _drop_empty_defaults(node: Any) -> None:
    """A setting that may be left out has no default of its own to show."""
    if isinstance(node, dict):
        if "default" in node and node["default"] is None:
            del node["default"]
        for child in node.values():
            _drop_empty_defaults(child)
    elif isinstance(node, list):
        for child in node:
            _drop_empty_defaults(child)


if __name__ == "__main__":
    import json
    from pathlib import Path

    target = Path(__file__).parents[1] / "schema" / "experiment.schema.json"
    target.write_text(json.dumps(schema(), indent=1) + "\n")
