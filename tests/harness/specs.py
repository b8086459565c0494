"""Specs of steps on the tiny model, complete: a test names what it is about."""

from __future__ import annotations

from typing import Any

from backends.base.stage import Stage
from harness.plan.specs import Generate, Respond, Sampled, Synthesize, Train

#: The code that writes in these steps, and the precision that it computes in.
WRITER: dict[str, Any] = {
    "family_id": "qwen2_5_vl@1",
    "engine_id": "hf@1",
    "prompt": "0123",
    "dtype": "float32",
}
SAMPLING: dict[str, Any] = {"temperature": 1.0, "top_p": 1.0, "seed": 0}


def synthesize(model: str, questions: str, **fields: Any) -> Synthesize:
    given = {"mode": "in_context", "count": None, "max_tokens": 48}
    asked = {"model": model, "questions": questions}
    return Synthesize.model_validate(WRITER | SAMPLING | given | asked | fields)


def respond(model: str | None, questions: str, **fields: Any) -> Respond:
    given = {"engine": "hf", "asks": "question", "template": "boxed", "samples": 4}
    limits = {"max_tokens": 32, "max_prompt_tokens": 2048}
    asked = {"model": model, "questions": questions}
    return Respond.model_validate(WRITER | SAMPLING | given | limits | asked | fields)


def train(model: str | None, questions: str, stage: Stage, **fields: Any) -> Train:
    given = {"synthetic_ratio": 0, "backend": "deepspeed", "backend_id": "deepspeed@1", "seed": 0}
    rewards = {"reward_ids": tuple(f"{term.name}@1" for term in stage.rewards)}
    asked = {"model": model, "questions": questions, "stage": stage}
    return Train.model_validate(WRITER | given | rewards | asked | fields)


def generate(model: str | None, benchmark: str, data: str, **fields: Any) -> Generate:
    given = {"limit": None, "engine": "hf", "template": "boxed", "greedy": True}
    given |= {"sampled": Sampled(n=2, temperature=0.7, top_p=1.0, seed=0)}
    limits = {"max_tokens": 32, "max_prompt_tokens": 4096, "min_pixels": None, "max_pixels": None}
    asked = {"model": model, "benchmark": benchmark, "data": data}
    return Generate.model_validate(WRITER | given | limits | asked | fields)
