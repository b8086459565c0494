"""What a file leaves unset is derived from the machine and the arms; what it says is kept."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness import environment
from harness.experiment import derived
from harness.experiment.derived import settle
from harness.experiment.spec import Experiment
from tests.harness.examples import model_folder, planned

FILE = """\
name: test
model: {model}
questions: tiny/train
arms:
  base: {{method: none}}
  vote: {{method: mm_upt, max_response_tokens: 512}}
  think: {{method: thinking, max_response_tokens: 300}}
  demonstrations: {{method: sft, max_response_tokens: 64}}
  own_demonstrations: {{method: rft, max_response_tokens: 64}}
  peer: {{method: grpo, backend: trl, advantage_eps: 1e-4, max_response_tokens: 64}}
benchmarks: [{{name: mathvista, data: tiny/mathvista}}]
"""


def experiment(**more: object) -> Experiment:
    arms = {"base": {"method": "none"}, "vote": {"method": "mm_upt"}, "sft": {"method": "sft"}}
    return Experiment.model_validate({"name": "test", "model": "tiny", "arms": arms} | more)


def values(made: Experiment) -> dict[str, object]:
    return {one.setting: one.value for one in settle(made)[1]}


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    """Eight GPUs and an installed vllm, as far as a plan looks."""
    card = {"name": "GPU", "memory": "80 GiB"}
    monkeypatch.setattr(environment, "gpus", lambda: [card | {"index": str(i)} for i in range(8)])
    monkeypatch.setattr(environment, "cores", lambda: 64)
    monkeypatch.setattr(derived, "missing", lambda name: None)
    monkeypatch.setattr("backends.deepspeed.backend.missing", lambda name: None)


@pytest.fixture
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "gpus", list)


@pytest.mark.usefixtures("no_gpu")
def test_on_a_processor() -> None:
    settled, _ = settle(experiment())
    assert (settled.resources.device, settled.resources.dtype) == ("cpu", "float32")
    assert settled.resources.zero_stage == 1
    assert settled.evaluation.engine == "hf"


@pytest.mark.usefixtures("gpus")
def test_on_gpus() -> None:
    settled, _ = settle(experiment(resources={"processes": 8}))
    assert (settled.resources.device, settled.resources.dtype) == ("cuda", "bfloat16")
    assert settled.resources.zero_stage == 3
    assert settled.resources.activation_checkpointing
    assert settled.resources.threads == 8
    assert settled.evaluation.engine == "vllm"
    assert settled.arms["vote"].rollout_engine == "vllm"


@pytest.mark.usefixtures("gpus")
def test_what_a_file_says_is_kept() -> None:
    said = {"device": "cpu", "dtype": "bfloat16", "zero_stage": 2, "threads": 3}
    settled, _ = settle(experiment(resources=said, evaluation={"engine": "hf", "max_tokens": 9}))
    assert settled.resources.model_dump(include=set(said)) == said
    assert (settled.evaluation.engine, settled.evaluation.max_tokens) == ("hf", 9)
    gpu = {"dtype": "float32", "threads": 1, "tokens_per_micro_batch": 4096, "zero_stage": 1}
    settled, _ = settle(experiment(resources=gpu, training={"rollout_engine": "hf"}))
    assert settled.resources.model_dump(include=set(gpu)) == gpu
    assert settled.arms["vote"].rollout_engine is None


@pytest.mark.usefixtures("gpus")
def test_a_settled_experiment_is_settled_for_good() -> None:
    settled, made = settle(experiment(resources={"processes": 8}))
    assert made
    assert settle(settled) == (settled, ())


@pytest.mark.parametrize("here", ["gpus", "no_gpu"])
def test_keys_carry_what_was_derived(
    here: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """Or a result of one precision would be taken for one of another."""
    request.getfixturevalue(here)
    plan = planned(FILE.format(model=model_folder(tmp_path / "model")), tmp_path)
    dtype, engine = ("bfloat16", "vllm") if here == "gpus" else ("float32", "hf")
    for step in plan.steps().values():
        assert step.spec.get("dtype", dtype) == dtype
        assert step.spec.get("engine", engine) == engine
        assert step.spec.get("max_tokens", 512) in (512, 64)
    trained = {t.arm: t.steps[-3].spec["stage"] for t in plan.trials if t.arm != "base"}
    engines = {arm: stage["rollout_engine"] for arm, stage in trained.items()}
    unread = {"demonstrations": "hf", "peer": "hf"}  # written by none; not mapped to trl
    assert engines == dict.fromkeys(trained, engine) | unread
    block = derived.lines(plan.derived)
    assert block[0] == "Derived here"
    assert "  evaluation.max_tokens: 512 (max_response_tokens of arm vote, the most)" in block
    if here == "gpus":
        reason = "device cuda, vllm is installed"
        assert f"  rollout_engine of vote, think, own_demonstrations: vllm ({reason})" in block


@pytest.mark.usefixtures("no_gpu")
def test_all_are_asked_for_as_long_answers_as_any_arm_trains_with() -> None:
    arms = {"a": {"method": "grpo"}, "b": {"method": "thinking", "max_response_tokens": 7000}}
    assert values(experiment(arms=arms))["evaluation.max_tokens"] == 7000
    only = {"base": {"method": "none"}}
    assert values(experiment(arms=only))["evaluation.max_tokens"] == 2048


@pytest.mark.usefixtures("gpus")
def test_a_server_that_is_named_is_asked() -> None:
    server = {"base_url": "http://localhost:8000/v1", "model": "org/m"}
    settled, _ = settle(experiment(evaluation={"server": server}))
    assert settled.evaluation.engine == "openai"


def test_without_anything_to_derive_there_is_no_block() -> None:
    assert derived.lines(()) == []
