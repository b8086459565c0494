"""``harness rescore``: saved responses under one or several scorers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.commands.options import ROOT, GoldFiles, JudgeOptions, Root
from harness.console import console


def command(
    file: Annotated[
        Path,
        typer.Argument(
            help="A result file of a benchmark's owners or of VLMEvalKit (.json, .jsonl, .tsv, "
            ".csv, .xlsx), a sample log of lm-eval or lmms-eval (.jsonl, by --log_samples), "
            "generations.parquet, or a trial's, score's or generate step's folder."
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
    data: GoldFiles = None,
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
    root: Root = ROOT,
) -> None:
    """Score saved responses with one or several scorers, and list what they differ on.

    Only the scorer judge asks a model; what it said is kept below the root, and asked once.
    """
    from dataclasses import asdict

    from harness.experiment import judges
    from harness.rescoring import saved, scoring

    for target in filter(None, (out, disagreements)):
        scoring.writable(target)
    settings = judges.from_options(judge or [])
    answers = saved.load(file, benchmark, data, split, root)
    with console(stderr=True).status("scoring") as shown:

        def tell(done: int, total: int) -> None:
            shown.update(f"judged {done} of {total}")

        judging = scoring.Judging(settings, root, progress=tell) if settings else None
        scored = scoring.score(answers, scorer or [], workers, judging)
    theirs = None
    if vlmevalkit_python is not None:
        from harness.interop.vlmevalkit import bridge

        theirs = bridge.score(answers, vlmevalkit_python)
        scored += theirs.scored
    if out is not None:
        scoring.write(out, scoring.rows(answers, scored))
    if disagreements is not None:
        scoring.write(disagreements, map(asdict, scoring.differences(answers, scored)))
    scoring.show(answers, scored, console(), show)
    for note in (*answers.notes, *(theirs.notes if theirs else ())):
        console().print(f"Note: {note}", markup=False)
    if theirs and theirs.figures:
        figures = ", ".join(f"{name} {value}" for name, value in theirs.figures.items())
        console().print(f"VLMEvalKit's own figures: {figures}", markup=False)
