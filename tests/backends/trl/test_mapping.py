"""A stage becomes TRL's settings exactly, or is refused with a reason."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.base.backend import TrainingError
from backends.base.resources import Resources
from backends.base.stage import Stage
from backends.registry import backend
from backends.trl import mapping
from backends.trl.mapping import arguments, rows_per_micro_batch

from .conftest import SMALL

SFT: dict[str, Any] = {"objective": "sft", "rewards": []}


def refused(stage: dict[str, Any], resources: dict[str, Any] | None = None) -> list[str]:
    made = Stage.model_validate(SMALL | stage)
    return backend("trl").problems(made, Resources.model_validate(resources or {}))


@pytest.mark.parametrize(
    ("stage", "resources", "said"),
    [
        ({"advantage_eps": 1e-6}, {}, r"advantage_eps: 1e-06 .* Set advantage_eps: 1.0e-4"),
        ({"advantage": "batch_norm", "advantage_eps": 1e-6}, {}, "advantage_eps"),
        ({"advantage": "rloo"}, {}, "advantage: rloo"),
        ({"updates_per_rollout": 2}, {}, "updates_per_rollout: 2 .* response by response"),
        ({"kl": {"beta": 0.1, "place": "reward"}}, {}, "k3 in the reward"),
        ({"kl": {"beta": 0.1, "form": "k2"}}, {}, "k2 in the loss"),
        ({"kl": {"beta": 0.1, "clip": 10}}, {}, "kl.clip: 10 has no counterpart"),
        ({"vote_size": 8}, {}, "trains on every response"),
        ({"dynamic_sampling": 1}, {}, "does not replace"),
        ({"external": {"models": ["other"]}}, {}, "its own responses only"),
        ({"advantage": "gae", "critic": {}}, {}, "value head"),
        ({"rollout_engine": "vllm"}, {}, "rollout_engine"),
        ({"template": "boxd"}, {}, "did you mean 'boxed'"),
        ({}, {"processes": 2}, "trains in one process"),
        ({}, {"offload": "optimizer"}, "offload: optimizer: .* without ZeRO"),
        ({"lora": {"rank": 4}}, {}, "lora: .* whole weights"),
        (SFT | {"lora": {"rank": 4}}, {}, "lora: .* whole weights"),
        (SFT | {"aggregation": "sequence_mean"}, {}, "mean over tokens"),
        (SFT | {"kl": {"beta": 0.1}}, {}, "kl.beta has no meaning"),
        (SFT | {"updates_per_rollout": 2}, {}, "one update a step"),
        ({"objective": "sft"}, {}, "rewards have no meaning"),
        (SFT | {"objective": "dpo", "curation": {"keep": "ranked"}}, {}, "objective dpo"),
    ],
)
def test_what_trl_cannot_train_is_refused_with_the_reason(
    stage: dict[str, Any], resources: dict[str, Any], said: str
) -> None:
    found = refused(stage, resources)
    assert any(re.search(said, problem) for problem in found), found
    with pytest.raises(TrainingError):
        backend("trl").train(
            Stage.model_validate(SMALL | stage),
            None,  # type: ignore[arg-type]  # refused before the inputs are looked at
            Resources.model_validate(resources),
            Path("nowhere"),
        )


def test_an_eps_that_divides_nothing_is_nobodys_business() -> None:
    assert refused({"advantage": "group_mean", "advantage_eps": 1e-6}) == []


def test_another_release_of_trl_or_none_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mapping, "version", lambda name: "1.17.0")
    (said,) = refused({})
    assert "TRL 1.17.0 is installed" in said

    def none(name: str) -> str:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(mapping, "version", none)
    assert refused({}) == ["TRL is not installed: pip install 'rl-harness[trl]'"]


def test_every_setting_of_a_stage_reaches_trl_or_is_refused() -> None:
    """A field of the contract that nobody mapped would be ignored in silence."""
    by_others = {"objective", "template", "rewards", "steps", "questions_per_step", "lr", "betas"}
    by_others |= {"warmup_steps", "lr_schedule", "weight_decay", "freeze_vision", "dpo_beta"}
    by_others |= {"max_prompt_tokens", "curation"}  # what is learnt was written in a step before
    source = Path(mapping.__file__).read_text()
    mapped = {name for name in Stage.model_fields if f"stage.{name}" in source}
    assert set(Stage.model_fields) == by_others | mapped | {*mapping._GRPO, *mapping._SFT}


def test_the_settings_of_a_stage(tmp_path: Path) -> None:
    from backends.trl.library import GRPOConfig

    stage = Stage.model_validate(
        SMALL
        | {
            "aggregation": "sequence_mean",
            "advantage": "group_mean",
            "clip_low": 0.1,
            "clip_high": 0.3,
            "kl": {"beta": 0.02},
            "temperature": 0.7,
            "top_p": 0.9,
        }
    )
    config = GRPOConfig(**arguments(stage, Resources(), 3, tmp_path, 8, cuda=False))
    assert (config.epsilon, config.epsilon_high, config.beta) == (0.1, 0.3, 0.02)
    assert (config.loss_type, config.scale_rewards) == ("grpo", "none")
    assert (config.temperature, config.top_p, config.seed) == (0.7, 0.9, 3)
    assert config.generation_batch_size == 16
    assert config.steps_per_generation == config.gradient_accumulation_steps == 2
    # One update a rollout: TRL's ratio is exactly 1, as ours.
    assert config.num_iterations == 1
    assert not config.use_bias_correction_kl
    assert not config.bf16


@given(st.integers(1, 64), st.integers(1, 16), st.integers(1, 300), st.integers(1, 10_000))
def test_micro_batches_divide_the_step_and_keep_to_the_budget(
    questions: int, group: int, longest: int, tokens: int
) -> None:
    rows = questions * group
    each = rows_per_micro_batch(rows, longest, tokens)
    assert rows % each == 0
    assert each == 1 or each * longest <= tokens
    larger = [n for n in range(each + 1, rows + 1) if rows % n == 0]
    assert all(n * longest > tokens for n in larger)


def test_naming_the_backend_loads_neither_torch_nor_trl() -> None:
    code = (
        "import sys; from backends.registry import backend;"
        "from backends.base.resources import Resources; from backends.methods import method;"
        "backend('trl').problems(method('mm_upt').resolve()[0], Resources());"
        "assert not {'torch', 'trl', 'mlflow'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
