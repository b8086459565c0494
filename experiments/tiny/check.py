"""Does the base behave as the tiny world needs? Greedy, pass@1 and maj@8 by mode and kind.

A mean hides what matters: a kind at its ceiling and a kind that was never learnt average to a good
figure, and neither can improve by voting. So every figure is given by kind.
"""

from __future__ import annotations

import io
import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image
from transformers import AutoProcessor, Qwen2_5_VLForConditionalGeneration

from benchmarks.base import Item
from benchmarks.prompts import Template, template
from benchmarks.tiny.splits import item, split

MODES = ("boxed", "think", "direct", "answer_first")
SAMPLES, TEMPERATURE, MAX_TOKENS = 8, 0.7, 32
BATCH = 50
_ANSWERS = (re.compile(r"\\boxed\{(.*?)\}"), re.compile(r"<answer>(.*?)</answer>"))


@dataclass(frozen=True)
class Figures:
    """Accuracies in [0, 1] over ``n`` questions. ``guessed``: share of samples that say "guess"."""

    n: int
    greedy: float
    pass_1: float
    majority: float
    guessed: float


def read_answer(response: str, mode: str) -> str:
    """The answer in the form that the mode asks for; empty where there is none."""
    if mode == "direct":
        return response.strip()
    for pattern in _ANSWERS:
        if found := pattern.search(response):
            return found[1].strip()
    return ""


@torch.inference_mode()
def responses(
    folder: Path, items: Sequence[Item], prompt: Template, samples: int = SAMPLES, seed: int = 0
) -> tuple[list[str], list[list[str]]]:
    """The greedy response to each item under a prompt template, and ``samples`` sampled ones."""
    model = Qwen2_5_VLForConditionalGeneration.from_pretrained(folder, dtype=torch.float32).eval()
    processor = AutoProcessor.from_pretrained(folder)
    torch.manual_seed(seed)
    greedy: list[str] = []
    sampled: list[list[str]] = []
    for start in range(0, len(items), BATCH):
        part = items[start : start + BATCH]
        images = [
            [Image.open(io.BytesIO(x)) for x in i.images if isinstance(x, bytes)] for i in part
        ]
        prompts = []
        for each in part:
            text = prompt.render(each.question)
            content = [{"type": "image"}, {"type": "text", "text": text}]
            turn = [{"role": "user", "content": content}]
            prompts.append(processor.apply_chat_template(turn, add_generation_prompt=True))
        inputs = processor(text=prompts, images=images, padding=True, return_tensors="pt")
        width = inputs["input_ids"].shape[1]
        common = {**inputs, "max_new_tokens": MAX_TOKENS}
        best = model.generate(**common, do_sample=False)
        greedy += processor.batch_decode(best[:, width:], skip_special_tokens=True)
        drawn = model.generate(
            **common,
            do_sample=True,
            temperature=TEMPERATURE,
            top_k=0,
            top_p=1.0,
            num_return_sequences=samples,
        )
        texts = processor.batch_decode(drawn[:, width:], skip_special_tokens=True)
        sampled += [texts[i : i + samples] for i in range(0, len(texts), samples)]
    return greedy, sampled


def figures(
    items: Sequence[Item], greedy: Sequence[str], sampled: Sequence[Sequence[str]], mode: str
) -> dict[str, Figures]:
    """The figures by kind, over all kinds (``all``), and over open and multiple-choice questions.

    A tied vote goes to the answer that came first; a response without an answer has no vote.
    """
    rows: dict[str, list[tuple[float, float, float, float]]] = defaultdict(list)
    for each, first, others in zip(items, greedy, sampled, strict=True):
        answers = [read_answer(text, mode) for text in others]
        votes = Counter(filter(None, answers)).most_common(1)
        row = (
            float(read_answer(first, mode) == each.answer),
            sum(a == each.answer for a in answers) / len(answers),
            float(bool(votes) and votes[0][0] == each.answer),
            sum("guess" in text for text in others) / len(others),
        )
        rows["all"].append(row)
        rows[each.meta["kind"]].append(row)
        rows["choices" if "\nA" in each.question or "Choices" in each.question else "open"].append(
            row
        )
    return {
        kind: Figures(len(r), *(sum(column) / len(r) for column in zip(*r, strict=True)))
        for kind, r in rows.items()
    }


def measure(folder: Path, name: str, mode: str, limit: int | None = None) -> dict[str, Figures]:
    """The figures of a model on the split ``name`` (a name of ``benchmarks.tiny.splits``)."""
    items = [item(name, i, asked) for i, asked in enumerate(split(name)[:limit])]
    return figures(items, *responses(folder, items, template(mode)), mode)


def report(folder: Path) -> None:
    """Print the figures of every mode on the mini MathVista and on the hard split."""
    for mode in MODES:
        for name in ("mathvista", "hard_test"):
            print(f"{mode} / {name}: kind n greedy pass@1 maj@8 guessed")
            for kind, f in measure(folder, name, mode).items():
                shown = f"{f.greedy:.3f} {f.pass_1:.3f} {f.majority:.3f} {f.guessed:.2f}"
                print(f"  {kind:8} {f.n:4d} {shown}", flush=True)
