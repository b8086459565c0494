r"""What re-scoring costs, and how it scales with workers: ``harness rescore --scorer rules``.

Run: ``python tests/perf/rescore.py [--sizes 10000 40000] [--repeats 5]`` on a machine with nothing
else to do, with ``shared/data`` beside the repository.

The responses are to 2000 items of MathVision and all distinct. Their words are those of the
published answer files of MathVista and MathVision, with other numbers and letters; two thirds end
in an answer as today's models give one (a box, a tag, a statement, a conclusion), which is the
item's gold, a gold with other numbers, an option, or a formula that only mathematics can compare.
Wall and CPU seconds are those of the whole command, start and reading included, processes that it
started too; numbers of workers take turns.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import random
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT.parent / "shared" / "data"
ITEMS = 2000
WORKERS = (1, 2)
#: Linux: processes whose parent has ended become ours, and so their CPU seconds.
PR_SET_CHILD_SUBREAPER = 36

_NUMBER = re.compile(r"\d+")
_OPTION = re.compile(r"\(([A-E])\)")
_FORMULAS = (
    r"\frac{%d}{%d}", r"%d\sqrt{%d}", r"\frac{%d\sqrt{%d}}{%d}", r"%d\pi", r"%d+%d\sqrt{%d}",
    r"%d-\frac{%d}{%d}\pi", "%d/%d", "(%d, %d)", "%dx+%d", "%d:%d", r"\sqrt{%d}-\sqrt{%d}",
    "%d^{%d}", "%d.%d", r"%d^\circ",
)  # fmt: skip
_ENDINGS = (
    r"\boxed{%s}", r"So the final answer is \boxed{%s}.", r"$$\boxed{\text{%s}}$$",
    "<answer>%s</answer>", "The answer is %s.", "**Answer:** %s", "Therefore, it is %s.",
    "So the correct option is %s.", "Hence we get x = %s.", "I choose %s.", "%s", "Answer: $%s$",
)  # fmt: skip


def published() -> list[str]:
    """The texts of the published answers."""
    texts = []
    for file in ("bard/output_bard", "llava/output_llava_llama_2_13b"):
        rows = json.loads((DATA / "mathvista" / f"{file}.json").read_text()).values()
        texts += [row["response"] for row in rows if row["response"].strip()]
    lines = (DATA / "mathvision" / "output_LLaVA-v1.5-7B.jsonl").read_text().splitlines()
    return texts + [json.loads(line)["response"] for line in lines]


def changed(text: str, draw: random.Random) -> str:
    """The text with other numbers (of as many digits) and other letters of options."""
    text = _NUMBER.sub(lambda m: str(draw.randrange(10 ** min(len(m[0]), 4))), text)
    return _OPTION.sub(lambda m: f"({draw.choice('ABCDE')})", text)


def answer(row: dict[str, Any], draw: random.Random) -> str:
    """The gold, or another answer to this item."""
    kind = draw.random()
    if kind < 0.25:
        return str(row["answer"])
    if row["options"] and kind < 0.75:
        letter = draw.choice("ABCDE")
        return draw.choice((letter, f"({letter})", f"option {letter}", draw.choice(row["options"])))
    if kind < 0.5:
        return changed(row["answer"], draw)
    formula = draw.choice(_FORMULAS)
    return formula % tuple(draw.randrange(2, 60) for _ in range(formula.count("%d")))


def write(path: Path, count: int) -> None:
    """``count`` distinct responses, as many to each item."""
    draw = random.Random(0)
    lines = (DATA / "mathvision" / "test.jsonl").read_text().splitlines()
    rows, texts = draw.sample([json.loads(line) for line in lines], ITEMS), published()
    made: dict[str, dict[str, Any]] = {}
    for sample in range(count // ITEMS):
        for row in rows:
            text = changed(draw.choice(texts), draw)
            while draw.random() < 2 / 3 or text in made:
                text = changed(draw.choice(texts), draw)
                text += "\n\n" + draw.choice(_ENDINGS) % answer(row, draw)
                if text not in made:
                    break
            said = {"item": row["id"], "decoding": "sampled", "sample": sample, "text": text}
            made[text] = said
    pq.write_table(pa.Table.from_pylist(list(made.values())), path)


def measure(file: Path, workers: int, out: Path) -> tuple[float, float]:
    """Wall and CPU seconds of one command with all its processes."""
    command = [sys.executable, "-m", "harness.cli", "rescore", file, "--benchmark", "mathvision"]
    command += ["--data", DATA / "mathvision", "--scorer", "rules", "--show", "0", "--out", out]
    began = time.perf_counter()
    process = subprocess.Popen(
        [*map(str, command), "--workers", str(workers)], cwd=ROOT, stdout=subprocess.DEVNULL
    )
    _, status, used = os.wait4(process.pid, 0)
    wall = time.perf_counter() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(map(str, command))} ends with {process.returncode}")
    cpu = used.ru_utime + used.ru_stime
    try:
        while True:  # processes that it left to end by themselves
            _, _, used = os.wait4(-1, 0)
            cpu += used.ru_utime + used.ru_stime
    except ChildProcessError:
        return wall, cpu


def spread(seconds: list[float]) -> str:
    return f"{statistics.median(seconds):6.2f} [{min(seconds):.2f}, {max(seconds):.2f}]"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[10_000, 40_000])
    parser.add_argument("--repeats", type=int, default=5)
    given = parser.parse_args()
    if not DATA.is_dir():
        raise SystemExit(f"needs {DATA}")
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1)
    print("responses, workers: seconds as median [lowest, highest]")
    for count in given.sizes:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "generations.parquet"
            write(file, count)
            found: dict[int, list[tuple[float, float]]] = {workers: [] for workers in WORKERS}
            outs = {workers: Path(folder) / f"{workers}.jsonl" for workers in WORKERS}
            for turn in range(given.repeats):
                for workers in WORKERS if turn % 2 == 0 else reversed(WORKERS):
                    found[workers].append(measure(file, workers, outs[workers]))
            if len({out.read_bytes() for out in outs.values()}) != 1:
                raise SystemExit("the verdicts depend on the number of workers")
        for workers, seconds in found.items():
            walls, cpus = map(list, zip(*seconds, strict=True))
            print(f"{count}, {workers}: wall {spread(walls)}  CPU {spread(cpus)}")
        one, more = (statistics.median(w for w, _ in found[workers]) for workers in WORKERS)
        print(f"{count}: {WORKERS[1]} workers are {one / more:.2f} times as fast")


if __name__ == "__main__":
    main()
