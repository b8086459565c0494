"""``harness eval``: one model on benchmarks, through the same plan, steps and store as an
experiment.
"""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from backends.base.engine import Server
from benchmarks.plugins import unknown
from harness.errors import HarnessError
from harness.experiment import checks
from harness.experiment.spec import Experiment, Judge
from harness.experiment.yaml_file import dotted
from harness.results import statistics as stats
from harness.store.files import read_json
from harness.store.keys import digest
from harness.store.sources import models
from harness.store.sources.hashes import Hashes

if TYPE_CHECKING:
    from rich.console import Console

_ARM = "model"


def experiment(
    model: str,
    benchmarks: Sequence[Mapping[str, Any]],
    template: str,
    asked: Mapping[str, Any],
    resources: Mapping[str, Any],
    root: Path,
    judge: Judge | None = None,
) -> Experiment:
    """An experiment with one arm that trains nothing. ``asked`` are settings of its evaluation;
    with a ``server`` among them ``model`` is the name that it goes by there. Raises
    :class:`HarnessError`."""
    if not benchmarks:
        raise HarnessError("--benchmarks names no benchmark")
    if len(benchmarks) > 1 and benchmarks[0]["data"] is not None:
        raise HarnessError("--data is the folder of one benchmark; evaluate the others separately")
    hashes = Hashes(root)
    server = asked.get("server")
    source = models.ServedModel.named(server.identity).source if server else model
    name = "eval-" + re.sub(r"[^A-Za-z0-9_.-]+", "-", Path(model).name.partition("@")[0])
    if server:
        name = f"{name[:57]}-{digest(source)[:6]}"
    elif not isinstance(located := models.locate(model, hashes), models.TinyModel):
        # Many folders of trained models are called `checkpoint`.
        name = f"{name[:57]}-{re.split('[:@]', located.id)[-1][:6]}"
    try:
        made = Experiment.model_validate(
            {
                "name": name,
                "model": source,
                "arms": {_ARM: {"method": "none", "template": template}},
                "benchmarks": benchmarks,
                "evaluation": asked,
                "resources": resources,
                "judge": judge,
            }
        )
    except ValidationError as error:
        said = [f"{dotted(e['loc'])}: {e['msg']}" for e in error.errors()]
        raise HarnessError("\n".join(said)) from None
    mistakes = checks.meaning(made, hashes)
    if mistakes:
        raise HarnessError("\n".join(dict.fromkeys(said for _, said in mistakes)))
    return made


def server(model: str, options: Sequence[str]) -> Server | None:
    """The server that ``--server base_url=... --server retries=...`` describe, asked for ``model``;
    None without any. Raises :class:`HarnessError` naming what is wrong."""
    if not options:
        return None
    pairs: dict[str, str] = dict(option.partition("=")[::2] for option in options)
    known = [name for name in Server.model_fields if name != "model"]
    if bad := [name for name in pairs if name not in known]:
        raise HarnessError(f"--server {unknown('setting', bad[0], known)}")
    try:
        return Server.model_validate({"model": model, **pairs})
    except ValidationError as error:
        said = [f"--server {dotted(e['loc'])}: {e['msg']}" for e in error.errors()]
        raise HarnessError("\n".join(said)) from None


def text(spec: Experiment) -> str:
    """The experiment file that would do the same."""
    from ruamel.yaml import YAML

    stream = io.StringIO()
    YAML().dump(spec.model_dump(mode="json", exclude_defaults=True), stream)
    return stream.getvalue()


def show(folder: Path, console: Console) -> None:
    """Print every figure of the evaluation with its n, and how the responses could be read."""
    from rich.markup import escape
    from rich.table import Table

    for trial in sorted((folder / "trials").glob(f"{_ARM}-s*")):
        result = read_json(trial / "result.json")
        if not isinstance(result, dict):
            continue
        for name, score in result["scores"].items():
            step = folder.parent / score["path"]
            summary = read_json(step / "summary.json")
            errors = _errors(step / "values.parquet")
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

    parts: dict[str, tuple[list[float], list[str]]] = {}
    for row in pq.read_table(path, columns=["metric", "cluster", "value"]).to_pylist():
        values, clusters = parts.setdefault(row["metric"], ([], []))
        values.append(row["value"])
        clusters.append(row["cluster"])
    found = {metric: stats.standard_error(*part) for metric, part in parts.items()}
    return {metric: se for metric, se in found.items() if se is not None}
