"""What opens our engines. Importing it loads none of them."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING, Any

from backends.base.engine import Engine, EngineError, EngineSettings, PolicySettings, RolloutEngine

if TYPE_CHECKING:
    from backends.models.encoding import Encoder


class HF:
    """Samples with the Hugging Face model in this process: always there."""

    version = "2"
    samples_locally = True

    def missing(self) -> str | None:
        return None

    def open(self, model: Path | None, settings: EngineSettings) -> Engine:
        from backends.engines.hf import HFEngine
        from backends.models.folders import load_model

        folder = _folder("hf", model)
        encoder = _encoder(folder, settings)
        return HFEngine(load_model(folder, settings.dtype, _device(settings.device)), encoder)

    def open_policy(self, settings: PolicySettings) -> RolloutEngine[Any]:
        from backends.engines.hf import OwnWeights

        return OwnWeights(settings.module, settings.encoder, settings.tokens_per_batch)


class VLLM:
    """vLLM inside this process, on a GPU or a processor."""

    version = "2"
    samples_locally = True

    def missing(self) -> str | None:
        return _lacks("vllm")

    def open(self, model: Path | None, settings: EngineSettings) -> Engine:
        from backends.engines.vllm import VLLMEngine

        folder = _folder("vllm", model)
        return VLLMEngine(
            folder,
            _encoder(folder, settings),
            dtype=settings.dtype,
            device=_device(settings.device),
            max_tokens=settings.max_tokens,
        )

    def open_policy(self, settings: PolicySettings) -> RolloutEngine[Any]:
        from backends.engines.vllm import VLLMEngine

        return VLLMEngine(
            settings.model,
            settings.encoder,
            dtype=settings.dtype,
            device=settings.device,
            max_tokens=settings.max_tokens,
            gpu_memory_utilization=settings.gpu_share,
        )


class OpenAI:
    """A server that speaks OpenAI's protocol."""

    version = "2"
    samples_locally = False

    def missing(self) -> str | None:
        return _lacks("openai")

    def open(self, model: Path | None, settings: EngineSettings) -> Engine:
        from backends.engines.openai import OpenAIEngine

        if settings.server is None:
            raise EngineError("the engine openai needs a server")
        return OpenAIEngine.at(settings.server)

    def open_policy(self, settings: PolicySettings) -> RolloutEngine[Any]:
        raise EngineError("a server does not have the weights that are being trained")


def _lacks(package: str) -> str | None:
    """Why the engine named as the package that it needs is not there. Imports nothing."""
    if importlib.util.find_spec(package) is not None:
        return None
    return (
        f"the engine {package} needs the package {package}, which is not installed: "
        f"pip install 'rl-harness[{package}]'"
    )


def _folder(name: str, model: Path | None) -> Path:
    if model is None:
        raise EngineError(f"the engine {name} needs a model folder")
    return model


def _device(device: str) -> str:
    """ "auto" is a GPU where there is one."""
    import torch

    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    return device


def _encoder(model: Path, settings: EngineSettings) -> Encoder:
    from backends.models.encoding import Encoder

    encoder = Encoder.at(model, settings.max_prompt_tokens)
    if encoder.family.reads_pictures:
        encoder.family.scale(encoder.processor, settings.min_pixels, settings.max_pixels)
    return encoder
