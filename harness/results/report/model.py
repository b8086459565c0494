"""What ``report.json`` holds. Its JSON schema is written beside it as ``report.schema.json``.

Scores are fractions in [0, 1]; the tables print them in points (times 100).
"""

from __future__ import annotations

from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    @classmethod
    def from_result(cls, result: object, **own: Any) -> Self:
        """The part whose fields are ``own``, and else those of the same name of a result."""
        names = [name for name in cls.model_fields if name not in own and hasattr(result, name)]
        return cls(**{name: getattr(result, name) for name in names}, **own)


class Delta(_Part):
    """A paired difference to a reference row."""

    to: str = Field(description="label of the row that is subtracted")
    mean: float | None = Field(default=None, description="mean paired difference")
    low: float | None = Field(default=None, description="lower end of the 95 % interval")
    high: float | None = Field(default=None, description="upper end of the 95 % interval")
    p: float | None = Field(
        default=None, description="two-sided p-value of mean = 0, before correction"
    )
    p_holm: float | None = Field(
        default=None, description="p after Holm's correction over the rows"
    )
    df: float | None = Field(default=None, description="degrees of freedom of the t distribution")
    seeds: int = Field(default=0, description="paired seeds that the interval rests on")
    star: bool = Field(default=False, description="p_holm < 0.05 with at least two seeds")
    refused: str = Field(
        default="", description="why there is no comparison; empty where there is one"
    )


class Cell(_Part):
    """One metric of one row over its seeds."""

    mean: float | None = Field(default=None, description="mean over seeds and units")
    sd: float | None = Field(
        default=None, description="sample sd of the per-seed means; null: one value"
    )
    low: float | None = Field(default=None, description="lower end of the mean's own 95 % interval")
    high: float | None = Field(
        default=None, description="upper end of the mean's own 95 % interval"
    )
    n: int | None = Field(default=None, description="units (items, or groups) a seed")
    clusters: int | None = Field(default=None, description="clusters of units that share context")
    per_seed: dict[str, float] = Field(default_factory=dict, description="mean of each seed")
    shared: bool = Field(
        default=False, description="all seeds point to one evaluation (untrained model)"
    )
    sources: list[str] = Field(default_factory=list, description="store paths of the unit values")
    delta: Delta | None = None
    refused: str = Field(default="", description="why there is no number; empty where there is one")


class TrialRecord(_Part):
    """Where a row's numbers come from."""

    id: str
    seed: int
    state: str = Field(description="ok, failed or missing")
    reason: str = ""
    seconds: float | None = None
    steps: list[dict[str, Any]] = Field(default_factory=list, description="kind, key, store path")
    training: list[str] = Field(default_factory=list, description="training curves (JSON lines)")
    log: str = ""


class Pace(_Part):
    """Seconds of training steps, over all steps of all finished seeds."""

    median: float
    low: float = Field(description="lower quartile")
    high: float = Field(description="upper quartile")
    steps: int


class Row(_Part):
    """One condition: an arm, or a point of its sweep."""

    label: str
    arm: str
    point: dict[str, Any] = Field(default_factory=dict)
    method: str = ""
    baseline: bool = False
    differences: list[str] = Field(
        default_factory=list, description="settings unlike the baseline's"
    )
    trials: list[TrialRecord]
    cells: dict[str, Cell] = Field(description="metric name -> cell")
    other: dict[str, dict[str, float]] = Field(
        default_factory=dict, description="every other recorded metric: name -> seed -> value"
    )

    counts: dict[str, dict[str, int]] = Field(
        default_factory=dict,
        description="benchmark -> responses (n) and those counted apart: unparsed, truncated, ...",
    )
    pace: Pace | None = Field(default=None, description="null: an arm that trains nothing")

    @property
    def ok(self) -> int:
        return sum(t.state == "ok" for t in self.trials)


class Metric(_Part):
    """One column."""

    name: str
    benchmark: str
    kind: str = Field(description="headline or sampled")


class BenchmarkRecord(_Part):
    """What was asked and who judged."""

    name: str
    title: str
    headline: str
    n: int | None = None
    units: int | None = Field(default=None, description="units of the headline metric")
    limit: int | None = Field(default=None, description="only this many items were asked")
    of: int | None = Field(default=None, description="items of the whole benchmark as published")
    differences: tuple[str, ...] = Field(
        default=(), description="what the data holds otherwise than its owners published"
    )
    data: str = ""
    scorer: str = ""
    decoding: str = ""
    prompts: dict[str, str] = Field(default_factory=dict, description="row label -> prompt")


class SweepTable(_Part):
    """A declared sweep of one arm; ``rows`` are its points, the arm itself first."""

    of: str
    axes: dict[str, list[Any]]
    default: dict[str, Any]
    rows: list[Row]


class Pair(_Part):
    """Two arms that differ in nothing but the backend that trained them."""

    first: str = Field(description="label of the row that is subtracted")
    second: str
    backends: tuple[str, str]
    deltas: dict[str, Delta] = Field(description="headline metric -> second minus first")


class Published(_Part):
    """Numbers a paper printed, shown beside ours and never tested against them."""

    name: str
    title: str
    source: str
    model: str
    judge: str
    caveat: str
    notes: list[str]
    tables: list[dict[str, Any]]


class Report(_Part):
    """Everything that the report says, machine-readable."""

    version: int = 1
    name: str
    written: str = Field(description="UTC time")
    model: str
    baseline: str | None
    seeds: list[int]
    environment: dict[str, Any]
    benchmarks: list[BenchmarkRecord]
    metrics: list[Metric]
    rows: list[Row] = Field(description="the arms, in the order of the plan")
    sweep: SweepTable | None = None
    holes: list[str] = Field(description="trials that are failed or missing, with their reasons")
    footnotes: list[str]
    pairs: list[Pair] = Field(
        default_factory=list, description="arms that differ only in their backend"
    )
    published: Published | None = None
    figures: dict[str, str] = Field(default_factory=dict, description="file stem -> caption")
