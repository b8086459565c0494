"""Method presets: what the files say, and how overrides are read."""

from __future__ import annotations

import subprocess
import sys

import pytest

from backends import backend
from backends.base import Resources
from backends.methods import method, names


def test_every_preset_is_whole_and_trainable() -> None:
    assert set(names()) >= {
        *("none", "mm_upt", "mm_upt_released", "grpo", "sft", "no_thinking", "thinking"),
        *("rft", "lmsi", "genixer", "srlm", "stic", "vision_ekipl", "vision_ekipl_sft"),
    }
    for name in names():
        preset = method(name)
        assert preset.title
        assert preset.notes
        for stage in preset.resolve():
            if stage.external is not None:
                continue  # not yet
            assert backend("deepspeed").problems(stage, Resources()) == []


def test_mm_upt_has_the_published_settings() -> None:
    (paper,), (released,) = method("mm_upt").resolve(), method("mm_upt_released").resolve()
    for stage in (paper, released):
        assert (stage.group_size, stage.lr, stage.temperature) == (10, 1e-6, 0.7)
        assert (stage.kl.beta, stage.kl.form, stage.kl.place) == (0.01, "k3", "loss")
        assert (stage.weight_decay, stage.max_grad_norm) == (0.01, 1.0)
    assert (paper.aggregation, paper.updates_per_rollout, paper.top_p) == ("sequence_mean", 1, 1.0)
    assert (released.aggregation, released.updates_per_rollout) == ("token_mean", 4)
    assert (released.clip_low, released.clip_high, released.top_p) == (0.2, 0.3, 0.99)


def test_the_unsupervised_methods_need_no_label() -> None:
    from backends.rewards import reward

    for name in ("mm_upt", "mm_upt_released"):
        (stage,) = method(name).resolve()
        assert not any(reward(r.name).needs_answer for r in stage.rewards)


def test_grpo_is_mm_upt_with_the_label_in_place_of_the_vote() -> None:
    (vote,), (label,) = method("mm_upt").resolve(), method("grpo").resolve()
    differing = {k for k in type(vote).model_fields if getattr(vote, k) != getattr(label, k)}
    assert differing == {"rewards"}


def test_the_vote_in_place_of_the_label_is_all_that_lmsi_changes_of_rft() -> None:
    (vote,), (label,) = method("lmsi").resolve(), method("rft").resolve()
    assert vote.curation is not None
    assert label.curation is not None
    assert vote.curation.model_copy(update={"keep": "correct"}) == label.curation
    assert vote.model_copy(update={"curation": None}) == label.model_copy(update={"curation": None})


def test_genixer_has_its_published_settings() -> None:
    (stage,) = method("genixer").resolve()
    assert stage.curation is not None
    assert (stage.curation.samples, stage.curation.threshold) == (16, 0.7)


def test_the_off_policy_treatment_is_all_that_the_two_of_vision_ekipl_differ_in() -> None:
    (ratio,), (sft,) = (method(f"vision_ekipl{x}").resolve() for x in ("", "_sft"))
    assert ratio.external is not None
    assert sft.external is not None
    assert ratio.external.model_copy(update={"off_policy": "sft"}) == sft.external
    assert ratio.model_copy(update={"external": None}) == sft.model_copy(update={"external": None})


def test_nested_settings_merge_key_by_key() -> None:
    (stage,) = method("vision_ekipl").resolve({"external": {"models": ["tiny"]}})
    assert stage.external is not None
    assert (stage.external.models, stage.external.samples) == (("tiny",), 2)
    first, second = method("stic").resolve({"curation": {"samples": 3}})
    assert first.curation is not None
    assert second.curation is not None
    assert (first.curation.keep, second.curation.keep) == ("contrast", "described")
    assert first.curation.samples == second.curation.samples == 3


def test_overrides_replace_fields_and_merge_kl() -> None:
    (stage,) = method("mm_upt").resolve({"group_size": 16, "lr": 5e-5, "kl": {"beta": 0.1}})
    assert (stage.group_size, stage.lr) == (16, 5e-5)
    assert (stage.kl.beta, stage.kl.form) == (0.1, "k3")
    (stage,) = method("mm_upt").resolve({"rewards": [{"name": "accuracy"}]})
    assert [r.name for r in stage.rewards] == ["accuracy"]


def test_none_has_no_stages() -> None:
    assert method("none").resolve({"lr": 1.0}) == ()


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"group_sizes": 3}, "did you mean 'group_size'"),
        ({"group_size": 1}, "a group of one has no advantage"),
        ({"kl": {"betta": 1}}, "kl.betta"),
        ({"lr": -1}, "lr: "),
    ],
)
def test_a_bad_override_is_named(overrides: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        method("grpo").resolve(overrides)


def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(KeyError, match="did you mean 'mm_upt'"):
        method("mmupt")
    with pytest.raises(KeyError, match="did you mean 'deepspeed'"):
        backend("deepsped")


def test_naming_things_loads_no_torch() -> None:
    code = """
import sys
import harness, backends, backends.base, backends.methods, backends.rewards
backends.methods.method("mm_upt").resolve()
backends.backend("deepspeed")
assert not {"torch", "mlflow", "transformers"} & set(sys.modules), "too much was imported"
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
