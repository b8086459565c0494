"""``harness doctor``: whether this machine can run experiments, one line a check."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from harness import environment
from harness.run.runner import free_space
from harness.store.results import Store

if TYPE_CHECKING:
    from rich.console import Console

_NEEDED = ("torch", "transformers", "deepspeed", "mlflow", "optuna", "pyarrow", "math-verify")


def show(console: Console, root: Path) -> bool:
    """Print every check; True where nothing that is needed is missing."""
    from rich.markup import escape

    fine = True

    def say(good: bool, what: str, found: str) -> None:
        nonlocal fine
        fine = fine and good
        console.print(
            f"{'[green]✓[/]' if good else '[red]✗[/]'} [bold]{what}[/] {escape(found)}",
            soft_wrap=True,
        )

    versions = environment.versions()
    say(True, "python", versions["python"])
    for package in _NEEDED:
        say(package in versions, package, versions.get(package, "is not installed: `make install`"))
    say(True, "processor", f"{environment.cpu()}, {environment.cores()} cores")
    gpus = environment.gpus()
    listed = ", ".join(f"{g['index']}: {g['name']} ({g['memory']})" for g in gpus)
    say(True, "GPUs", listed or "none: trainings run on the processor")
    free = free_space(root.resolve()) / 2**30
    say(free > 1, "disk", f"{free:.1f} GiB free at {root}")
    store = Store(root)
    found = list(store.results())
    broken = {str(r.path): bad for r in found if (bad := store.verify(r))}
    say(not broken, "store", f"{len(found)} results, {len(broken)} damaged")
    for path, names in broken.items():
        console.print(
            f"    {path}: {', '.join(names)} (remove the folder; it is made again)",
            markup=False,
            soft_wrap=True,
        )
    say(*_tiny())
    return fine


def _tiny() -> tuple[bool, str, str]:
    """Load the tiny model and let it answer one question."""
    began = time.time()
    try:
        from backends.base.engine import Request, Sampling
        from backends.engines.hf import HFEngine
        from benchmarks.prompts import template
        from benchmarks.tiny import checkpoint, questions

        item = questions("hard_test")[0]
        asked = Request(item.id, template("boxed").render(item.question), item.images)
        engine = HFEngine.from_path(checkpoint())
        answers = dict(engine.generate([asked], Sampling(max_tokens=32)))
    except Exception as error:  # whatever is broken, the doctor says it
        return False, "tiny model", f"does not run: {type(error).__name__}: {error}"
    return True, "tiny model", f"answers {answers[0][0].text!r} in {time.time() - began:.1f} s"
