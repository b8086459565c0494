"""How the cost of our GRPO step grows: with group size, prompt length, response length and ranks.

Run: ``python tests/perf/scaling.py [--steps N] [--out docs]`` on a machine with nothing else to do.

Everything but one dial is as in ``grpo_step.py``: 1.8 M random weights, one picture a question, all
responses as long as the limit, beta 0.01, float32, one thread a rank. Prints median seconds of each
phase with the lowest and highest step, and writes ``step_cost.png`` into ``--out``. One rank is
timed in CPU seconds, which are wall seconds on a quiet machine; two ranks in wall seconds.
"""

from __future__ import annotations

import argparse
import json
import logging
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from dataclasses import asdict, replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
sys.path.insert(0, str(Path(__file__).resolve().parent))
import grpo_step
from grpo_step import PHASES, Shape

BASE = Shape("random", 8, questions=16)
DIALS: dict[str, list[tuple[int, Shape]]] = {
    "group size": [(g, replace(BASE, group=g)) for g in (2, 4, 8, 16, 32)],
    "words put before the question": [(w, replace(BASE, words=w)) for w in (0, 100, 200, 400)],
    "response tokens": [(n, replace(BASE, tokens=n)) for n in (8, 16, 32, 64)],
    "ranks (wall seconds)": [(r, replace(BASE, processes=r, group=16)) for r in (1, 2)],
}


def measure(shape: Shape, count: int, wall: bool) -> list[dict[str, float]]:
    """Seconds by phase of ``count`` steps, in a process of their own."""
    job = json.dumps({"shape": asdict(shape), "count": count, "wall": wall})
    done = subprocess.run(
        [sys.executable, __file__, "--job", job], capture_output=True, text=True, check=True
    )
    found: list[dict[str, float]] = json.loads(done.stdout.splitlines()[-1])
    return found


def job(text: str) -> None:
    asked = json.loads(text)
    shape = Shape(**asked["shape"])
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    if not asked["wall"]:
        time.perf_counter = time.process_time  # what the trainer times its phases with
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        model = grpo_step.random_model(folder)
        if shape.processes == 1:
            grpo_step.never_end_a_turn(model)
        inputs = grpo_step.Inputs(model, grpo_step.questions(folder, shape), 0)
        print(json.dumps(grpo_step.steps("deepspeed", shape, inputs, asked["count"], 8192, folder)))


def plot(found: dict[str, list[tuple[int, list[dict[str, float]]]]], out: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, len(found), figsize=(3.6 * len(found), 3.2))
    for ax, (dial, points) in zip(axes, found.items(), strict=True):
        for phase in (*PHASES, "step"):
            every = [[row[phase] for row in rows] for _, rows in points]
            middle = [statistics.median(values) for values in every]
            spread = [
                [m - min(v) for m, v in zip(middle, every, strict=True)],
                [max(v) - m for m, v in zip(middle, every, strict=True)],
            ]
            x = [x for x, _ in points]
            ax.errorbar(x, middle, spread, marker="o", markersize=3, capsize=2, label=phase)
        ax.set_xlabel(dial)
        ax.set_ylim(bottom=0)
        ax.spines[["top", "right"]].set_visible(False)
    axes[0].set_ylabel("seconds a step")
    axes[0].legend(frameon=False, fontsize=8)
    figure.tight_layout()
    figure.savefig(out / "step_cost.png", dpi=130)


def main() -> None:
    form = argparse.RawTextHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=form)
    parser.add_argument("--steps", type=int, default=4, help="counted steps of each point")
    parser.add_argument("--out", type=Path, default=Path("docs"))
    parser.add_argument("--job", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.job:
        job(args.job)
        return
    found: dict[str, list[tuple[int, list[dict[str, float]]]]] = {}
    for dial, shapes in DIALS.items():
        print(f"{dial}: seconds a step, median (lowest to highest of {args.steps})", flush=True)
        for value, shape in shapes:
            rows = measure(shape, args.steps, "ranks" in dial)
            found.setdefault(dial, []).append((value, rows))
            parts = []
            for phase in (*PHASES, "step"):
                values = [row[phase] for row in rows]
                low, high = min(values), max(values)
                parts.append(f"{phase} {statistics.median(values):.3f} ({low:.3f} to {high:.3f})")
            print(f"  {value:4d}  " + "  ".join(parts), flush=True)
    plot(found, args.out)


if __name__ == "__main__":
    main()
