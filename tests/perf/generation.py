"""Our `hf` engine beside lm-eval's ``hf-multimodal``: seconds to answer a benchmark.

Run: ``python tests/perf/generation.py [repeats] [items] [threads] [model folder]``. Both sides get
the same model in float32, the same items of We-Math (the real ones where ``shared/data/wemath``
lies beside the repository, else the tiny world's), the same prompts, at most ``NEW`` new tokens,
and start from the same image files. lm-eval runs in this process with the batch size that takes it
least processor time on the first items. ``threads`` are torch's, for both.

First equal work: the stop token is forbidden on both sides, so that every item gets ``NEW`` tokens.
Then what an evaluation does: a response may stop, and a finished row costs nothing any more where a
side drops it.

Prints, for both, median wall and CPU seconds of a run, wall seconds by phase (ours encodes and
generates in several threads, whose seconds add up), and the ratio of the paired runs, in
alternating order, with its spread. On a busy machine the ratio of CPU seconds is the one to read;
that of wall seconds counts where both cores are free.
"""

from __future__ import annotations

import contextlib
import functools
import io
import logging
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from backends.base.engine import Request, Sampling
from backends.engines.hf import HFEngine
from benchmarks import tiny
from benchmarks.base import Item
from benchmarks.data.pictures import read_picture
from benchmarks.prompts import template
from benchmarks.registry import benchmark

NEW = 32
BATCH_SIZES = (1, 4, 16, 64)
CHOSEN_ON = 64  # items on which the batch size is chosen
REAL = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "wemath"


@dataclass
class Run:
    """One run over all items."""

    wall: float
    cpu: float
    phases: Counter[str]
    texts: list[str]


def timed(work: Callable[[], list[str]], phases: Counter[str]) -> Run:
    phases.clear()
    wall, cpu = time.perf_counter(), time.process_time()
    texts = work()
    return Run(time.perf_counter() - wall, time.process_time() - cpu, Counter(phases), texts)


@contextmanager
def clocked(phases: Counter[str], **methods: tuple[Any, str]) -> Iterator[None]:
    """Add the wall seconds that methods (phase = (owner, name)) take to ``phases``."""
    originals = []
    for phase, (owner, name) in methods.items():
        original = getattr(owner, name)
        originals.append((owner, name, original))

        @functools.wraps(original)
        def wrapped(*a: Any, original: Any = original, phase: str = phase, **k: Any) -> Any:
            start = time.perf_counter()
            try:
                return original(*a, **k)
            finally:
                phases[phase] += time.perf_counter() - start

        setattr(owner, name, wrapped)
    try:
        yield
    finally:
        for owner, name, original in originals:
            setattr(owner, name, original)


# ------------------------------------------------------------------------------------------- ours


def ours(engine: HFEngine, items: Sequence[Item]) -> list[str]:
    prompt = template("boxed")
    requests = [Request(i.id, prompt.render_item(i), i.images, prompt.system) for i in items]
    answers = dict(engine.generate(requests, Sampling(max_tokens=NEW)))
    return [answers[i][0].text for i in range(len(items))]


# ---------------------------------------------------------------------------------------- lm-eval


def lm_eval(lm: Any, items: Sequence[Item], stop: bool) -> list[str]:
    """What lm-eval does for a task: it decodes all pictures, renders the chats, and generates."""
    from lm_eval.api.instance import Instance

    prompt = template("boxed")
    kwargs: dict[str, Any] = {"until": [], "do_sample": False, "max_gen_toks": NEW}
    if not stop:
        kwargs["min_new_tokens"] = NEW
    instances = []
    for number, item in enumerate(items):
        text = "<image>" * len(item.images) + prompt.render_item(item)
        pictures = [read_picture(p) for p in item.images]
        arguments = (
            lm.apply_chat_template([{"role": "user", "content": text}]),
            dict(kwargs),
            {"visual": pictures},
        )
        instances.append(Instance("generate_until", {}, arguments, 0, ("perf", number, 1)))
    return list(lm.generate_until(instances, disable_tqdm=True))


def load(n: int) -> tuple[str, list[Item]]:
    one = benchmark("wemath")
    if REAL.is_dir():
        return "real We-Math", one.load(REAL)[:n]
    folder = Path(tempfile.mkdtemp())
    tiny.write_benchmark("wemath", folder)
    return "tiny We-Math", one.load(folder)[:n]


def main(repeats: int, n: int, threads: int, model: Path) -> None:
    logging.disable(logging.WARNING)
    from lm_eval.models.hf_vlms import HFMultimodalLM

    source, items = load(n)
    engine = HFEngine.from_path(model, max_prompt_tokens=8192)
    with contextlib.redirect_stderr(io.StringIO()):
        lm = HFMultimodalLM(str(model), device="cpu", dtype="float32", batch_size=16)
    torch.set_num_threads(threads)
    weights = sum(p.numel() for p in engine.model.parameters()) / 1e6
    print(
        f"{len(items)} items of {source}, {NEW} new tokens, {weights:.2f} M weights, "
        f"{torch.get_num_threads()} threads"
    )
    phases: Counter[str] = Counter()
    with (
        clocked(
            phases,
            **{
                "chat, pictures": (lm, "tok_batch_multimodal_encode"),
                "vision": (lm.model.model.visual, "forward"),
                "generate (with vision)": (lm, "_model_multimodal_generate"),
            },
        ),
        clocked(
            phases,
            **{
                "encode": (engine.encoder, "encode_all"),
                "prefill (with vision)": (engine, "_prefill"),
                "our vision": (engine.model.model.visual, "forward"),
                "decode": (engine, "_step"),
            },
        ),
    ):
        lm_eval(lm, items[:32], True), ours(engine, items[:32])  # warm
        rates = {}
        for size in BATCH_SIZES:
            lm.batch_size_per_gpu = size
            few = items[:CHOSEN_ON]
            rates[size] = len(few) / timed(partial(lm_eval, lm, few, False), phases).cpu
        best = max(rates, key=rates.__getitem__)
        lm.batch_size_per_gpu = best
        shown = ", ".join(f"{size}: {rate:.1f}" for size, rate in rates.items())
        print(f"lm-eval, items per CPU second by batch size: {shown}; best {best}")
        suppressed = engine.suppressed
        for stop in (False, True):
            engine.suppressed = suppressed if stop else (*suppressed, *engine.stop_ids)
            theirs = partial(lm_eval, lm, items, stop)
            own = partial(ours, engine, items)
            pairs = []
            for repeat in range(repeats):
                if repeat % 2:
                    second, first = timed(own, phases), timed(theirs, phases)
                else:
                    first, second = timed(theirs, phases), timed(own, phases)
                pairs.append((first, second))
            report(f"stop token obeyed: {stop}", pairs, len(items))


def report(title: str, pairs: Sequence[tuple[Run, Run]], n: int) -> None:
    print(f"\n{title}")
    for name, runs in zip(("lm-eval", "ours"), zip(*pairs, strict=True), strict=True):
        wall = statistics.median(r.wall for r in runs)
        parts = {
            phase: statistics.median(r.phases[phase] for r in runs) for phase in runs[0].phases
        }
        print(
            f"{name:8s} {wall:6.2f} s wall, {statistics.median(r.cpu for r in runs):6.2f} s CPU, "
            f"{n / wall:5.1f} items/s; "
            + ", ".join(f"{phase} {seconds:.2f}" for phase, seconds in parts.items())
        )
    for what in ("wall", "cpu"):
        ratios = [getattr(a, what) / getattr(b, what) for a, b in pairs]
        print(
            f"ratio {what} {statistics.median(ratios):.2f} "
            f"({min(ratios):.2f} to {max(ratios):.2f} in {len(ratios)} pairs)"
        )
    same = sum(a == b for a, b in zip(pairs[0][0].texts, pairs[0][1].texts, strict=True))
    length = [statistics.mean(map(len, run.texts)) for run in pairs[0]]
    print(f"texts equal: {same} of {n}; mean characters {length[0]:.1f} and {length[1]:.1f}")


if __name__ == "__main__":
    arguments = sys.argv[1:]
    main(
        int(arguments[0]) if arguments else 5,
        int(arguments[1]) if len(arguments) > 1 else 200,
        int(arguments[2]) if len(arguments) > 2 else 2,
        Path(arguments[3]) if len(arguments) > 3 else tiny.checkpoint(),
    )
