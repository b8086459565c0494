"""The models of a training before they are trained: all of one checkpoint."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import torch

from backends.base.backend import Inputs
from backends.base.resources import Resources
from backends.base.stage import Stage
from backends.deepspeed.policy.lora import adapt
from backends.models.folders import load_model
from backends.models.pictures import PictureCache
from backends.training.objectives import objective
from backends.training.samples import mixed


@dataclass(frozen=True, eq=False)
class Models:
    """``policy``, with its adapters where only they are trained; the copies of the checkpoint that
    become the ``reference`` and the ``critic``, where the stage needs them; and the features of
    ``pictures``, which all of them share where the vision tower is frozen.

    Where adapters are trained the reference is no copy: it is the policy without them.
    """

    policy: Any
    reference: Any | None
    critic: Any | None
    pictures: PictureCache | None


def load_models(stage: Stage, inputs: Inputs, resources: Resources, device: torch.device) -> Models:
    """The models that the stage needs. Raises :class:`backends.models.folders.ModelError`."""
    policy: Any = load_model(inputs.model, resources.dtype, device)
    reference = critic = pictures = None
    if objective(stage).needs_reference and stage.lora is None:
        reference = copy.deepcopy(policy)
    if stage.critic is not None:
        critic = copy.deepcopy(policy)
    if stage.freeze_vision or stage.lora is not None:
        pictures = PictureCache()
        for model in (policy, reference, critic):
            if model is not None:
                model.picture_cache = pictures
    if stage.lora is not None:
        adapt(policy, stage.lora, mixed(inputs.seed, "adapters"))
    return Models(policy, reference, critic, pictures)
