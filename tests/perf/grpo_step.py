"""A GRPO step of our trainer beside one of TRL's ``GRPOTrainer``.

Run: ``python tests/perf/grpo_step.py [--blocks N] [--shapes NAME ...] [--threads N]``, and on a GPU
``python tests/perf/grpo_step.py --device cuda --dtype bfloat16 --peak-tflops 989`` (the dense
bfloat16 figure of the device's data sheet; 989 is that of an H100 or H200).

Both get the same model, questions in the same order, group size and response length, beta 0.01 (k3
in the loss), one update a rollout, and a reward that every response has. Tokens that end a turn are
never sampled on either side, so every response has exactly as many tokens as the limit. The two
take turns, block by block; the first step of a block warms up and is not counted. Printed are
median seconds of each phase with its share of the step, and the ratio TRL / ours with the lowest
and the highest of the paired blocks. CPU seconds are wall seconds on one thread of a quiet machine,
and blind to who else uses it; with more threads, and on a GPU, wall seconds are taken.

With ``--peak-tflops``, model FLOPs utilisation of the update: the operations that the work takes by
formula (``flops.py``; vision tower counted, recomputed activations not) over what the device could
have done meanwhile. What the work takes is each side's own: we compute prompt and picture once a
group, TRL once a response, so that equal utilisation is not equal speed. On a GPU also the peak of
allocated memory.

TRL runs as the ``trl`` backend runs it: its own code but for our rewards and bookkeeping, with the
micro-batch that suits it best here (``--trl-tokens``). In bfloat16 we keep float32 master weights
in the optimizer, TRL float32 weights under autocast. The shapes ``3B`` have the architecture of
Qwen2.5-VL-3B-Instruct with random weights and the tiny world's tokenizer.
"""

from __future__ import annotations

import argparse
import gc
import io
import json
import logging
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
import transformers
from PIL import Image
from transformers import AutoConfig, AutoModelForImageTextToText

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
sys.path.insert(0, str(Path(__file__).resolve().parent))
import flops

from backends.base.backend import Inputs
from backends.base.engine import Request
from backends.base.resources import Resources
from backends.base.stage import Stage
from backends.models.encoding import Encoder
from backends.models.folders import load_processor, save_checkpoint
from backends.models.pictures import joined
from backends.models.prompt import Prompt
from backends.models.qwen2_5_vl import Qwen2_5VL
from backends.registry import backend
from benchmarks import tiny
from benchmarks.data.questions import load_questions, save_questions
from benchmarks.prompts import template

PHASES = {"generation": ("rollout", "reward"), "reference": ("reference",), "update": ("update",)}
TEMPLATE = "plain"

#: What differs from the tiny world's model, by name: text and vision configuration.
MODELS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "tiny": ({}, {}),
    "random": (
        {
            "hidden_size": 160,
            "intermediate_size": 384,
            "num_hidden_layers": 4,
            "num_attention_heads": 5,
        },
        {
            "hidden_size": 96,
            "intermediate_size": 192,
            "depth": 4,
            "out_hidden_size": 160,
            "fullatt_block_indexes": [1, 3],
        },
    ),
    "3B": (
        {
            "vocab_size": 151936,
            "hidden_size": 2048,
            "intermediate_size": 11008,
            "num_hidden_layers": 36,
            "num_attention_heads": 16,
            "num_key_value_heads": 2,
            "rms_norm_eps": 1e-6,
            "max_position_embeddings": 128000,
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": 1e6,
                "mrope_section": [16, 24, 24],
            },
        },
        {
            "depth": 32,
            "hidden_size": 1280,
            "intermediate_size": 3420,
            "num_heads": 16,
            "out_hidden_size": 2048,
            "window_size": 112,
            "fullatt_block_indexes": [7, 15, 23, 31],
            "tokens_per_second": 2,
        },
    ),
}


@dataclass(frozen=True)
class Shape:
    """What a step works on: ``words`` lengthen each question, ``tokens`` are a response's, and
    ``side`` is a picture's, in pixels."""

    model: str
    group: int
    questions: int = 32
    words: int = 0
    tokens: int = 16
    side: int = 84


SHAPES = {
    "random G=8": Shape("random", 8),
    "random G=16": Shape("random", 16),
    "tiny G=8": Shape("tiny", 8),
    "tiny G=16": Shape("tiny", 16),
    "random G=16 long": Shape("random", 16, questions=8, words=200),
    "smallest": Shape("random", 2, questions=2, tokens=4, words=3, side=112),
    "3B G=8": Shape("3B", 8, questions=8, words=567, tokens=512, side=560),
    "3B G=16": Shape("3B", 16, questions=8, words=567, tokens=512, side=560),
}
CPU_SHAPES, GPU_SHAPES = list(SHAPES)[:5], ["3B G=8", "3B G=16"]


def make_model(name: str, folder: Path, device: str = "cpu", dtype: str = "float32") -> Path:
    """Random weights of the real architecture, with the tiny world's processor; made once."""
    place = folder / name
    if name == "tiny":
        return tiny.checkpoint()
    if place.exists():
        return place
    config = AutoConfig.from_pretrained(tiny.checkpoint())
    for part, changes in zip((config.text_config, config.vision_config), MODELS[name], strict=True):
        for key, value in changes.items():
            setattr(part, key, value)
    config.text_config.layer_types = ["full_attention"] * config.text_config.num_hidden_layers
    torch.manual_seed(0)
    with torch.device(device):
        model = AutoModelForImageTextToText.from_config(config, dtype=getattr(torch, dtype))
    processor = load_processor(tiny.checkpoint())
    processor.image_processor.size = {"shortest_edge": 28 * 28, "longest_edge": 1280 * 28 * 28}
    print(f"{name}: {model.num_parameters() / 1e6:.2f} M weights")
    return save_checkpoint(model, processor, place)


def questions(folder: Path, shape: Shape) -> Path:
    """The tiny world's first training questions, each with its picture at the shape's size."""
    items = [item for item in tiny.questions("train") if len(item.images) == 1]
    padding = " ".join(["and"] * shape.words)
    chosen = [
        replace(i, question=f"{padding} {i.question}", images=(scaled(i.images[0], shape.side),))
        for i in items[: shape.questions]
    ]
    return save_questions(chosen, folder / f"{shape.questions}-{shape.words}-{shape.side}")


def scaled(picture: Any, side: int) -> bytes:
    out = io.BytesIO()
    Image.open(io.BytesIO(picture)).resize((side, side)).save(out, "PNG")
    return out.getvalue()


@contextmanager
def no_turn_ends(model: Path) -> Iterator[None]:
    """Both sides keep these tokens out of their sampling; with them no response ends early."""
    tokenizer, before = load_processor(model).tokenizer, Qwen2_5VL.never_sampled
    Qwen2_5VL.never_sampled = (*before, tokenizer.eos_token, tokenizer.pad_token)
    try:
        yield
    finally:
        Qwen2_5VL.never_sampled = before


def encoded(inputs: Inputs) -> list[Prompt]:
    """The prompts of a step, as both sides read them."""
    encoder, form = Encoder.at(inputs.model, 2**20), template(TEMPLATE)
    items = load_questions(inputs.questions)
    found = [
        encoder.encode(Request(i.id, form.render_item(i), i.images, form.system)) for i in items
    ]
    return [prompt for prompt in found if prompt is not None]


def grids(prompt: Prompt) -> torch.Tensor:
    return joined(prompt.pictures)["image_grid_thw"]


def update_flops(prompts: list[Prompt], shape: Shape, model: Path, shared: bool) -> int:
    """Floating-point operations that the update of a step takes."""
    config = AutoConfig.from_pretrained(model)
    return sum(
        flops.update(config, len(p), grids(p), [shape.tokens] * shape.group, shared)
        for p in prompts
        if p.pictures
    )


def steps(
    by: str,
    shape: Shape,
    inputs: Inputs,
    count: int,
    resources: Resources,
    folder: Path,
    endless: bool = True,
) -> list[dict[str, float]]:
    """Seconds by phase of ``count`` steps after a first one, by "deepspeed" or by "trl" (in this
    process, as ours is). ``endless``: no turn may end, which more processes than this cannot be
    told."""
    stage = Stage.model_validate(
        {
            "rewards": [{"name": "format_boxed"}],
            "template": TEMPLATE,
            "steps": count + 1,
            "questions_per_step": shape.questions,
            "group_size": shape.group,
            "max_response_tokens": shape.tokens,
            "aggregation": "sequence_mean",
            "advantage_eps": 1e-4,
            "kl": {"beta": 0.01},
            "lr": 1e-5,
        }
    )
    turns = no_turn_ends(inputs.model) if endless else nullcontext()
    with tempfile.TemporaryDirectory(dir=folder) as place, turns:
        workdir = Path(place)
        if by == "trl":
            from backends.trl.training import train

            train(stage, inputs, resources, workdir)
        else:
            backend(by).train(stage, inputs, resources, workdir)
        rows = [json.loads(line) for line in (workdir / "metrics.jsonl").open()][1:]
    if endless:
        for row in rows:
            assert row["response_length"] == shape.tokens, row
            assert row["tokens"] == shape.questions * shape.group * shape.tokens
            assert row["unusable_groups"] == 0
    return [
        {name: sum(row[f"seconds_{p}"] for p in parts) for name, parts in PHASES.items()}
        | {"step": sum(v for k, v in row.items() if k.startswith("seconds_"))}
        for row in rows
    ]


def measured(work: Callable[[], list[dict[str, float]]], cuda: bool) -> dict[str, float]:
    """Median seconds by phase, and the peak of the device's memory in GiB."""
    gc.collect()
    if cuda:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    rows = work()
    found = {k: statistics.median(row[k] for row in rows) for k in rows[0]}
    return found | {"memory": torch.cuda.max_memory_allocated() / 2**30 if cuda else 0.0}


def compare(name: str, args: argparse.Namespace, folder: Path) -> None:
    """Take turns, and print both sides' phases with their ratios."""
    shape, cuda = SHAPES[name], args.device == "cuda"
    model = make_model(shape.model, folder, args.device, args.dtype)
    inputs = Inputs(model, questions(folder, shape), 0)
    resources = Resources(
        device=args.device,
        dtype=args.dtype,
        threads=args.threads,
        attention=args.attention,
        activation_checkpointing=args.checkpointing,
        save_every=1000,
    )
    blocks: list[tuple[dict[str, float], dict[str, float]]] = []
    for _ in range(args.blocks):
        sides = []
        for by, tokens in (("deepspeed", args.tokens), ("trl", args.trl_tokens)):
            own = resources.model_copy(update={"tokens_per_micro_batch": tokens})
            sides.append(
                measured(
                    lambda by=by, own=own: steps(by, shape, inputs, args.steps, own, folder), cuda
                )
            )
        blocks.append((sides[0], sides[1]))
    report(name, shape, blocks, args, encoded(inputs), model)


def report(
    name: str,
    shape: Shape,
    blocks: list[tuple[dict[str, float], dict[str, float]]],
    args: argparse.Namespace,
    prompts: list[Prompt],
    model: Path,
) -> None:
    """Print the table of one shape."""

    def middle(what: str) -> list[float]:
        return [statistics.median(block[side][what] for block in blocks) for side in (0, 1)]

    def line(label: str, values: list[str], rest: str = "") -> None:
        print(f"  {label:28s}" + "".join(f"{v:>16s}" for v in values) + rest, flush=True)

    length = statistics.mean(map(len, prompts))
    print(
        f"\n{name}: {shape.questions} questions of {length:.0f} tokens with one "
        f"{shape.side}x{shape.side} picture, G={shape.group}, {shape.tokens} new tokens each"
    )
    line("", ["ours", "TRL"], f"   TRL / ours (lowest to highest of {args.blocks})")
    whole = middle("step")
    for phase in (*PHASES, "step"):
        ratios = [b[phase] / a[phase] for a, b in blocks]
        spread = f"({min(ratios):.2f} to {max(ratios):.2f})"
        shown = [f"{s:.3f}s {s / w:4.0%}" for s, w in zip(middle(phase), whole, strict=True)]
        line(phase, shown, f"   {statistics.median(ratios):.2f} {spread}")
    made = shape.questions * shape.group * shape.tokens
    line("response tokens a second", [f"{made / s:.0f}" for s in whole])
    work = [update_flops(prompts, shape, model, shared) for shared in (True, False)]
    line("TFLOP of the update", [f"{w / 1e12:.4g}" for w in work])
    if args.peak_tflops:
        used = zip(work, middle("update"), strict=True)
        line("MFU of the update", [f"{w / s / args.peak_tflops / 1e12:.1%}" for w, s in used])
    if args.device == "cuda":
        line("peak memory, GiB", [f"{m:.1f}" for m in middle("memory")])


def main() -> None:
    form = argparse.RawTextHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=form)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--threads", type=int, default=1, help="torch's, for both sides")
    parser.add_argument("--clock", choices=("cpu", "wall"), help="default: cpu on one thread")
    parser.add_argument("--blocks", type=int, default=3)
    parser.add_argument("--steps", type=int, default=3, help="counted steps of a block")
    parser.add_argument("--tokens", type=int, default=4096, help="tokens of our micro-batches")
    parser.add_argument("--trl-tokens", type=int, default=8192, help="tokens of TRL's")
    parser.add_argument("--attention", choices=("sdpa", "flex"), default="sdpa", help="ours")
    parser.add_argument("--checkpointing", action="store_true", help="of activations, both sides")
    parser.add_argument("--peak-tflops", type=float, help="of the device, in the dtype")
    parser.add_argument("--shapes", nargs="*", choices=list(SHAPES))
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    one_thread = args.device == "cpu" and args.threads == 1
    clock = args.clock or ("cpu" if one_thread else "wall")
    if clock == "cpu":
        time.perf_counter = time.process_time  # what both trainers time their phases with
    device = f"{args.threads} threads"
    if args.device == "cuda":
        device = torch.cuda.get_device_name()
    print(
        f"{clock} seconds a step, medians; {device}; {args.dtype}; torch {torch.__version__}, "
        f"transformers {transformers.__version__}"
    )
    with tempfile.TemporaryDirectory() as scratch:
        for name in args.shapes or (CPU_SHAPES if args.device == "cpu" else GPU_SHAPES):
            compare(name, args, Path(scratch))


if __name__ == "__main__":
    main()
