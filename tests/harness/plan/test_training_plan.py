"""The steps before a checkpoint: data that models write, teachers, and a pool for each stage."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.errors import HarnessError
from harness.plan.planner import Plan, Trial
from harness.plan.step import Step
from tests.harness.examples import model_folder, planned, question_file, read

HEAD = """\
name: e
model: {model}
questions: {questions}
training: {{steps: 2, questions_per_step: 2, group_size: 4, max_response_tokens: 32, lr: 1e-5}}
seeds: [0, 1]
baseline: base
arms:
  base: {{method: none}}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("training")
    model_folder(folder / "model")
    model_folder(folder / "teacher", weights=b"teacher")
    question_file(folder)
    return folder


def text(folder: Path, *arms: str) -> str:
    head = HEAD.format(model=folder / "model", questions=folder / "questions.jsonl")
    return head + "".join(f"  {arm}\n" for arm in arms)


def plan(folder: Path, *arms: str) -> Plan:
    return planned(text(folder, *arms), folder)


def trial(plan: Plan, name: str) -> Trial:
    return next(t for t in plan.trials if t.id == name)


def steps(plan: Plan, name: str) -> dict[str, Step]:
    found = trial(plan, name).steps
    assert len({s.name for s in found}) == len(found)
    before: set[str] = set()
    for step in found:
        assert set(step.parents.values()) <= before
        before.add(step.key)
    return {s.name: s for s in found}


def test_label_and_vote_choose_from_the_same_responses(folder: Path) -> None:
    made = plan(folder, "rft: {method: rft}", "lmsi: {method: lmsi}")
    rft, lmsi = steps(made, "rft-s0"), steps(made, "lmsi-s0")
    assert list(rft) == list(lmsi) == ["respond", "curate", "train"]
    assert rft["respond"].key == lmsi["respond"].key
    assert rft["curate"].parents == lmsi["curate"].parents == {"responses": rft["respond"].key}
    assert rft["curate"].key != lmsi["curate"].key
    assert rft["train"].parents == {"curated": rft["curate"].key}
    assert steps(made, "rft-s1")["respond"].key != rft["respond"].key


def test_a_threshold_asks_no_model_again(folder: Path) -> None:
    made = plan(
        folder,
        "a: {method: genixer}",
        "b: {method: genixer, curation: {threshold: 0.5}}",
        "c: {method: genixer, curation: {samples: 4}}",
    )
    a, b, c = (steps(made, f"{name}-s0") for name in "abc")
    assert list(a) == ["respond", "judge", "curate", "train"]
    assert a["judge"].key == b["judge"].key
    assert a["curate"].key != b["curate"].key
    assert a["judge"].key != c["judge"].key
    assert a["judge"].spec["temperature"] == 0
    assert a["judge"].parents == {"responses": a["respond"].key}


def test_ranking_rates_and_its_threshold_is_no_part_of_it(folder: Path) -> None:
    made = plan(folder, "a: {method: srlm}", "b: {method: srlm, curation: {threshold: 0.5}}")
    a, b = steps(made, "a-s0"), steps(made, "b-s0")
    assert list(a) == ["respond", "rate", "curate", "train"]
    assert a["curate"].key == b["curate"].key
    assert a["curate"].parents["judgements"] == a["rate"].key


def test_the_second_stages_data_are_written_by_the_first_stages_model(folder: Path) -> None:
    made = steps(plan(folder, "stic: {method: stic}"), "stic-s0")
    first = ["describe 1", "mislead 1", "curate 1", "train 1"]
    assert list(made) == [*first, "describe 2", "respond 2", "curate 2", "train 2"]
    trained = made["train 1"].key
    for name in ("describe 2", "respond 2", "train 2"):
        assert made[name].parents["model"] == trained
        assert made[name].spec["model"] is None
    assert made["respond 2"].parents["descriptions"] == made["describe 2"].key
    assert made["curate 1"].parents == {
        "responses": made["describe 1"].key,
        "rejected": made["mislead 1"].key,
    }
    assert "model" not in made["train 1"].parents


def test_one_set_of_external_responses_serves_all_seeds_and_arms(folder: Path) -> None:
    named = f"external: {{models: [{folder / 'teacher'}]}}"
    made = plan(
        folder,
        f"a: {{method: vision_ekipl, {named}}}",
        f"b: {{method: vision_ekipl_sft, {named}}}",
    )
    all_steps = [steps(made, f"{name}-s{seed}") for name in "ab" for seed in (0, 1)]
    assert len({found["external 1"].key for found in all_steps}) == 1
    assert len({found["train"].key for found in all_steps}) == 4
    train = all_steps[0]["train"]
    assert train.parents == {"external 0": all_steps[0]["external 1"].key}
    (content,) = train.spec["stage"]["external"]["models"]
    assert content == all_steps[0]["external 1"].spec["model"]
    assert content in made.sources
    assert str(folder) not in str(train.spec)


def test_a_teacher_is_trained_first_with_the_same_seed(folder: Path) -> None:
    made = plan(
        folder,
        "grpo: {method: grpo}",
        'pupil: {method: vision_ekipl, external: {models: ["arm:grpo"]}}',
    )
    for seed in (0, 1):
        teacher, pupil = steps(made, f"grpo-s{seed}"), steps(made, f"pupil-s{seed}")
        assert list(pupil) == ["grpo: train", "external 1", "train"]
        assert [step.of for step in pupil.values()] == ["grpo", None, None]
        assert pupil["grpo: train"].key == teacher["train"].key
        assert pupil["external 1"].parents == {"model": teacher["train"].key}
        assert pupil["train"].spec["stage"]["external"]["models"] == ["trained"]


def test_what_an_arm_is_called_is_no_part_of_its_pupils_result(folder: Path) -> None:
    def key(name: str) -> str:
        pupil = f'pupil: {{method: vision_ekipl, external: {{models: ["arm:{name}"]}}}}'
        made = plan(folder, f"{name}: {{method: grpo}}", pupil)
        return steps(made, "pupil-s0")["train"].key

    assert key("one") == key("other")


def test_each_stage_has_its_pool(folder: Path) -> None:
    pool = folder / "questions.jsonl"
    made = plan(
        folder,
        f"own: {{method: stic, questions: [tiny/train, {pool}]}}",
        f"all: {{method: stic, questions: {pool}}}",
    )
    own, one = steps(made, "own-s0"), steps(made, "all-s0")
    for name, step in own.items():
        same = step.spec["questions"] == one[name].spec["questions"]
        assert same == name.endswith("2")
    settings = trial(made, "own-s0").settings["questions"]
    assert settings == ["tiny/train", str(pool)]
    assert trial(made, "all-s0").settings["questions"] == str(pool)


def test_another_model_may_write_the_synthetic_questions(folder: Path) -> None:
    arm = "mix: {method: mm_upt, synthetic_ratio: 0.5}"
    own = steps(plan(folder, arm), "mix-s0")["synthesize"]
    other = planned(text(folder, arm) + f"synthesis: {{model: {folder / 'teacher'}}}\n", folder)
    made = steps(other, "mix-s0")["synthesize"]
    assert made.spec["model"] != own.spec["model"]
    assert made.spec["model"] in other.sources
    assert made.key != own.key


SERVERS = "servers: [{base_url: http://localhost:1/v1, model: gpt, revision: may}]\n"


def test_a_server_teaches_by_its_models_name_and_not_by_its_address(folder: Path) -> None:
    arm = 'a: {method: vision_ekipl, external: {models: ["server:gpt@may"]}}'
    here = planned(text(folder, arm) + SERVERS, folder)
    there = planned(text(folder, arm) + SERVERS.replace("localhost:1", "elsewhere"), folder)
    external = steps(here, "a-s0")["external 1"]
    assert external.spec["model"] == "server:gpt@may"
    assert external.spec["engine"] == "openai"
    assert external.key == steps(there, "a-s0")["external 1"].key
    assert [server.identity for server in here.services.writers] == ["gpt@may"]


def test_a_server_may_write_the_synthetic_questions(folder: Path) -> None:
    arm = "a: {method: mm_upt, synthetic_ratio: 0.5}"
    made = planned(text(folder, arm) + SERVERS + "synthesis: {model: server:gpt@may}\n", folder)
    assert steps(made, "a-s0")["synthesize"].spec["model"] == "server:gpt@may"


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ("synthesis: {model: server:gtp}\n" + SERVERS, "none of `servers`; known: server:gpt@may"),
        ("synthesis: {model: server:gpt}\n", "none of `servers`; there are none"),
        ("synthesis: {model: nowhere}\n", "synthesis.model: 'nowhere' is no model"),
        (SERVERS.replace("revision: may", "api_key_env: NO_SUCH_KEY"), "'NO_SUCH_KEY' holds no"),
    ],
)
def test_a_writer_that_is_not_there_is_refused(folder: Path, more: str, said: str) -> None:
    with pytest.raises(HarnessError) as caught:
        read(text(folder, "a: {method: mm_upt, synthetic_ratio: 0.5}") + more, folder)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("arms", "said"),
    [
        (["a: {method: vision_ekipl}"], "arms.a.external: 'models' is required"),
        (
            ['a: {method: vision_ekipl, external: {models: ["arm:bas"]}}'],
            "unknown arm 'bas'; did you mean 'base'",
        ),
        (
            ['a: {method: vision_ekipl, external: {models: ["arm:base"]}}'],
            "arm 'base' trains nothing",
        ),
        (
            ['a: {method: vision_ekipl, external: {models: ["arm:a"]}}'],
            "arm 'a' would have to be trained before itself",
        ),
        (
            [
                'a: {method: vision_ekipl, external: {models: ["arm:b"]}}',
                'b: {method: vision_ekipl, external: {models: ["arm:a"]}}',
            ],
            "arm 'b' would have to be trained before itself",
        ),
        (["a: {method: vision_ekipl, external: {models: [nowhere]}}"], "'nowhere' is no model"),
        (["a: {method: lmsi, synthetic_ratio: 0.5}"], "mix in no synthetic ones"),
        (["a: {method: srlm, group_size: 4}"], "preference optimisation has no rollouts"),
        (["a: {method: lmsi, dpo_beta: 0.2}"], "dpo_beta has no use"),
        (["a: {method: stic, questions: [tiny/train]}"], "questions names 1 pools and method"),
        (["a: {method: mm_upt, curation: {keep: majority}}"], "curation writes data for sft and"),
        (["a: {method: srlm, curation: {keep: majority}}"], "objective dpo needs curation ranked"),
        (["a: {method: lmsi, curation: {keep: most}}"], "expected 'correct', 'majority'"),
        (["a: {method: lmsi, curation: {sample: 4}}"], "did you mean 'samples'"),
    ],
)
def test_what_cannot_be_is_refused_with_its_place(folder: Path, arms: list[str], said: str) -> None:
    with pytest.raises(HarnessError) as caught:
        read(text(folder, *arms), folder)
    assert said in str(caught.value)
