"""Method presets: what the files say, and how overrides are read."""

from __future__ import annotations

import pytest

from backends.base.resources import Resources
from backends.methods import method, names
from backends.registry import backend
from tests.fresh_process import loaded


def test_every_preset_is_whole_and_trainable() -> None:
    assert set(names()) >= {
        *("none", "mm_upt", "mm_upt_released", "grpo", "sft", "no_thinking", "thinking"),
        *("dr_grpo", "dapo", "rloo", "reinforce_baseline", "lmm_r1", "lmm_r1_gae"),
        *("lmm_r1_direct", "lmm_r1_fre_multi", "think_after_answer", "adaptive_thinking"),
        *("rft", "lmsi", "genixer", "srlm", "stic", "vision_ekipl", "vision_ekipl_sft"),
    }
    for name in names():
        preset = method(name)
        assert preset.title
        assert preset.notes
        for stage in preset.resolve():
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
    assert (paper.dual_clip, released.dual_clip) == (None, 3.0)


def test_lmm_r1_has_the_published_settings() -> None:
    (fre, mgt), (paper_fre, paper_mgt) = (
        method("lmm_r1").resolve(),
        method("lmm_r1_gae").resolve(),
    )
    (direct,), (multi,) = method("lmm_r1_direct").resolve(), method("lmm_r1_fre_multi").resolve()
    for stage in (fre, mgt, paper_fre, paper_mgt, direct, multi):
        assert (stage.group_size, stage.temperature, stage.template) == (16, 1.0, "lmm_r1")
        assert (stage.kl.beta, stage.kl.form, stage.kl.place) == (1e-3, "k1", "reward")
        assert [(r.name, r.weight) for r in stage.rewards] == [
            *(("accuracy", 1.0), ("format_lmm_r1", 0.5))
        ]
        assert (stage.updates_per_rollout, stage.aggregation) == (16, "token_mean")
        assert (stage.clip_low, stage.clip_high, stage.betas) == (0.2, 0.2, (0.9, 0.95))
        assert stage.warmup_steps == pytest.approx(0.03 * stage.steps, abs=1)
    assert {s.advantage for s in (fre, mgt, multi)} == {"reinforce_baseline"}
    assert (fre.lr, mgt.lr, multi.lr) == (4e-7, 4e-7, 1e-6)
    for stage in (paper_fre, paper_mgt, direct):
        assert stage.advantage == "gae"
        assert stage.critic is not None
        assert (stage.critic.lr, stage.critic.gamma, stage.critic.lam) == (9e-6, 1.0, 1.0)
    assert (paper_fre.lr, paper_mgt.lr, direct.lr) == (1e-6, 4e-7, 1e-6)
    assert (paper_fre.questions_per_step, paper_mgt.questions_per_step) == (128, 256)


def test_the_thinking_family_differs_in_prompt_and_reward_alone() -> None:
    family = ("thinking", "no_thinking", "think_after_answer", "adaptive_thinking")
    stages = [method(name).resolve()[0] for name in family]
    for field in type(stages[0]).model_fields:
        values = {str(getattr(stage, field)) for stage in stages}
        assert len(values) == (4 if field in ("template", "rewards") else 1), field


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("dr_grpo", {"advantage": "group_mean", "aggregation": "fixed_length", "group_size": 8}),
        (
            "dapo",
            {
                **{"clip_low": 0.2, "clip_high": 0.28, "mask_truncated": False},
                **{"aggregation": "token_mean", "group_size": 16, "dynamic_sampling": 9},
            },
        ),
        ("rloo", {"advantage": "rloo", "dual_clip": None}),
        ("reinforce_baseline", {"advantage": "reinforce_baseline", "aggregation": "token_mean"}),
    ],
)
def test_the_comparators_have_what_names_them(name: str, fields: dict[str, object]) -> None:
    (stage,) = method(name).resolve()
    assert {field: getattr(stage, field) for field in fields} == fields
    penalty = {"overlong": 0.5} if name == "dapo" else {}
    assert {r.name: r.weight for r in stage.rewards} == {"accuracy": 1.0} | penalty
    in_reward = name in ("rloo", "reinforce_baseline")
    assert (stage.kl.beta > 0, stage.kl.place == "reward") == (in_reward, in_reward)


def test_the_unsupervised_methods_need_no_label() -> None:
    from backends.rewards import reward

    for name in ("mm_upt", "mm_upt_released"):
        (stage,) = method(name).resolve()
        assert not any(reward(r).needs_answer for r in stage.rewards)


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
import harness, backends, backends.methods, backends.registry, backends.rewards
backends.methods.method("mm_upt").resolve()
backends.registry.backend("deepspeed")
"""
    assert not loaded(code, "torch", "mlflow", "transformers")
