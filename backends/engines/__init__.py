"""Engines turn questions into responses: for rollouts, synthesis, judges and benchmarks alike."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING

from backends.base.engine import EngineError

if TYPE_CHECKING:
    from backends.base.engine import Engine, Server
    from backends.models.encoding import Encoder

NAMES = ("hf", "vllm", "openai")

#: The package that an engine needs beyond our own dependencies, and the extra that brings it.
_PACKAGES = {"vllm": "vllm", "openai": "openai"}


def missing(name: str) -> str | None:
    """Why an engine cannot be used here, in a sentence that says how to install it; None: it can.

    Looks for the package only; imports nothing.
    """
    package = _PACKAGES.get(name)
    if package is None or importlib.util.find_spec(package) is not None:
        return None
    return (
        f"the engine {name} needs the package {package}, which is not installed: "
        f"pip install 'rl-harness[{package}]'"
    )


def encoder(
    model: Path,
    max_prompt_tokens: int,
    min_pixels: int | None = None,
    max_pixels: int | None = None,
) -> Encoder:
    """A model folder's encoder, its pictures scaled to between ``min_pixels`` and ``max_pixels``
    (None: the processor's own limit)."""
    from backends.models.encoding import Encoder

    made = Encoder.at(model, max_prompt_tokens)
    if made.family.reads_pictures:
        made.family.scale(made.processor, min_pixels, max_pixels)
    return made


def open_engine(
    name: str,
    model: Path | None,
    *,
    dtype: str = "float32",
    device: str = "auto",
    max_prompt_tokens: int = 4096,
    max_tokens: int = 1024,
    min_pixels: int | None = None,
    max_pixels: int | None = None,
    server: Server | None = None,
) -> Engine:
    """The engine of this name: ``hf`` and ``vllm`` over a model folder, ``openai`` on a server.

    ``device`` "auto" is a GPU where there is one. A server limits prompts and pictures itself.
    Raises :class:`EngineError`, or :class:`backends.models.folders.ModelError` for the folder.
    """
    if reason := missing(name):
        raise EngineError(reason)
    if name == "openai":
        from backends.engines.openai import OpenAIEngine

        if server is None:
            raise EngineError("the engine openai needs a server")
        return OpenAIEngine.at(server)
    if model is None:
        raise EngineError(f"the engine {name} needs a model folder")
    import torch

    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    prompts = encoder(model, max_prompt_tokens, min_pixels, max_pixels)
    if name == "vllm":
        from backends.engines.vllm import VLLMEngine

        return VLLMEngine(model, prompts, dtype=dtype, device=device, max_tokens=max_tokens)
    if name != "hf":
        raise EngineError(f"unknown engine {name!r}. Known: {', '.join(NAMES)}.")
    from backends.engines.hf import HFEngine
    from backends.models.folders import load_model

    return HFEngine(load_model(model, dtype, device), prompts)
