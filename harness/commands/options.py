"""Options that several verbs share, and a command's options as one object."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer

ROOT = Path("runs")

Root = Annotated[
    Path,
    typer.Option("--root", help="Where runs and the store of results are.", envvar="HARNESS_ROOT"),
]
ExperimentFile = Annotated[Path, typer.Argument(help="The experiment file (YAML).")]
RunFolder = Annotated[Path, typer.Argument(help="A run's folder, such as runs/tiny-ablation.")]
JudgeOptions = Annotated[
    list[str] | None,
    typer.Option(
        "--judge",
        help="Of scorer judge, repeated: model=NAME base_url=URL, or model=FOLDER engine=hf; also "
        "revision, api_key_env, concurrency, timeout, retries.",
    ),
]
GoldFiles = Annotated[
    str | None,
    typer.Option(
        "--data",
        help="The benchmark's files, where FILE holds no golds; of lm_eval:<task>, its folder.",
    ),
]
ServerOptions = Annotated[
    list[str] | None,
    typer.Option(
        "--server",
        help="Of engine openai, repeated: base_url=URL; also revision, api_key_env, concurrency, "
        "timeout, retries. --model is then the name that the server knows.",
    ),
]


def with_fields(function: Callable[[Any], None]) -> Callable[..., None]:
    """A command whose options are the fields of the one dataclass that ``function`` takes."""
    settings = next(iter(get_type_hints(function).values()))
    hints = get_type_hints(settings, include_extras=True)

    def command(**options: Any) -> None:
        function(settings(**options))

    parameters = [
        inspect.Parameter(
            each.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=inspect.Parameter.empty if each.default is MISSING else each.default,
            annotation=hints[each.name],
        )
        for each in fields(settings)
    ]
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = hints
    command.__doc__ = function.__doc__
    return command


TrackingUri = Annotated[
    str | None,
    typer.Option(
        help="Address of the tracker, instead of the file's. MLflow's is MLFLOW_TRACKING_URI where "
        "neither says one, else <root>/mlflow.db."
    ),
]
