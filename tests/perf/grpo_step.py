"""A GRPO step of our trainer beside one of TRL's ``GRPOTrainer``, on one thread of this machine.

Run: ``python tests/perf/grpo_step.py [--clock cpu|wall] [--blocks N] [--shapes NAME ...]``.

Both get the same model, questions in the same order, group size and response length, beta 0.01 (k3
in the loss), float32 and one update a rollout. Tokens that end a turn are never sampled on either
side, so every response has exactly as many tokens as the limit. The two take turns, block by
block; the first step of a block warms up and is not counted. Printed are median seconds of each
phase, and the ratio TRL / ours with the lowest and the highest of the paired blocks. CPU seconds
are wall seconds on one thread of a quiet machine, and blind to who else uses it.

TRL runs as the ``trl`` backend runs it: its own code but for our rewards and bookkeeping, with the
micro-batch that suits it best here (``--trl-tokens``).
"""

from __future__ import annotations

import argparse
import json
import logging
import statistics
import sys
import tempfile
import time
import warnings
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from transformers import AutoConfig, Qwen2_5_VLForConditionalGeneration

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
import backends.models
from backends import backend
from backends.base import Inputs, Resources, Stage
from backends.models import load_processor, save_checkpoint
from backends.trl.training import train as train_by_trl
from benchmarks import tiny
from benchmarks.questions import save_questions

PHASES = {"generation": ("rollout", "reward"), "reference": ("reference",), "update": ("update",)}


@dataclass(frozen=True)
class Shape:
    """What a step works on: ``words`` lengthen each question, ``tokens`` are a response's."""

    model: str
    group: int
    questions: int = 32
    words: int = 0
    tokens: int = 16
    processes: int = 1


SHAPES = {
    "random G=8": Shape("random", 8),
    "random G=16": Shape("random", 16),
    "tiny G=8": Shape("tiny", 8),
    "tiny G=16": Shape("tiny", 16),
    "random G=16 long": Shape("random", 16, questions=8, words=200),
}


def random_model(folder: Path) -> Path:
    """1.8 M random weights of the real architecture, with the tiny world's processor."""
    config = AutoConfig.from_pretrained(tiny.checkpoint())
    text, vision = config.text_config, config.vision_config
    text.hidden_size, text.intermediate_size, text.num_hidden_layers = 160, 384, 4
    text.num_attention_heads, text.num_key_value_heads = 5, 1
    text.layer_types = ["full_attention"] * 4
    vision.hidden_size, vision.intermediate_size, vision.depth = 96, 192, 4
    vision.out_hidden_size, vision.fullatt_block_indexes = 160, [1, 3]
    torch.manual_seed(0)
    model = Qwen2_5_VLForConditionalGeneration(config)
    return save_checkpoint(model, load_processor(tiny.checkpoint()), folder / "random")


def questions(folder: Path, shape: Shape) -> Path:
    """The tiny world's first training questions, each with its 84x84 picture."""
    items = [item for item in tiny.questions("train") if len(item.images) == 1]
    padding = " ".join(["and"] * shape.words)
    chosen = [replace(i, question=f"{padding} {i.question}") for i in items[: shape.questions]]
    return save_questions(chosen, folder / f"questions{shape.questions}-{shape.words}")


def never_end_a_turn(model: Path) -> None:
    """Both sides keep these tokens out of their sampling; with them no response ends early."""
    tokenizer = load_processor(model).tokenizer
    backends.models._VISION_TOKENS += (tokenizer.eos_token, tokenizer.pad_token)


def steps(
    by: str, shape: Shape, inputs: Inputs, count: int, tokens: int, folder: Path
) -> list[dict[str, float]]:
    """Seconds by phase of ``count`` steps after a first one."""
    stage = Stage.model_validate(
        {
            "rewards": [{"name": "majority"}],
            "template": "plain",
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
    resources = Resources(
        device="cpu",
        save_every=1000,
        tokens_per_micro_batch=tokens,
        processes=shape.processes,
    )
    with tempfile.TemporaryDirectory(dir=folder) as place:
        workdir = Path(place)
        if by == "trl":
            train_by_trl(stage, inputs, resources, workdir)
        else:
            backend(by).train(stage, inputs, resources, workdir)
        rows = [json.loads(line) for line in (workdir / "metrics.jsonl").open()][1:]
    if shape.processes == 1:  # processes of their own may end a turn, which few samples do
        for row in rows:
            assert row["response_length"] == shape.tokens, row
            assert row["tokens"] == shape.questions * shape.group * shape.tokens
    return [
        {name: sum(row[f"seconds_{p}"] for p in parts) for name, parts in PHASES.items()}
        | {"step": sum(v for k, v in row.items() if k.startswith("seconds_"))}
        for row in rows
    ]


def compare(name: str, shape: Shape, model: Path, args: argparse.Namespace, folder: Path) -> None:
    """Take turns, and print both sides' phases with their ratios."""
    inputs = Inputs(model, questions(folder, shape), 0)
    blocks: list[tuple[dict[str, float], dict[str, float]]] = []
    for _ in range(args.blocks):
        sides = []
        for by, tokens in (("deepspeed", 8192), ("trl", args.trl_tokens)):
            found = steps(by, shape, inputs, args.steps, tokens, folder)
            sides.append({k: statistics.median(row[k] for row in found) for k in found[0]})
        blocks.append((sides[0], sides[1]))
    print(f"\n{name}: {shape.questions} questions, G={shape.group}, {shape.tokens} new tokens each")
    print(f"  {'':12s}{'ours':>9s}{'TRL':>9s}   TRL / ours (lowest to highest of {args.blocks})")
    for phase in (*PHASES, "step"):
        ours, theirs = (statistics.median(block[i][phase] for block in blocks) for i in (0, 1))
        ratios = [b[phase] / a[phase] for a, b in blocks]
        spread = f"({min(ratios):.2f} to {max(ratios):.2f})"
        ratio = statistics.median(ratios)
        print(f"  {phase:12s}{ours:8.3f}s{theirs:8.3f}s   {ratio:.2f} {spread}", flush=True)


def main() -> None:
    form = argparse.RawTextHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=form)
    parser.add_argument("--clock", choices=("cpu", "wall"), default="cpu")
    parser.add_argument("--blocks", type=int, default=3)
    parser.add_argument("--steps", type=int, default=3, help="counted steps of a block")
    parser.add_argument("--trl-tokens", type=int, default=8192, help="tokens of its micro-batches")
    parser.add_argument("--shapes", nargs="*", choices=list(SHAPES), default=list(SHAPES))
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    if args.clock == "cpu":
        time.perf_counter = time.process_time  # what both trainers time their phases with
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        models = {"random": random_model(folder), "tiny": tiny.checkpoint()}
        never_end_a_turn(models["tiny"])
        for name, model in models.items():
            weights = backends.models.load_model(model).num_parameters()
            print(f"{name}: {weights / 1e6:.2f} M weights")
        print(f"{args.clock} seconds a step, medians; one thread; torch {torch.__version__}")
        for name in args.shapes:
            compare(name, SHAPES[name], models[SHAPES[name].model], args, folder)


if __name__ == "__main__":
    main()
