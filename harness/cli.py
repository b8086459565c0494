"""The command line. Every verb imports what it needs, so that ``harness --help`` is instant."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from harness.experiment.spec import Experiment
    from harness.plan.planner import Plan
    from harness.run.runner import Outcome

app = typer.Typer(
    name="harness",
    help="Train, evaluate and compare RL post-training methods of multimodal models: one "
    "experiment file, paired seeds, official scorers, a table with intervals.",
    epilog="Start with: harness run experiments/ablation.yaml",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)

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
ServerOptions = Annotated[
    list[str] | None,
    typer.Option(
        "--server",
        help="Of engine openai, repeated: base_url=URL; also revision, api_key_env, concurrency, "
        "timeout, retries. --model is then the name that the server knows.",
    ),
]
_ROOT = Path("runs")
#: Typer does not export it under a name of its own.
_UsageError: Any = typer.BadParameter.__base__


@app.command()
def run(
    experiment: ExperimentFile,
    root: Root = _ROOT,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Trials at a time (default: GPUs, or cores).")
    ] = None,
    tracking: Annotated[bool, typer.Option(help="Mirror the run to MLflow.")] = True,
) -> None:
    """Train and score every arm of an experiment, then print its table.

    What the store holds already is not run again: stop it at any moment and run the same command to
    go on. Exit code 1 if a trial failed, 2 if the experiment file has a mistake, 130 if
    interrupted.
    """
    from harness.experiment import checks

    spec, text = checks.read(experiment, root)
    outcome = _execute(spec, text, root, workers, tracking)
    folder = root / spec.name
    _print_report(folder)
    _summary(outcome, folder)


@app.command()
def plan(experiment: ExperimentFile, root: Root = _ROOT) -> None:
    """Show what `run` would do: trials, what the store holds, what each costs. Creates nothing."""
    from harness.commands import tables as planned
    from harness.experiment import checks
    from harness.plan.planner import make
    from harness.store.sources import Hashes

    spec, _ = checks.read(experiment, root)
    planned.show(make(spec, Hashes(root)), root, _console())


@app.command("eval")
def evaluate(
    model: Annotated[
        str, typer.Option(help="`tiny`, a model folder, owner/name@<commit>, or a server's name.")
    ],
    benchmarks: Annotated[
        str, typer.Option(help="Names, separated by commas, such as wemath,mathvista.")
    ],
    data: Annotated[
        str | None,
        typer.Option(help="The folder of the benchmark's files (one benchmark), or tiny/<name>."),
    ] = None,
    split: Annotated[
        str | None, typer.Option(help="Of the benchmark's data. Default: its usual one.")
    ] = None,
    scorer: Annotated[
        str | None, typer.Option(help="`harness list scorers`. Default: the benchmark's own.")
    ] = None,
    judge: JudgeOptions = None,
    template: Annotated[str, typer.Option(help="The prompt; `harness list prompts`.")] = "boxed",
    samples: Annotated[
        int, typer.Option(min=0, help="Samples an item, beside the greedy answer.")
    ] = 0,
    greedy: Annotated[bool, typer.Option(help="Ask for the greedy answer.")] = True,
    temperature: Annotated[float, typer.Option(help="Of the samples.")] = 0.7,
    top_p: Annotated[float, typer.Option(help="Of the samples.")] = 1.0,
    seed: Annotated[int, typer.Option(min=0, help="Of the samples.")] = 0,
    max_tokens: Annotated[int, typer.Option(min=1, help="Of a response.")] = 1024,
    max_prompt_tokens: Annotated[
        int, typer.Option(min=1, help="Longer prompts are left out and counted.")
    ] = 4096,
    min_pixels: Annotated[
        int | None, typer.Option(help="Smaller pictures are enlarged to it.")
    ] = None,
    max_pixels: Annotated[
        int | None, typer.Option(help="Larger pictures are shrunk to it.")
    ] = None,
    engine: Annotated[str, typer.Option(help="hf, vllm or openai.")] = "hf",
    server: ServerOptions = None,
    limit: Annotated[
        int | None, typer.Option(min=1, help="About this many items only; labelled as a subset.")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    dtype: Annotated[str, typer.Option(help="float32 or bfloat16.")] = "float32",
    threads: Annotated[
        int | None, typer.Option(min=1, help="Of the processor. Default: one for each core.")
    ] = None,
    root: Root = _ROOT,
) -> None:
    """Evaluate a model on benchmarks and print all their official figures, each with its n."""
    from harness import environment
    from harness.commands import evaluation
    from harness.experiment import judges

    names = [name.strip() for name in benchmarks.split(",") if name.strip()]
    asked = {
        "engine": engine,
        "server": evaluation.server(model, server or []),
        "min_pixels": min_pixels,
        "max_pixels": max_pixels,
        "greedy": greedy,
        "samples": samples,
        "temperature": temperature,
        "top_p": top_p,
        "seed": seed,
        "max_tokens": max_tokens,
        "max_prompt_tokens": max_prompt_tokens,
    }
    spec = evaluation.experiment(
        model=model,
        benchmarks=[
            {"name": name, "data": data, "split": split, "scorer": scorer, "limit": limit}
            for name in names
        ],
        template=template,
        asked=asked,
        resources={"device": device, "dtype": dtype, "threads": threads or environment.cores()},
        judge=judges.from_options(judge or []),
        root=root,
    )
    outcome = _execute(spec, evaluation.text(spec), root, 1, tracking=False)
    evaluation.show(root / spec.name, _console())
    _summary(outcome, root / spec.name)


@app.command()
def rescore(
    file: Annotated[
        Path,
        typer.Argument(
            help="A published result file (.json, .jsonl, .tsv, .csv, .xlsx), generations.parquet, "
            "or a trial's, score's or generate step's folder."
        ),
    ],
    benchmark: Annotated[
        str | None, typer.Option(help="Default: what the file says it is of.")
    ] = None,
    scorer: Annotated[
        list[str] | None,
        typer.Option(help="May be repeated; `harness list scorers`. Default: the benchmark's own."),
    ] = None,
    judge: JudgeOptions = None,
    data: Annotated[
        str | None, typer.Option(help="The benchmark's files, where FILE holds no golds.")
    ] = None,
    split: Annotated[str | None, typer.Option(help="Of --data. Default: its usual one.")] = None,
    out: Annotated[
        Path | None, typer.Option(help="Write every verdict here, one JSON object a line.")
    ] = None,
    disagreements: Annotated[
        Path | None, typer.Option(help="Write every response that scorers differ on here.")
    ] = None,
    show: Annotated[int, typer.Option(min=0, help="Print so many of them.")] = 20,
    workers: Annotated[int, typer.Option(min=1, help="Processes.")] = 1,
    vlmevalkit_python: Annotated[
        Path | None,
        typer.Option(help="Also score with the VLMEvalKit that this Python interpreter has."),
    ] = None,
    root: Root = _ROOT,
) -> None:
    """Score saved responses with one or several scorers, and list what they differ on.

    Only the scorer judge asks a model; what it said is kept below the root, and asked once.
    """
    from dataclasses import asdict

    from harness.experiment import judges
    from harness.rescoring import saved
    from harness.rescoring import scoring as rescore

    for target in filter(None, (out, disagreements)):
        rescore.writable(target)
    settings = judges.from_options(judge or [])
    answers = saved.load(file, benchmark, data, split, root)
    with _console(stderr=True).status("scoring") as shown:

        def tell(done: int, total: int) -> None:
            shown.update(f"judged {done} of {total}")

        by = rescore.Judging(settings, root, progress=tell) if settings else None
        scored = rescore.score(answers, scorer or [], workers, by)
    theirs = None
    if vlmevalkit_python is not None:
        from harness.interop.vlmevalkit import bridge

        theirs = bridge.score(answers, vlmevalkit_python)
        scored += theirs.scored
    if out is not None:
        rescore.write(out, rescore.rows(answers, scored))
    if disagreements is not None:
        rescore.write(disagreements, map(asdict, rescore.differences(answers, scored)))
    rescore.show(answers, scored, _console(), show)
    for note in (*answers.notes, *(theirs.notes if theirs else ())):
        _console().print(f"Note: {note}", markup=False)
    if theirs and theirs.figures:
        said = ", ".join(f"{name} {value}" for name, value in theirs.figures.items())
        _console().print(f"VLMEvalKit's own figures: {said}", markup=False)


@app.command()
def export(
    file: Annotated[
        Path,
        typer.Argument(help="A run's folder (every trial and benchmark), or what `rescore` takes."),
    ],
    out: Annotated[Path, typer.Option(help="The folder to write to, a folder a model in it.")],
    format: Annotated[str, typer.Option(help="vlmevalkit.")] = "vlmevalkit",
    benchmark: Annotated[str | None, typer.Option(help="Default: every one that is there.")] = None,
    model: Annotated[
        str | None, typer.Option(help="The model's name in the files. Default: run and trial.")
    ] = None,
    data: Annotated[
        str | None, typer.Option(help="The benchmark's files, where FILE holds no golds.")
    ] = None,
) -> None:
    """Write saved responses in the format of another toolkit, for its scorer."""
    from benchmarks.plugins import unknown
    from harness.errors import HarnessError
    from harness.interop.vlmevalkit.export import export_all

    if format != "vlmevalkit":
        raise HarnessError(unknown("format", format, ["vlmevalkit"]))
    for each in export_all(file, benchmark, data, model, out):
        subset = "" if each.n == each.total else f" (SUBSET of {each.total})"
        print(f"{each.path}: {each.n} responses{subset} to {each.dataset}")
        for item, why in each.changed.items():
            print(f"  changed: item {item}: {why}")


@app.command()
def status(run_folder: RunFolder) -> None:
    """Show where each trial of a run is, also while it runs."""
    from harness.commands import tables as planned

    planned.show_status(run_folder, _console())


@app.command("report")
def report_(
    run_folder: RunFolder,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON; nothing is written.")] = False,
) -> None:
    """Write a run's report again from its files, and print its table."""
    import json

    from harness.results import report

    _of_a_run(run_folder)
    if as_json:
        typer.echo(json.dumps(report.as_json(run_folder), indent=1))
        return
    folder = report.write(run_folder)
    report.print_table(run_folder)
    _console().print(f"Report: {folder / 'report.md'}", markup=False)


@app.command("list")
def list_(
    section: Annotated[
        str | None, typer.Argument(help="Only this one, such as prompts or benchmarks.")
    ] = None,
) -> None:
    """List methods, rewards, prompts, benchmarks, scorers and backends."""
    from harness.commands import listing

    listing.show(_console(), section)


@app.command()
def doctor(
    data: Annotated[
        str | None, typer.Option(help="Check this data of a benchmark instead, as in `data:`.")
    ] = None,
    benchmark: Annotated[str, typer.Option(help="The benchmark of --data.")] = "",
    split: Annotated[str | None, typer.Option(help="Default: the usual one.")] = None,
    root: Root = _ROOT,
) -> None:
    """Check this machine: packages, accelerators, disk, the store, and the tiny model. With --data:
    rows, pictures and golds of a benchmark's data, against what its owners published."""
    from harness.commands import machine as doctor
    from harness.plan import published_data as files
    from harness.store.results import Store

    if data is not None:
        if not files.show(_console(), benchmark, data, split, Store(root)):
            raise typer.Exit(1)
        return
    if not doctor.show(_console(), root):
        raise typer.Exit(1)


@app.command()
def ui(
    root: Root = _ROOT, port: Annotated[int, typer.Option(help="Port on 127.0.0.1.")] = 5000
) -> None:
    """Open the MLflow page of the runs below a root, on this machine only."""
    from harness.results import mlflow_mirror as tracking

    command = tracking.ui_command(root, port)
    os.execvp(command[0], command)


@app.command()
def sync(run_folder: RunFolder) -> None:
    """Rebuild a run's MLflow mirror from its files."""
    from harness.results import mlflow_mirror as tracking

    _of_a_run(run_folder)
    tracking.sync(run_folder, run_folder.resolve().parent)
    _console().print(f"Mirrored {run_folder}; `harness ui` shows it", markup=False)


def _execute(
    spec: Experiment, text: str, root: Path, workers: int | None, tracking: bool
) -> Outcome:
    from harness.plan import published_data as data
    from harness.plan.planner import make
    from harness.run import display
    from harness.run.runner import Runner
    from harness.store.results import Store
    from harness.store.sources import Hashes

    hashes = Hashes(root)
    made = make(spec, hashes)
    root.mkdir(parents=True, exist_ok=True)
    hashes.save()
    for line in data.unlike(made, Store(root)):
        _console(stderr=True).print(f"Note: {line}", markup=False, soft_wrap=True)
    mirror = _mirror(made, root) if tracking else None
    runner = Runner(made, root, display.observer(_console()), mirror, workers or spec.workers)
    try:
        return runner.run(spec, text)
    except KeyboardInterrupt:
        _console(stderr=True).print(
            f"\nInterrupted. What is done is in {root}; the same command goes on from there.",
            markup=False,
        )
        raise typer.Exit(130) from None


def _of_a_run(folder: Path) -> None:
    from harness.errors import HarnessError

    if not (folder / "plan.json").is_file():
        raise HarnessError(f"{folder}: no run here; expected a plan.json, as in runs/<name>")


def _mirror(made: Plan, root: Path) -> Any:
    from harness.results.mlflow_mirror import Mirror

    return Mirror(root / made.name, root)


def _summary(outcome: Outcome, folder: Path) -> None:
    from rich.markup import escape

    console = _console()
    if not outcome.worked:
        console.print("[dim]Everything was in the store; nothing was run.[/]")
    for name, reason in outcome.failed.items():
        log = folder / "trials" / name / "log.txt"
        said = escape(f"{name}: {reason}")
        console.print(f"[red]failed[/] {said} [dim]({escape(str(log))})[/]", soft_wrap=True)
    console.print(f"[dim]Results: {escape(str(folder))}[/]", soft_wrap=True)
    if outcome.failed:
        console.print("The same command tries the failed trials again.")
        raise typer.Exit(1)


def _print_report(folder: Path) -> None:
    """Print the report's tables; compute them only if a trial is newer than the last report, or
    another version wrote it.
    """
    from pydantic import ValidationError

    from harness.results import report
    from harness.results.report import terminal
    from harness.results.report.model import Report

    written = folder / "report" / "report.json"
    if not _is_newest(written, folder):
        report.write(folder)
    try:
        made = Report.model_validate_json(written.read_bytes())
    except ValidationError:
        report.write(folder)
        made = Report.model_validate_json(written.read_bytes())
    terminal.show(made)


def _is_newest(file: Path, folder: Path) -> bool:
    """Whether a file is there and newer than everything that it was made from."""
    if not file.exists():
        return False
    made_from = [folder / "plan.json"]
    for name in ("result.json", "status.json"):  # a trial that fails leaves a status only
        made_from += folder.glob(f"trials/*/{name}")
    return all(file.stat().st_mtime >= each.stat().st_mtime for each in made_from if each.exists())


def _console(stderr: bool = False) -> Console:
    from harness.console import console

    return console(stderr)


def main() -> None:
    """Entry point: a user's mistake is one message on stderr and exit code 2, what the system
    refuses is one and exit code 1, never a traceback.
    """
    from harness.errors import HarnessError

    try:
        sys.exit(app(standalone_mode=False))
    except _UsageError as error:  # typer's own panel would wrap it
        error.show()
        sys.exit(error.exit_code)
    except typer.Abort:
        print("aborted", file=sys.stderr)
        sys.exit(1)
    except HarnessError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
    except OSError as error:
        where = "" if error.filename is None else f"{error.filename}: "
        said = error.strerror or " ".join(str(error).split()) or type(error).__name__
        if isinstance(error, (FileExistsError, NotADirectoryError)):
            said = "a folder is needed here, and there is a file"
        print(f"{where}{said}", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
