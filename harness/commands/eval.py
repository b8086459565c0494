"""``harness eval``: one model on benchmarks, through the same plan, steps and store as an
experiment.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from harness.commands.options import ROOT, JudgeOptions, Root, ServerOptions, with_fields
from harness.console import console

if TYPE_CHECKING:
    from rich.console import Console

    from backends.base.engine import Server
    from harness.experiment.spec import Experiment

_ARM = "model"


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What is evaluated, and how it is asked."""

    model: Annotated[
        str, typer.Option(help="`tiny`, a model folder, owner/name@<commit>, or a server's name.")
    ]
    benchmarks: Annotated[
        str, typer.Option(help="Names, separated by commas, such as wemath,mathvista.")
    ]
    data: Annotated[
        str | None,
        typer.Option(help="The folder of the benchmark's files (one benchmark), or tiny/<name>."),
    ] = None
    split: Annotated[
        str | None, typer.Option(help="Of the benchmark's data. Default: its usual one.")
    ] = None
    scorer: Annotated[
        str | None, typer.Option(help="`harness list scorers`. Default: the benchmark's own.")
    ] = None
    judge: JudgeOptions = None
    template: Annotated[str, typer.Option(help="The prompt; `harness list prompts`.")] = "boxed"
    samples: Annotated[
        int, typer.Option(min=0, help="Samples an item, beside the greedy answer.")
    ] = 0
    greedy: Annotated[bool, typer.Option(help="Ask for the greedy answer.")] = True
    temperature: Annotated[float, typer.Option(help="Of the samples.")] = 0.7
    top_p: Annotated[float, typer.Option(help="Of the samples.")] = 1.0
    seed: Annotated[int, typer.Option(min=0, help="Of the samples.")] = 0
    max_tokens: Annotated[int | None, typer.Option(min=1, help="Of a response. Default: 2048.")] = (
        None
    )
    max_prompt_tokens: Annotated[
        int | None,
        typer.Option(min=1, help="Longer prompts are left out and counted. Default: 16384."),
    ] = None
    min_pixels: Annotated[int | None, typer.Option(help="Smaller pictures are enlarged to it.")] = (
        None
    )
    max_pixels: Annotated[int | None, typer.Option(help="Larger pictures are shrunk to it.")] = None
    engine: Annotated[
        str | None,
        typer.Option(help="hf, vllm or openai. Default: openai with --server, vllm where it runs."),
    ] = None
    server: ServerOptions = None
    limit: Annotated[
        int | None, typer.Option(min=1, help="About this many items only; labelled as a subset.")
    ] = None
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto"
    dtype: Annotated[
        str | None,
        typer.Option(help="float32 or bfloat16. Default: bfloat16 on a GPU, float32 on a CPU."),
    ] = None
    threads: Annotated[
        int | None, typer.Option(min=1, help="Of the processor. Default: one for each core.")
    ] = None
    root: Root = ROOT


@with_fields
def command(settings: Settings) -> None:
    """Evaluate a model on benchmarks and print all their official figures, each with its n."""
    from harness.commands.run import execute, print_outcome

    spec = experiment(settings)
    outcome = execute(spec, text(spec), settings.root, 1, tracking=False)
    show(settings.root / spec.name, console())
    print_outcome(outcome, settings.root / spec.name)


def experiment(settings: Settings) -> Experiment:
    """An experiment with one arm that trains nothing. Raises :class:`HarnessError`."""
    from pydantic import ValidationError

    from harness import environment
    from harness.errors import HarnessError
    from harness.experiment import checks, judges
    from harness.experiment.spec import Experiment
    from harness.experiment.yaml_file import dotted
    from harness.store.sources.hashes import Hashes
    from harness.store.sources.models import ServedModel

    names = [name.strip() for name in settings.benchmarks.split(",") if name.strip()]
    if not names:
        raise HarnessError("--benchmarks names no benchmark")
    if len(names) > 1 and settings.data is not None:
        raise HarnessError("--data is the folder of one benchmark; evaluate the others separately")
    hashes = Hashes(settings.root)
    reached = server(settings.model, settings.server or [])
    choice = {name: getattr(settings, name) for name in ("data", "split", "scorer", "limit")}
    asked = {name: getattr(settings, name) for name in _ASKED}
    resources = {
        "device": settings.device,
        "dtype": settings.dtype,
        "threads": settings.threads or environment.cores(),
    }
    try:
        made = Experiment.model_validate(
            {
                "name": _name(settings.model, reached, hashes),
                "model": ServedModel.named(reached.identity).source if reached else settings.model,
                "arms": {_ARM: {"method": "none", "template": settings.template}},
                "benchmarks": [{"name": name, **choice} for name in names],
                "evaluation": _given(asked | {"server": reached}),
                "resources": _given(resources),
                "judge": judges.from_options(settings.judge or []),
            }
        )
    except ValidationError as error:
        lines = [f"{dotted(e['loc'])}: {e['msg']}" for e in error.errors()]
        raise HarnessError("\n".join(lines)) from None
    mistakes = checks.meaning(made, hashes)
    if mistakes:
        raise HarnessError("\n".join(dict.fromkeys(line for _, line in mistakes)))
    return made


def _given(settings: dict[str, Any]) -> dict[str, Any]:
    """Without what was left to an experiment's own defaults."""
    return {name: value for name, value in settings.items() if value is not None}


#: Settings that are the evaluation's own, by the same names.
_ASKED = (
    "engine",
    "min_pixels",
    "max_pixels",
    "greedy",
    "samples",
    "temperature",
    "top_p",
    "seed",
    "max_tokens",
    "max_prompt_tokens",
)


def _name(model: str, reached: Server | None, hashes: Any) -> str:
    """The run's name: the model's, and what tells it from others that are called the same."""
    import re

    from harness.store.keys import digest
    from harness.store.sources import models

    name = "eval-" + re.sub(r"[^A-Za-z0-9_.-]+", "-", Path(model).name.partition("@")[0])
    if reached:
        return f"{name[:57]}-{digest(models.ServedModel.named(reached.identity).source)[:6]}"
    located = models.locate(model, hashes)
    if isinstance(located, models.TinyModel):
        return name
    content = re.split("[:@]", located.id)[-1]
    return f"{name[:57]}-{content[:6]}"  # many folders of trained models are called `checkpoint`


def server(model: str, options: Sequence[str]) -> Server | None:
    """The server that ``--server base_url=... --server retries=...`` describe, asked for ``model``;
    None without any. Raises :class:`HarnessError` naming what is wrong."""
    from pydantic import ValidationError

    from backends.base.engine import Server
    from benchmarks.plugins import unknown
    from harness.errors import HarnessError
    from harness.experiment.yaml_file import dotted

    if not options:
        return None
    pairs: dict[str, str] = dict(option.partition("=")[::2] for option in options)
    known = [name for name in Server.model_fields if name != "model"]
    if bad := [name for name in pairs if name not in known]:
        raise HarnessError(f"--server {unknown('setting', bad[0], known)}")
    try:
        return Server.model_validate({"model": model, **pairs})
    except ValidationError as error:
        lines = [f"--server {dotted(e['loc'])}: {e['msg']}" for e in error.errors()]
        raise HarnessError("\n".join(lines)) from None


def text(spec: Experiment) -> str:
    """The experiment file that would do the same."""
    import io

    from ruamel.yaml import YAML

    stream = io.StringIO()
    YAML().dump(spec.model_dump(mode="json", exclude_defaults=True), stream)
    return stream.getvalue()


def show(folder: Path, console: Console) -> None:
    """Print every figure of the evaluation with its n, and how the responses could be read."""
    from rich.markup import escape
    from rich.table import Table

    from harness.results import reading
    from harness.results import statistics as stats
    from harness.store.files import read_json

    for trial in reading.load(folder).trials:
        for name, found in trial.scores.items():
            score = found.info
            summary = read_json(found.path / "summary.json")
            errors = _errors(found.path / "values.parquet")
            n, of = score["n"], score["of"]
            items = f"SUBSET of {n} of {of} items" if n < of else f"{n} items"
            table = Table(
                title=f"{name}: {items}", title_justify="left", title_style="bold", box=None
            )
            table.add_column("figure")
            for column in ("value", "", "n"):
                table.add_column(column, justify="right")
            for metric, value in summary["metrics"].items():
                n = summary["ns"].get(metric)
                se = stats.points(errors.get(metric))
                table.add_row(metric, f"{100 * value:.1f}", se, "" if n is None else str(n))
            for metric in summary.get("undefined", ()):
                table.add_row(metric, "undefined", "", "")
            console.print(table)
            counts = summary["counts"]
            unread = ", ".join(f"{v} {k}" for k, v in counts.items() if k != "n" and v)
            console.print(
                f"[dim]{counts['n']} responses{': ' + unread if unread else ''}. "
                f"Scorer {escape(score['scorer'])}, prompt {escape(score['prompt'])}, "
                f"data {escape(score['data'])}. ±: standard errors over questions, clustered by "
                "shared context.[/]\n",
                soft_wrap=True,
            )
            for difference in score["differences"]:
                console.print(f"[yellow]not as published:[/] {escape(difference)}", soft_wrap=True)


def _errors(path: Path) -> dict[str, float]:
    """The standard error of each metric in a score step's ``values.parquet``, where it has one."""
    import pyarrow.parquet as pq

    from harness.results import statistics as stats

    parts: dict[str, tuple[list[float], list[str]]] = {}
    for row in pq.read_table(path, columns=["metric", "cluster", "value"]).to_pylist():
        values, clusters = parts.setdefault(row["metric"], ([], []))
        values.append(row["value"])
        clusters.append(row["cluster"])
    errors = {metric: stats.standard_error(*part) for metric, part in parts.items()}
    return {metric: se for metric, se in errors.items() if se is not None}
