"""Every shipped method: trained by TRL as our trainer trains it, or refused with the reason."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from safetensors.torch import load_file

from backends.base.resources import Resources
from backends.base.stage import Stage
from backends.methods import method, names
from backends.registry import backend
from benchmarks import tiny
from benchmarks.base import Item

from .conftest import Train, gap

#: What TRL adds to a group's deviation is not as published; an arm has to say that it accepts it.
ACCEPTED = {"advantage_eps": 1e-4}

SAMPLED = ["adaptive_thinking", "grpo", "mm_upt", "no_thinking", "think_after_answer", "thinking"]
#: On solutions of the pool, or on what a step before has written.
SUPERVISED = ["genixer", "lmsi", "rft", "sft"]
#: The fields of each stage that have no counterpart.
REFUSED: dict[str, tuple[set[str], ...]] = {
    "dapo": ({"updates_per_rollout", "dynamic_sampling"},),
    "dr_grpo": ({"updates_per_rollout"},),
    "lmm_r1": ({"advantage", "updates_per_rollout", "kl"},) * 2,
    "lmm_r1_direct": ({"advantage", "updates_per_rollout", "critic", "kl"},),
    "lmm_r1_fre_multi": ({"advantage", "updates_per_rollout", "kl"},),
    "lmm_r1_gae": ({"advantage", "updates_per_rollout", "critic", "kl"},) * 2,
    "mm_upt_released": ({"updates_per_rollout"},),
    "reinforce_baseline": ({"advantage", "kl"},),
    "rloo": ({"advantage", "kl"},),
    "srlm": ({"objective dpo"},),
    "stic": ({"objective dpo"}, set()),
    "vision_ekipl": ({"external"},),
    "vision_ekipl_sft": ({"external"},),
}
SHORT: dict[str, Any] = {
    "steps": 2,
    "questions_per_step": 4,
    "max_prompt_tokens": 1024,
    "max_response_tokens": 32,
    "lr": 1e-4,
    "warmup_steps": 0,
}


def reasons(stage: Stage) -> set[str]:
    """Which fields are refused."""
    found = backend("trl").problems(stage, Resources())
    return {said.partition(" is ")[0].partition(":")[0] for said in found}


def test_each_is_one_or_the_other() -> None:
    assert sorted([*SAMPLED, *SUPERVISED, *REFUSED, "none"]) == sorted(names())


@pytest.mark.parametrize("name", REFUSED)
def test_what_has_no_counterpart_is_refused(name: str) -> None:
    stages = method(name).resolve(ACCEPTED)
    for stage, fields in zip(stages, REFUSED[name], strict=True):
        assert reasons(stage) >= fields
    assert any(map(reasons, stages))


@pytest.mark.parametrize("name", ["grpo", "mm_upt"])
def test_a_deviation_as_published_is_refused(name: str) -> None:
    (stage,) = method(name).resolve()
    assert reasons(stage) == {"advantage_eps"}


@pytest.mark.parametrize("name", SAMPLED)
def test_what_samples_learns_the_same_from_the_same_samples(
    train: Train, replayed: dict[str, list[list[int]]], name: str
) -> None:
    (stage,) = method(name).resolve(ACCEPTED | SHORT | {"group_size": 4})
    compare(train, stage, tiny.questions("train")[16:24])  # on which the base is of two minds
    assert len(replayed) == 8


@pytest.mark.parametrize("name", SUPERVISED)
def test_what_is_supervised_is_trained_whoever_wrote_it(name: str) -> None:
    """Curation is done before: those that curate differ in their data alone."""
    (stage,) = method(name).resolve()
    assert reasons(stage) == set()
    (rft,) = method("rft").resolve()
    if stage.curation is not None:
        assert stage.model_copy(update={"curation": rft.curation}) == rft


@pytest.mark.parametrize("name", ["rft", "sft"])
def test_what_is_supervised_learns_the_same(
    train: Train, whole_vocabulary: None, name: str
) -> None:
    items = tiny.questions("train")[:8]
    (stage,) = method(name).resolve(SHORT)
    if stage.curation is not None:  # a demonstration a row, and no answers: as curate leaves them
        items = [replace(i, solution=f"It is \\boxed{{{i.answer}}}", answer="") for i in items]
    compare(train, stage, items)


def compare(train: Train, stage: Stage, items: list[Item]) -> None:
    given: dict[str, Any] = {"model": tiny.checkpoint(), "items": items, **stage.model_dump()}
    ours = train("ours", by="deepspeed", **given)
    theirs = train("theirs", **given)
    assert any(row["grad_norm"] > 1e-3 for row in ours.metrics)
    # Adam makes a full step of a gradient that is next to nothing, whichever sign rounding gave it.
    assert gap(theirs, ours, load_file(tiny.checkpoint() / "model.safetensors")) < 2e-2
    for a, b in zip(theirs.metrics, ours.metrics, strict=True):
        for figure in ("loss", "grad_norm", "tokens"):
            assert a[figure] == pytest.approx(b[figure], rel=1e-3, abs=1e-5), figure
