"""How the cost of our GRPO step grows: with group size, prompt length, response length and ranks.

Run: ``python tests/perf/scaling.py [--steps N] [--out docs]`` on a machine with nothing else to do.

Everything but one dial is as in ``grpo_step.py``: 1.8 M random weights, one picture a question, all
responses as long as the limit, beta 0.01, float32, one thread a rank. Writes ``step_cost.png`` into
``--out``, the median of each phase with the lowest and the highest step, and prints the same as a
table. One rank is timed in CPU seconds, which are wall seconds on a quiet machine. The panel of
ranks is in wall seconds; there a turn may end, on one rank and on two, which random weights do in a
few responses of a hundred.
"""

from __future__ import annotations

import argparse
import logging
import statistics
import sys
import tempfile
import time
import warnings
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
import grpo_step
from grpo_step import PHASES, Inputs, Resources, Shape

PARTS = (*PHASES, "step")
GROUPS, WORDS, TOKENS, RANKS = (2, 4, 8, 16, 32), (0, 100, 200, 400), (8, 16, 32, 64), (1, 2)


@dataclass(frozen=True)
class Point:
    """A value of a dial, and the seconds of each of its steps by phase."""

    value: float
    rows: list[dict[str, float]]

    def of(self, part: str) -> tuple[float, float, float]:
        """Median, lowest and highest of a phase."""
        values = [row[part] for row in self.rows]
        return statistics.median(values), min(values), max(values)


def measure(count: int, questions: int, folder: Path) -> dict[str, list[Point]]:
    """All dials: their points by the name of their axis."""
    base = Shape("random", 8, questions=questions)
    model = grpo_step.make_model("random", folder)

    def start(shape: Shape) -> Inputs:
        return Inputs(model, grpo_step.questions(folder, shape), 0)

    @cache
    def one(shape: Shape) -> list[dict[str, float]]:
        found = grpo_step.steps(
            "deepspeed", shape, start(shape), count, Resources(device="cpu"), folder
        )
        print(".", end="", flush=True, file=sys.stderr)
        return found

    def length(shape: Shape) -> float:
        return statistics.mean(map(len, grpo_step.encoded(start(shape))))

    wall, time.perf_counter = time.perf_counter, time.process_time  # the trainer's clock
    try:
        groups = [Point(g, one(replace(base, group=g))) for g in GROUPS]
        prompts = [replace(base, words=w) for w in WORDS]
        found = {
            "responses a group (G)": groups,
            "prompt tokens": [Point(length(shape), one(shape)) for shape in prompts],
            "response tokens": [Point(n, one(replace(base, tokens=n))) for n in TOKENS],
        }
    finally:
        time.perf_counter = wall
    shape = replace(base, group=16)
    found["ranks"] = [
        Point(
            ranks,
            grpo_step.steps(
                "deepspeed",
                shape,
                start(shape),
                count,
                Resources(device="cpu", processes=ranks),
                folder,
                endless=False,
            ),
        )
        for ranks in RANKS
    ]
    return found


def unit(dial: str) -> str:
    return "wall seconds" if dial == "ranks" else "CPU seconds"


def plot(found: dict[str, list[Point]], place: Path) -> None:
    """A panel for each dial: medians, with bars from the lowest to the highest step."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(2, 2, figsize=(8.4, 6.2))
    for ax, (dial, points) in zip(axes.flat, found.items(), strict=True):
        x = [point.value for point in points]
        for part in PARTS:
            middle, low, high = zip(*(point.of(part) for point in points), strict=True)
            spread = [
                [m - v for m, v in zip(middle, low, strict=True)],
                [v - m for m, v in zip(middle, high, strict=True)],
            ]
            ax.errorbar(x, middle, spread, marker="o", markersize=4, capsize=3, label=part)
        ax.set_xticks(x, [f"{value:.0f}" for value in x])
        ax.set_xlabel(dial)
        ax.set_ylabel(f"{unit(dial)} a step")
        ax.set_xlim(left=0, right=1.06 * max(x))
        ax.set_ylim(bottom=0)
        ax.grid(axis="y", alpha=0.3)
        ax.spines[["top", "right"]].set_visible(False)
    axes.flat[0].legend(frameon=False)
    figure.tight_layout()
    figure.savefig(place, dpi=130)


def table(found: dict[str, list[Point]], count: int) -> str:
    """Markdown: seconds of each phase, and of the step from its lowest to its highest."""
    lines = [
        f"| dial | value | {' | '.join(PHASES)} | step (lowest to highest of {count}) |",
        "|---" + "|---:" * (len(PHASES) + 2) + "|",
    ]
    for dial, points in found.items():
        for point in points:
            phases = " | ".join(f"{point.of(phase)[0]:.3f}" for phase in PHASES)
            middle, low, high = point.of("step")
            lines.append(
                f"| {dial}, {unit(dial)} | {point.value:.0f} | {phases} | "
                f"{middle:.3f} ({low:.3f} to {high:.3f}) |"
            )
    return "\n".join(lines)


def main() -> None:
    form = argparse.RawTextHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=form)
    parser.add_argument("--steps", type=int, default=4, help="counted steps of each point")
    parser.add_argument("--questions", type=int, default=16, help="questions of a step")
    parser.add_argument("--out", type=Path, default=Path("docs"))
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory() as scratch:
        found = measure(args.steps, args.questions, Path(scratch))
    print()
    print(table(found, args.steps))
    plot(found, args.out / "step_cost.png")


if __name__ == "__main__":
    main()
