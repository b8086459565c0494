"""The command line: each verb is a file of :mod:`harness.commands`."""

from __future__ import annotations

import importlib
import os
import sys
import warnings
from typing import Any

import typer

VERBS = (
    "run",
    "plan",
    "eval",
    "rescore",
    "export",
    "status",
    "report",
    "list",
    "doctor",
    "ui",
    "sync",
)

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

#: Typer does not export it under a name of its own.
_UsageError: Any = typer.BadParameter.__base__

for _verb in VERBS:
    app.command(_verb)(importlib.import_module(f"harness.commands.{_verb}").command)


def main() -> None:
    """Entry point: a user's mistake is one message on stderr and exit code 2, what the system
    refuses is one and exit code 1, never a traceback.
    """
    from harness.errors import HarnessError

    if not sys.stdout.isatty():
        os.environ.setdefault("TERMINAL_WIDTH", "110")  # of help, which would follow COLUMNS
    warnings.formatwarning = lambda message, *_: f"Note: {message}\n"
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
        why = error.strerror or " ".join(str(error).split()) or type(error).__name__
        if isinstance(error, (FileExistsError, NotADirectoryError)):
            why = "a folder is needed here, and there is a file"
        print(f"{where}{why}", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
