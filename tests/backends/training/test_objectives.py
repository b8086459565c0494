"""What an objective asks of a stage and of its questions; each is known to whoever needs it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import pytest

from backends.base.backend import TrainingError
from backends.base.stage import Stage
from backends.deepspeed.objectives.choice import LOSSES
from backends.rewards.correctness import correct
from backends.training.objectives import OBJECTIVES, Objective, objective
from benchmarks.answers.asked import Asked
from benchmarks.base import Item
from benchmarks.prompts import Template, templates

from ..trained import SMALL

DPO = {"objective": "dpo", "rewards": [], "curation": {"keep": "ranked"}}
SFT = {"objective": "sft", "rewards": []}
POOL = Path("pool.jsonl")


def of(**fields: Any) -> Objective:
    return objective(Stage.model_validate(SMALL | fields))


def test_every_objective_of_a_stage_has_its_data_and_its_loss() -> None:
    names = set(get_args(Stage.model_fields["objective"].annotation))
    assert set(OBJECTIVES) == set(LOSSES) == names
    for fields in ({}, SFT, DPO):
        made = of(**fields)
        assert made.has_rollouts == ("rollouts" in made.stage.activities)


def test_sft_takes_the_solution_else_the_answer_in_the_templates_form(items: list[Item]) -> None:
    def target(item: Item, template: str) -> str:
        return "".join(of(**SFT, template=template).targets(item))

    assert target(items[0], "boxed") == "0 and 0 are 0"
    assert target(items[1], "boxed") == r"\boxed{2}"
    assert target(items[1], "direct") == "2"
    assert target(items[1], "think") == "<answer>2</answer>"
    assert target(items[1], "lmm_r1") == "<answer> $2$ </answer>"
    assert target(replace(items[1], answer=""), "boxed") == ""
    for template in templates().values():
        if not template.fields:  # of those that ask any question
            text = target(items[1], template.name)
            assert correct((text,), Asked(gold="2")) == [True]
            for form in ("<answer>", "\\boxed"):
                assert (form in text) == (form in template.system + template.user)


def test_a_new_template_says_how_a_bare_answer_is_written(
    items: list[Item], monkeypatch: pytest.MonkeyPatch
) -> None:
    new = Template("new", "{question} Answer in stars.", answer_form="*{answer}*")
    monkeypatch.setitem(templates(), "new", new)
    assert of(**SFT, template="new").targets(items[1]) == ("*2*",)
    monkeypatch.setitem(templates(), "new", replace(new, answer_form="{answer}"))
    assert of(**SFT, template="new").targets(items[1]) == ("2",)


@pytest.mark.parametrize("missing", ["chosen", "rejected", "blank"])
def test_dpo_takes_whole_pairs_only(items: list[Item], missing: str) -> None:
    meta = {"chosen": "yes", "rejected": "no"}
    assert of(**DPO).targets(replace(items[0], meta=meta)) == ("yes", "no")
    broken = meta | {"chosen": " "} if missing == "blank" else meta
    broken = {name: text for name, text in broken.items() if name != missing}
    assert of(**DPO).targets(replace(items[0], meta=broken)) == ()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (SFT, "sft needs worked solutions or answers and none of the 8 questions of pool.jsonl"),
        (DPO, "dpo needs preferences and none of the 8 questions of pool.jsonl"),
        ({"rewards": [{"name": "accuracy"}]}, "reward 'accuracy' needs labels and none of the 8"),
    ],
)
def test_a_pool_with_nothing_to_learn_is_refused(
    items: list[Item], fields: dict[str, Any], message: str
) -> None:
    bare = [replace(item, answer="", solution="") for item in items]
    with pytest.raises(TrainingError, match=message):
        of(**fields).check(bare, POOL)
    with pytest.raises(TrainingError, match=r"pool.jsonl holds no question"):
        of(**fields).check([], POOL)


def test_a_majority_needs_no_label(items: list[Item]) -> None:
    of().check([replace(item, answer="") for item in items], POOL)


def test_what_the_update_needs_beside_the_rollouts() -> None:
    in_reward = {"beta": 0.1, "form": "k1", "place": "reward"}
    needs = {
        "plain": (of(), False, False),
        "kl in the loss": (of(kl={"beta": 0.1}), True, False),
        "kl in the reward": (of(kl=in_reward), True, True),
        "kl of weight 0": (of(kl=in_reward | {"beta": 0.0}), False, False),
        "two updates": (of(updates_per_rollout=2), False, True),
        "sft": (of(**SFT, updates_per_rollout=2), False, False),
        "dpo": (of(**DPO), True, False),
    }
    for name, (made, reference, old) in needs.items():
        assert (made.needs_reference, made.needs_old) == (reference, old), name
    assert [of(temperature=0.5, **f).temperature for f in ({}, SFT, DPO)] == [0.5, 1.0, 1.0]
    assert [of(**f).group_size for f in ({}, SFT, DPO)] == [SMALL["group_size"], 1, 2]


def test_settings_without_meaning_are_named() -> None:
    rewards = {"rewards": [{"name": "majority"}], "kl": {"beta": 0.1}}
    assert of(**rewards).problems() == []
    assert of(**SFT | rewards).problems() == [
        "kl.beta has no meaning for objective sft: set it to 0",
        "rewards have no meaning for objective sft: leave them out",
    ]
    assert of(**DPO | rewards).problems()[0] == (
        "kl.beta has no meaning for objective dpo: set it to 0; its weight is dpo_beta"
    )
