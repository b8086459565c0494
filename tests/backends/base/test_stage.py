"""A stage: what must be said, who reads which setting, and which settings an error is about."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from backends.base.config import SettingError
from backends.base.resources import Resources
from backends.base.stage import Stage
from backends.methods import METHODS, method

SIZES = {"steps", "questions_per_step", "max_response_tokens", "lr"}


def test_what_has_no_value_that_is_right_everywhere_is_required() -> None:
    assert {n for n, info in Stage.model_fields.items() if info.is_required()} == SIZES


@pytest.mark.parametrize("name", [n for n in METHODS.names() if METHODS.find(n).ours])
def test_every_preset_states_its_sizes(name: str) -> None:
    """They are the paper's, or stated as ours; a default would pass for a published value."""
    for stage in method(name).stages:
        assert set(stage) >= SIZES | {"group_size", "max_prompt_tokens", "template"}


def test_a_setting_is_marked_with_what_reads_it() -> None:
    assert Stage.only_for("pairs") == {"dpo_beta"}
    assert Stage.only_for("responses") == {"rollout_engine"}
    assert {"group_size", "rewards", "kl", "advantage", "external"} < Stage.only_for("rollouts")
    common = {"steps", "lr", "template", "aggregation", "max_response_tokens", "curation"}
    assert not common & Stage.only_for("rollouts", "responses", "pairs")


@pytest.mark.parametrize(
    ("name", "activities"),
    [
        ("grpo", {"rollouts", "responses"}),
        ("sft", set()),
        ("rft", {"responses"}),
        ("srlm", {"responses", "pairs"}),
    ],
)
def test_what_a_stage_does(name: str, activities: set[str]) -> None:
    (stage,) = method(name).resolve()
    assert stage.activities == activities


@pytest.mark.parametrize(
    ("name", "settings", "blamed"),
    [
        ("grpo", {"group_size": 1}, "group_size"),
        ("grpo", {"questions_per_step": 2, "updates_per_rollout": 4}, "updates_per_rollout"),
        ("grpo", {"kl": {"form": "k1"}}, "kl.form"),
        ("grpo", {"lora": {"dropout": 0.5}}, "lora.dropout"),
        ("grpo", {"advantage": "gae"}, "advantage"),
        ("grpo", {"lr": -1.0}, "lr"),
        ("grpo", {"grup_size": 2}, "grup_size"),
        ("sft", {"objective": "dpo"}, "curation"),
    ],
)
def test_an_error_carries_the_settings_that_it_is_about(
    name: str, settings: dict[str, Any], blamed: str
) -> None:
    with pytest.raises(SettingError) as caught:
        method(name).resolve(settings)
    assert caught.value.settings[0] == blamed


def test_so_does_one_of_the_resources() -> None:
    with pytest.raises(ValidationError) as caught:
        Resources(offload="weights")
    (error,) = caught.value.errors()
    assert error["ctx"]["error"].settings == ("offload",)
