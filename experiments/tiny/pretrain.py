"""Pre-trains the tiny world's base model and writes it in Hugging Face layout.

    python -m experiments.tiny.pretrain --out benchmarks/tiny/base

One thread, some minutes, deterministic by seed on one machine. With --check it also samples the
saved model and prints, for every mode and kind of question, greedy accuracy, pass@1 and maj@8.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from pathlib import Path
from random import Random

import torch
from torch.nn import functional
from transformers import Qwen2_5_VLForConditionalGeneration, Qwen2_5_VLProcessor

from benchmarks.prompts import SYNTHESIS, templates
from experiments.tiny import build, check, corpus

PICTURES, QUESTIONS = 32, 4  # a step: pictures, and conversations about each
CHUNKS = 8  # the step's conversations run in this many batches of like length
MUON_LR, ADAMW_LR, WARMUP, WEIGHT_DECAY = 5e-3, 3e-3, 50, 0.01
CLEAN = 0.55  # share of the steps with clean responses, before the annotators' styles
IGNORE = -100

#: A conversation: its picture's index, that picture's (rows, columns) of image tokens (None: it is
#: not shown), prompt and response tokens.
Row = tuple[int, tuple[int, int] | None, list[int], list[int]]


def encode(
    processor: Qwen2_5_VLProcessor, rng: Random, clean: bool
) -> tuple[dict[str, torch.Tensor], list[Row]]:
    """One step's data: pixels and grids of the pictures, and the conversations about them."""
    pictures, rows, texts = [], [], []
    for index in range(PICTURES):
        scene, header, footer, examples = corpus.picture_and_examples(rng, QUESTIONS, clean)
        pixels = scene.draw(header, footer)
        pictures.append(pixels)
        grid = (pixels.shape[0] // build.CELL, pixels.shape[1] // build.CELL)
        for example in examples:
            pads = "<|image_pad|>" * (grid[0] * grid[1])
            shown = f"<|vision_start|>{pads}<|vision_end|>" if example.picture else ""
            system = f"<|im_start|>system\n{example.system}<|im_end|>\n" if example.system else ""
            texts.append(
                f"{system}<|im_start|>user\n{shown}{example.user}<|im_end|>\n"
                "<|im_start|>assistant\n"
            )
            texts.append(f"{example.response}<|im_end|>")
            rows.append((index, grid if example.picture else None))
    tokens = processor.tokenizer(texts)["input_ids"]
    pixels = processor.image_processor(pictures, return_tensors="pt")
    pairs = zip(rows, tokens[::2], tokens[1::2], strict=True)
    return pixels, [(index, grid, prompt, reply) for (index, grid), prompt, reply in pairs]


def batch_loss(
    model: Qwen2_5_VLForConditionalGeneration,
    features: tuple[torch.Tensor, ...],
    rows: list[Row],
) -> torch.Tensor:
    """Summed cross-entropy of the responses in ``rows``; ``features`` are the pictures' tokens.

    Rows are padded on the right, which causal attention never sees, so no mask is needed.
    """
    longest = max(len(prompt) + len(reply) for _, _, prompt, reply in rows)
    ids = torch.zeros(len(rows), longest, dtype=torch.long)
    labels = torch.full((len(rows), longest), IGNORE)
    types = torch.zeros_like(ids)
    for i, (_, _, prompt, reply) in enumerate(rows):
        ids[i, : len(prompt) + len(reply)] = torch.tensor(prompt + reply)
        labels[i, len(prompt) - 1 : len(prompt) + len(reply) - 1] = torch.tensor(reply)
    pads = ids == model.config.image_token_id
    types[pads] = 1
    grids = torch.tensor([[1, 2 * grid[0], 2 * grid[1]] for _, grid, _, _ in rows if grid])
    positions, _ = model.model.get_rope_index(ids, types, image_grid_thw=grids)
    embeds = model.get_input_embeddings()(ids)
    pictures = torch.cat([features[index] for index, grid, _, _ in rows if grid])
    embeds = embeds.masked_scatter(pads[..., None].expand_as(embeds), pictures)
    hidden = model.model.language_model(
        inputs_embeds=embeds, position_ids=positions, use_cache=False
    ).last_hidden_state
    chosen = labels != IGNORE
    logits = model.lm_head(hidden[chosen])
    return functional.cross_entropy(logits, labels[chosen], reduction="sum")


def pretrain(out: Path, steps: int, seed: int) -> None:
    """Train for ``steps`` and save to ``out``, with ``pretrain.jsonl`` as its log."""
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    rng = Random(f"tiny corpus {seed}")
    tokenizer = build.build_tokenizer(_tokenizer_texts(Random(f"tiny tokenizer {seed}")))
    processor = build.build_processor(tokenizer)
    model = build.build_model(tokenizer)
    weights = sum(p.numel() for p in model.parameters())
    print(f"{weights:,} weights, {len(tokenizer)} tokens")
    optimizers = _optimizers(model)

    def rate(step: int) -> float:
        progress = (step - WARMUP) / max(1, steps - WARMUP)
        return min((step + 1) / WARMUP, 0.5 + 0.5 * math.cos(math.pi * max(0.0, progress)))

    schedules = [torch.optim.lr_scheduler.LambdaLR(each, rate) for each in optimizers]
    out.mkdir(parents=True, exist_ok=True)
    start, total, count = time.perf_counter(), 0.0, 0
    with (out / "pretrain.jsonl").open("w") as log:
        for step in range(1, steps + 1):
            pixels, rows = encode(processor, rng, step <= CLEAN * steps)
            rows.sort(key=lambda row: len(row[2]) + len(row[3]))
            features = model.model.get_image_features(
                pixels["pixel_values"], pixels["image_grid_thw"]
            ).pooler_output
            tokens = sum(len(reply) for _, _, _, reply in rows)
            size = len(rows) // CHUNKS
            loss = torch.stack(
                [batch_loss(model, features, rows[i : i + size]) for i in range(0, len(rows), size)]
            ).sum()
            (loss / tokens).backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            for optimizer, schedule in zip(optimizers, schedules, strict=True):
                optimizer.step()
                schedule.step()
            model.zero_grad()
            total, count = total + loss.item(), count + tokens
            if step % 50 == 0 or step == steps:
                line = {
                    "step": step,
                    "loss": round(total / count, 4),
                    "seconds": round(time.perf_counter() - start, 1),
                    "cpu_seconds": round(time.process_time(), 1),
                }
                print(json.dumps(line), flush=True)
                log.write(json.dumps(line) + "\n")
                total, count = 0.0, 0
            if step % 250 == 0 or step == steps:
                build.save(model, processor, out)


def _optimizers(model: Qwen2_5_VLForConditionalGeneration) -> list[torch.optim.Optimizer]:
    """Muon for the matrices inside the blocks, AdamW for everything else."""
    named = dict(model.named_parameters())
    inner = [name for name, p in named.items() if p.ndim == 2 and "embed_tokens" not in name]
    muon = torch.optim.Muon(
        [named[name] for name in inner],
        lr=MUON_LR,
        weight_decay=WEIGHT_DECAY,
        adjust_lr_fn="match_rms_adamw",
    )
    rest = [p for name, p in named.items() if name not in inner]
    adamw = torch.optim.AdamW(rest, lr=ADAMW_LR, weight_decay=WEIGHT_DECAY, betas=(0.9, 0.95))
    return [muon, adamw]


def _tokenizer_texts(rng: Random) -> list[str]:
    """What the tokenizer is trained on: the corpus, and every prompt of the project."""
    texts = [t.system + "\n" + t.user for t in map(templates().get, corpus.MODES) if t] * 20
    texts += [t.user for t in SYNTHESIS.values()] * 20
    for _ in range(1500):
        for example in corpus.picture_and_examples(rng, QUESTIONS)[-1]:
            texts += [example.user, example.response]
    texts += [str(number) for number in range(181)] * 40
    return texts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="folder of the checkpoint")
    parser.add_argument("--steps", type=int, default=800)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--check", action="store_true", help="sample the model and print a table")
    parser.add_argument("--check-only", action="store_true", help="do not train")
    args = parser.parse_args()
    if not args.check_only:
        pretrain(args.out, args.steps, args.seed)
    if args.check or args.check_only:
        check.report(args.out)


if __name__ == "__main__":
    main()
