"""A key knows the code that computes a result: it moves when that changes, and only then."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from backends.deepspeed.backend import DeepSpeedBackend
from backends.engines import factories
from backends.models.qwen2_5_vl import Qwen2_5VL
from backends.rewards.majority import Majority
from harness.errors import HarnessError
from harness.plan.planner import Plan
from harness.plan.step import Step
from tests.harness.examples import model_folder, planned, question_file

ROOT = Path(__file__).parents[3]
MINE = """\
from backends.base.reward import GroupReward, Reward, Rollout


class Mine(Reward):
    \"\"\"A constant.\"\"\"

    name = "mine"

    def __call__(self, group: Rollout) -> GroupReward:
        return GroupReward((1.0,) * len(group.responses), {})
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    model_folder(tmp_path / "model")
    question_file(tmp_path)
    return tmp_path


def plan_text(folder: Path, rewards: str = "[]", extra: str = "") -> str:
    return f"""\
name: e
model: {folder / "model"}
questions: {folder / "questions.jsonl"}
training: {{steps: 2, questions_per_step: 2, group_size: 4, max_response_tokens: 32, lr: 1e-5}}
evaluation: {{max_tokens: 32, engine: hf}}
benchmarks: [{{name: wemath, data: tiny/wemath}}]
arms:
  a:
    method: grpo
    rollout_engine: hf
    rewards: {rewards}
{extra}"""


def plan(folder: Path, rewards: str, extra: str = "") -> Plan:
    return planned(plan_text(folder, rewards, extra), folder)


def steps(plan: Plan) -> dict[str, Step]:
    return {step.kind: step for step in plan.trials[0].steps}


def key(plan: Plan) -> str:
    return steps(plan)["train"].key


def test_every_step_that_computes_carries_who_does(folder: Path) -> None:
    made = steps(plan(folder, "[{name: accuracy}, {name: overlong, parameters: {buffer: 8}}]"))
    train, generate = made["train"].spec, made["generate"].spec
    assert train["reward_ids"] == ["accuracy@3", 'overlong@1{"buffer": 8, "max_length": null}']
    assert (train["backend_id"], train["engine_id"]) == ("deepspeed@1", "hf@2")
    assert generate["engine_id"] == "hf@2"
    assert train["family_id"] == generate["family_id"] == "qwen2_5_vl@2"


def test_a_raised_version_is_a_new_key(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = [key(plan(folder, "[{name: majority}]"))]
    for patch in (
        lambda: monkeypatch.setattr(Majority, "version", Majority.version + 1),
        lambda: monkeypatch.setattr(DeepSpeedBackend, "version", 2),
        lambda: monkeypatch.setattr(factories.HF, "version", "next"),
        lambda: monkeypatch.setattr(Qwen2_5VL, "version", "next"),
    ):
        patch()
        keys.append(key(plan(folder, "[{name: majority}]")))
    assert len(set(keys)) == len(keys)


def test_how_a_bare_answer_is_written_counts_where_it_is_learnt(folder: Path) -> None:
    def train(method: str, form: str) -> str:
        arm = f"{{method: {method}, template: {{user: '{{question}}', answer_form: '{form}'}}}}"
        text = plan_text(folder).replace("  a:\n", f"  a: {arm}\n").partition("    method")[0]
        return key(planned(text, folder))

    assert train("sft", "<a>{answer}</a>") != train("sft", "<b>{answer}</b>")
    assert train("sft", "{answer}") != train("sft", "<b>{answer}</b>")


def test_parameters_count_and_the_number_of_workers_does_not(folder: Path) -> None:
    rewards = "[{{name: accuracy}}, {{name: overlong{}}}]"
    eight = key(plan(folder, rewards.format(", parameters: {buffer: 8}")))
    assert eight == key(plan(folder, rewards.format(", parameters: {buffer: 8}"), "workers: 3\n"))
    assert eight != key(plan(folder, rewards.format(", parameters: {buffer: 9}")))
    assert eight != key(plan(folder, rewards.format("")))


def test_a_users_file_counts_by_its_source_and_not_by_its_place(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("one", "two", "three"):
        (folder / name).mkdir()
        (folder / name / "mine.py").write_text(
            MINE.replace("1.0", "2.0") if name == "three" else MINE
        )
    one, two, three = (
        plan(folder, f"[{{name: '{folder / name}/mine.py:Mine'}}]")
        for name in ("one", "two", "three")
    )
    assert key(one) == key(two) != key(three)
    spec = steps(one)["train"].spec
    assert str(folder) not in str(spec["stage"]["rewards"]) + str(spec["reward_ids"])
    ((identity, place),) = one.reward_files.items()
    assert spec["stage"]["rewards"][0]["name"] == identity == spec["reward_ids"][0]
    assert place == f"{folder / 'one' / 'mine.py'}:Mine"
    monkeypatch.chdir(folder / "two")  # a trial runs elsewhere: its place is absolute
    assert key(plan(folder, "[{name: 'mine.py:Mine'}]")) == key(one)


@pytest.mark.parametrize(
    ("rewards", "line", "said"),
    [
        (
            "[{name: accuracy}, {name: overlong, parameters: {bufer: 8}}]",
            11,
            "arms.a.rewards[1].parameters.bufer: unknown parameter of reward 'overlong' 'bufer'; "
            "did you mean 'buffer'?",
        ),
        (
            "[{name: overlong, parameters: {buffer: much}}]",
            11,
            "buffer of reward 'overlong': expected a valid integer",
        ),
        ("[{name: overlnog}]", 11, "unknown reward 'overlnog'; did you mean 'overlong'?"),
        ("[{name: 'gone.py:Mine'}]", 11, "there is no file gone.py"),
    ],
)
def test_a_wrong_reward_is_one_message_with_its_line(
    folder: Path, rewards: str, line: int, said: str
) -> None:
    with pytest.raises(HarnessError) as told:
        plan(folder, rewards)
    (message,) = str(told.value).splitlines()
    assert f"experiment.yaml:{line}: " in message
    assert said in message
    assert not (folder / "runs").exists()


def test_an_unversioned_plug_in_is_told_in_one_line(folder: Path) -> None:
    """By the command, of a package that is really there; each of the trials plans with it."""
    source = MINE.replace("Mine", "Unversioned").replace("mine", "unversioned")
    (folder / "extra.py").write_text(source)
    info = folder / "extra-1.2.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: extra\nVersion: 1.2\n")
    point = "reward.unversioned = extra:Unversioned"
    (info / "entry_points.txt").write_text(f"[harness.plugins]\n{point}\n")
    plan(folder, "[{name: majority}]", "seeds: [0, 1]\n")
    file = folder / "experiment.yaml"
    file.write_text(file.read_text().replace("{name: majority}", "{name: unversioned}"))
    done = subprocess.run(
        [sys.executable, "-m", "harness.cli", "plan", str(file)],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": f"{folder}{os.pathsep}{ROOT}"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    (told,) = done.stderr.splitlines()
    assert told.startswith("Note: reward 'unversioned' of extra 1.2 declares no `version`")
