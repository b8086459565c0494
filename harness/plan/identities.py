"""What a step's key carries of the code that computes it: ``name@version``.

Ours raise a version with every change of what they compute, a user's file is known by the hash of
its source, an installed package's extension by the version that it declares.
"""

from __future__ import annotations

from pathlib import Path

from backends import rewards
from backends.base.stage import RewardTerm, Stage
from backends.engines.registry import ENGINES
from backends.models.families import FAMILIES, family_at
from backends.registry import BACKENDS
from backends.training.objectives import objective
from benchmarks.prompts import template
from harness.store.keys import digest
from harness.store.sources.models import HubModel, Model, ServedModel

#: Taken for a model at the hub whose configuration is not in the hub's cache yet.
_USUAL_FAMILY = "qwen2_5_vl"


def backend(name: str) -> str:
    return BACKENDS.identity(name)


def engine(name: str) -> str:
    return ENGINES.identity(name)


def family(model: Model) -> str | None:
    """Of the architecture of a model, which says how text and pictures become its input; None
    where a server has the model."""
    if isinstance(model, ServedModel):
        return None
    folder = model.config() if isinstance(model, HubModel) else model.path()
    return FAMILIES.identity(family_at(folder).model_type if folder else _USUAL_FAMILY)


def prompt(stage: Stage) -> str:
    """Of the wording around a question, and of a bare answer's where that is what is learnt."""
    form = template(stage.template)
    if objective(stage).has_rollouts or form.answer_form == "{answer}":
        return form.hash
    return digest([form.hash, form.answer_form])[:12]


def reward_ids(stage: Stage) -> tuple[str, ...]:
    """One of each reward of a stage, with its parameters."""
    return tuple(map(rewards.identity, stage.rewards))


def reward_file(term: RewardTerm) -> tuple[str, str] | None:
    """Of a reward in a user's own file its identity, and where it is: ``/path/file.py:Class``. None
    for every other."""
    found = rewards.REWARDS.find(term.name)
    if not Path(found.origin).is_absolute():
        return None
    return rewards.REWARDS.identity(term.name), found.target
