"""Low-rank adapters in the policy (LoRA, arXiv 2106.09685), by the peft library.

A critic has none: it is trained whole, but for the vision tower, which stays as it is in both.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from backends.base.backend import TrainingError
from backends.base.stage import LoRA
from backends.models.families import family_of

_NAME = "default"


def adapt(model: Any, lora: LoRA, seed: int) -> None:
    """Put adapters beside linear layers of the language model, in place, and freeze all else.

    They start as the seed says, with B = 0: the model computes what it did before. Raises
    TrainingError for a target that names no linear layer.
    """
    from peft import LoraConfig, inject_adapter_in_model

    config = LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=_targets(model, lora),
    )
    # peft draws from torch's own generator, on the CPU.
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        inject_adapter_in_model(config, model)
    for drop in _drops(model):
        drop.p = 0.0


def _targets(model: Any, lora: LoRA) -> list[str]:
    """Full names, so that peft does not look for them in the vision tower too."""
    layers = set(family_of(model).language_model(model).modules())
    linear = [
        name
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear) and module in layers
    ]
    known = {name.rpartition(".")[2] for name in linear}
    if unknown := set(lora.targets) - known:
        raise TrainingError(
            f"lora.targets: the language model has no linear layer {sorted(unknown)[0]!r}. "
            f"Known: {', '.join(sorted(known))}."
        )
    return [n for n in linear if not lora.targets or n.rpartition(".")[2] in lora.targets]


@contextmanager
def without_adapters(model: nn.Module) -> Iterator[None]:
    """For this time the model is the one that training started from, bit for bit."""
    layers = _layers(model)
    for layer in layers:
        layer.enable_adapters(False)
    try:
        yield
    finally:
        for layer in layers:
            layer.enable_adapters(True)


@contextmanager
def dropping(model: nn.Module, lora: LoRA | None, seed: int) -> Iterator[None]:
    """For this time, an update's, the adapters' dropout is at work, its masks drawn by the seed.

    The reference is without it. The masks follow the order in which this rank
    computes, so another split into micro-batches or ranks draws others.
    """
    if lora is None or lora.dropout == 0:
        yield
        return
    device = next(model.parameters()).device
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        for drop in _drops(model):
            drop.train().p = lora.dropout
        try:
            yield
        finally:
            for drop in _drops(model):
                drop.p = 0.0


def merged(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """(Name, weight) of the ordinary model that computes what this one does: W + (alpha / rank)
    B A under the name of W, added in float32 and rounded once. A model without adapters is itself.

    The model stays as it is: merging in place and back would not give the same bits. The whole
    weights must be on this rank.
    """
    for name, weight in model.named_parameters():
        if ".lora_" in name:
            continue
        place, adapted, part = name.partition(".base_layer.")
        if not adapted:
            yield name, weight.detach()
        elif part == "weight":
            yield f"{place}.weight", _sum(model.get_submodule(place), weight.detach())
        else:
            yield f"{place}.{part}", weight.detach()


def _sum(layer: Any, weight: Tensor) -> Tensor:
    a, b = (x[_NAME].weight.detach().float() for x in (layer.lora_A, layer.lora_B))
    return weight.float().addmm(b, a, alpha=layer.scaling[_NAME]).to(weight.dtype)


def save_adapter(model: Any, folder: Path) -> None:
    """Write the adapters as peft does, to be put on the model that training started from with
    ``PeftModel.from_pretrained``. The whole weights must be on this rank."""
    folder.mkdir(parents=True, exist_ok=True)
    weights = {
        f"base_model.model.{name}".replace(f".{_NAME}.", "."): weight.detach().cpu().contiguous()
        for name, weight in model.named_parameters()
        if ".lora_" in name
    }
    save_file(weights, folder / "adapter_model.safetensors", metadata={"format": "pt"})
    model.peft_config[_NAME].save_pretrained(str(folder))


def _drops(model: nn.Module) -> list[nn.Dropout]:
    found = [drop for layer in _layers(model) for drop in layer.lora_dropout.values()]
    return [drop for drop in found if isinstance(drop, nn.Dropout)]


def _layers(model: nn.Module) -> list[Any]:
    return [module for module in model.modules() if hasattr(module, "lora_A")]
