"""The experiment file: what is right is read, and every mistake is named with its line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from harness.cli import app
from harness.errors import HarnessError, SpecError
from harness.experiment.spec import schema
from harness.experiment.yaml_file import YamlFile
from tests.harness.examples import EXAMPLE, model_folder, question_file, read

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return model_folder(tmp_path / "model")


def test_the_designs_example_is_read_word_for_word(tmp_path: Path, model: Path) -> None:
    spec = read(EXAMPLE.format(model=model), tmp_path)
    assert list(spec.arms) == ["base", "mm_upt", "grpo", "sft", "no_thinking"]
    assert spec.sweep is not None
    assert spec.sweep.axes() == {"group_size": [4, 8, 16], "synthetic_ratio": [0.0, 0.5, 1.0]}
    assert spec.training.model_dump(exclude_unset=True) == {"group_size": 8, "lr": 5e-5}
    assert spec.seeds == (0, 1, 2)


def test_yaml_is_1_2(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text("lr: 1e-6\nlist: [1e-3, on]\nswitch: on\nword: no\n")
    data = YamlFile(file).data
    assert data == {"lr": 1e-6, "list": [1e-3, "on"], "switch": "on", "word": "no"}
    assert type(data["lr"]) is float


#: What replaces or follows a line of BASE -> where, and what the message must say.
BASE = """\
name: test
model: MODEL
questions: QUESTIONS
training:
  steps: 4
arms:
  base: {method: none}
  vote:
    method: mm_upt
  sft: {method: sft}
sweep:
  of: vote
  group_size: [4, 8]
seeds: [0, 1]
benchmarks:
  - {name: mathvista, data: tiny/mathvista}
evaluation: {samples: 2}
baseline: base
"""

MISTAKES = {
    "unknown key": ("seeds:", "sedes:", 14, ["sedes", "did you mean 'seeds'"]),
    "unknown setting of an arm": (
        "    method: mm_upt",
        "    method: mm_upt\n    group_sise: 4",
        10,
        ["arms.vote.group_sise", "did you mean 'group_size'"],
    ),
    "unknown nested setting": (
        "    method: mm_upt",
        "    method: mm_upt\n    kl: {bta: 1}",
        10,
        ["arms.vote.kl.bta", "did you mean 'beta'"],
    ),
    "unknown method": ("mm_upt", "mm_up", 9, ["'mm_up'", "did you mean 'mm_upt'"]),
    "unknown benchmark": ("name: mathvista", "name: mathvsta", 16, ["did you mean 'mathvista'"]),
    "unknown scorer": (
        "data: tiny/mathvista",
        "scorer: oficial, data: tiny/mathvista",
        16,
        ["scorer", "did you mean 'official'"],
    ),
    "unknown template": (
        "base: {method: none}",
        "base: {method: none, template: boxd}",
        7,
        ["did you mean 'boxed'"],
    ),
    "unknown backend": ("baseline: base", "baseline: base\nbackend: deepsped", 19, ["deepspeed"]),
    "unknown baseline": ("baseline: base", "baseline: bas", 18, ["did you mean 'base'"]),
    "unknown paper": ("baseline: base", "paper: mm_up", 18, ["did you mean 'mm_upt'"]),
    "unknown reward": (
        "    method: mm_upt",
        "    method: mm_upt\n    rewards: [{name: majorty}]",
        10,
        ["did you mean 'majority'"],
    ),
    "sweep of no arm": ("of: vote", "of: voet", 12, ["did you mean 'vote'"]),
    "sweep of an arm that trains nothing": ("of: vote", "of: base", 12, ["trains nothing"]),
    "sweep over an unknown setting": ("group_size: [4, 8]", "gruop_size: [4]", 13, ["group_size"]),
    "sweep over what its method has no use for": ("of: vote", "of: sft", 13, ["no rollouts"]),
    "sweep over a value twice": ("[4, 8]", "[4, 8, 4]", 13, ["4 is there twice"]),
    "sweep over a group of one": ("[4, 8]", "[4, 1]", 13, ["group_size", "at least 2"]),
    "a grid that crosses what contradicts": (
        "  group_size: [4, 8]",
        "  design: grid\n  questions_per_step: [2, 8]\n  updates_per_rollout: [1, 4]",
        11,
        ["sweep: questions_per_step 2, updates_per_rollout 4: ", "cannot exceed"],
    ),
    "sweep without axes": ("  group_size: [4, 8]\n", "", 11, ["no axis"]),
    "an axis without values": ("[4, 8]", "[]", 13, ["at least one"]),
    "no seeds": ("[0, 1]", "[]", 14, ["at least one"]),
    "a seed twice": ("[0, 1]", "[0, 0]", 14, ["0 is there twice"]),
    "a negative seed": ("[0, 1]", "[0, -1]", 14, ["greater than or equal to 0"]),
    "no arms": (
        "  base: {method: none}\n  vote:\n    method: mm_upt\n  sft: {method: sft}\n",
        "  {}\n",
        6,
        ["arms"],
    ),
    "an arm without method": ("{method: none}", "{template: boxed}", 7, ["'method' is required"]),
    "a setting on an arm that trains nothing": (
        "{method: none}",
        "{method: none, lr: 1e-5}",
        7,
        ["arms.base.lr", "trains nothing"],
    ),
    "a setting that the method has no use for": (
        "{method: sft}",
        "{method: sft, group_size: 16}",
        10,
        ["arms.sft.group_size", "no rollouts"],
    ),
    "a group of one": (
        "    method: mm_upt",
        "    method: mm_upt\n    group_size: 1",
        10,
        ["at least 2"],
    ),
    "settings that contradict each other": (
        "    method: mm_upt",
        "    method: mm_upt\n    lr: 1e-6\n    questions_per_step: 2\n    updates_per_rollout: 4",
        12,
        ["arms.vote.updates_per_rollout", "cannot exceed"],
    ),
    "a setting that contradicts its method's": (
        "    method: mm_upt",
        "    method: dapo\n    lr: 1e-6\n    questions_per_step: 2",
        11,
        ["arms.vote.questions_per_step", "cannot exceed"],
    ),
    "a nested setting that contradicts its method's": (
        "    method: mm_upt",
        "    method: mm_upt\n    kl:\n      clip: 3\n      form: k1",
        12,
        ["arms.vote.kl.form", "k1 in the loss"],
    ),
    "null where there must be a number": (
        "    method: mm_upt",
        "    method: mm_upt\n    lr:",
        10,
        ["arms.vote.lr", "valid number"],
    ),
    "as many pools as the method has no stages": (
        "    method: mm_upt",
        "    method: mm_upt\n    lr: 1e-6\n    questions: [tiny/train, tiny/text]",
        11,
        ["arms.vote.questions", "2 pools"],
    ),
    "an engine for responses that nobody writes": (
        "{method: sft}",
        "{method: sft, rollout_engine: hf}",
        10,
        ["arms.sft.rollout_engine", "writes no responses"],
    ),
    "a group of one for all": ("  steps: 4", "  group_size: 1", 5, ["at least 2"]),
    "a method's nature set for all": ("  steps: 4", "  template: boxed", 5, ["on an arm"]),
    "a wrong type": ("  steps: 4", "  steps: many", 5, ["training.steps", "integer", "'many'"]),
    "a value out of range": ("  steps: 4", "  steps: 0", 5, ["greater than or equal to 1", "0"]),
    "synthetic questions for a method that needs labels": (
        "{method: sft}",
        "{method: sft, synthetic_ratio: 0.5}",
        10,
        ["needs labels"],
    ),
    "a ratio above one": (
        "    method: mm_upt",
        "    method: mm_upt\n    synthetic_ratio: 1.5",
        10,
        ["less than or equal to 1"],
    ),
    "nothing asked": ("{samples: 2}", "{samples: 0, greedy: false}", 17, ["nothing would be"]),
    "a benchmark twice": (
        "  - {name: mathvista, data: tiny/mathvista}",
        "  - {name: mathvista, data: tiny/mathvista}\n  - {name: mathvista, data: tiny/hard}",
        17,
        ["there twice"],
    ),
    "benchmark data that is not there": ("tiny/mathvista", "no/such", 16, ["no such folder"]),
    "a misspelt mini benchmark": ("tiny/mathvista", "tiny/mathvsta", 16, ["tiny/mathvista"]),
    "no questions": ("questions: QUESTIONS\n", "", 1, ["'questions' is required"]),
    "a question file that is not there": ("QUESTIONS", "gone.jsonl", 3, ["no such file"]),
    "a misspelt question pool": ("QUESTIONS", "tiny/trian", 3, ["did you mean 'tiny/train'"]),
    "a hub revision that can move": ("QUESTIONS", "hub:a/b@main[train]", 3, ["40 hex", "main"]),
    "hub questions without their split": (
        "QUESTIONS",
        f"hub:a/b@{40 * 'a'}",
        3,
        ["name the split", "[train]"],
    ),
    "a split of a benchmark's data": (
        "tiny/mathvista",
        f"'hub:a/b@{40 * 'a'}[test]'",
        16,
        ["leave out [test]"],
    ),
    "a model that is not there": ("MODEL", "no-such-model", 2, ["is no model", "owner/name@"]),
    "a model's revision that can move": ("MODEL", "Qwen/x@main", 2, ["pin the revision"]),
    "a name that is no folder name": ("name: test", "name: a/b", 1, ["letters, digits"]),
    "not YAML": ("seeds: [0, 1]", "seeds: [0, 1", 15, ["not valid YAML"]),
    "a key twice": ("seeds: [0, 1]", "seeds: [0, 1]\nseeds: [2]", 15, ["duplicate key"]),
    "a key that is no text": ("seeds: [0, 1]", "1: [0, 1]", 14, ["not text"]),
    "a date": ("  steps: 4", "  steps: 2024-01-01", 5, ["quotes"]),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_named_with_its_line_and_nothing_is_created(
    mistake: str, tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new, line, words = MISTAKES[mistake]
    assert BASE.count(old) >= 1, "the table and BASE have drifted apart"
    text = BASE.replace(old, new, 1)
    text = text.replace("MODEL", str(model)).replace("QUESTIONS", str(question_file(tmp_path)))
    file = tmp_path / "experiment.yaml"
    file.write_text(text)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(SpecError) as caught:
        read(text, tmp_path)
    said = str(caught.value)
    ours = [one for one in said.splitlines() if one.startswith(f"{file}:{line}:")]
    assert ours, said
    for word in words:
        assert any(word in one for one in ours), said
    assert len(caught.value.problems) <= 2, said
    assert sorted(tmp_path.rglob("*")) == before


def test_the_file_of_the_table_has_no_mistake(tmp_path: Path, model: Path) -> None:
    text = BASE.replace("MODEL", str(model)).replace("QUESTIONS", str(question_file(tmp_path)))
    assert read(text, tmp_path).name == "test"


def test_several_mistakes_are_reported_at_once_of_shape_and_of_meaning(
    tmp_path: Path, model: Path
) -> None:
    text = BASE.replace("MODEL", str(model)).replace("QUESTIONS", "gone.jsonl")
    text = text.replace("steps: 4", "steps: none").replace("baseline: base", "baseline: bas")
    text = text.replace("method: mm_upt", "method: mm_up").replace("name: test", "name: a b")
    with pytest.raises(SpecError) as caught:
        read(text, tmp_path)
    assert {p.line for p in caught.value.problems} == {1, 3, 5, 9, 18}


@pytest.mark.parametrize(
    ("gone", "said"),
    [
        ("config.json", "config.json"),
        ("model.safetensors", "weights"),
        ("preprocessor_config.json", "processor"),
        ("tokenizer.json", "tokenizer"),
    ],
)
def test_a_model_folder_that_lacks_a_part_is_refused(
    tmp_path: Path, model: Path, gone: str, said: str
) -> None:
    (model / gone).unlink()
    with pytest.raises(SpecError, match=f"has no {said}"):
        read(EXAMPLE.format(model=model), tmp_path)


def test_a_model_of_an_unknown_family_is_refused_with_the_nearest(
    tmp_path: Path, model: Path
) -> None:
    (model / "config.json").write_text('{"model_type": "qwen2_vl"}')
    with pytest.raises(
        SpecError, match="unknown family 'qwen2_vl'; did you mean 'qwen2_5_vl'"
    ) as told:
        read(EXAMPLE.format(model=model), tmp_path)
    assert told.value.problems[0].line == 2


def test_a_corrupt_question_file_is_named_with_its_row(tmp_path: Path, model: Path) -> None:
    file = question_file(tmp_path)
    file.write_text(file.read_text() + '{"id": "q99"\n')
    text = BASE.replace("MODEL", str(model)).replace("QUESTIONS", str(file))
    with pytest.raises(SpecError, match=r"questions\.jsonl, line 9"):
        read(text, tmp_path)


def test_aliases_that_unfold_without_end_are_refused(tmp_path: Path) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    for i in range(1, 9):
        lines.append(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]")
    file = tmp_path / "bomb.yaml"
    file.write_text("\n".join(lines))
    with pytest.raises(SpecError, match="more than"):
        YamlFile(file)


def test_a_file_that_is_not_there_or_no_text(tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match="no such file"):
        YamlFile(tmp_path / "gone.yaml")
    (tmp_path / "bytes.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(HarnessError, match="text file"):
        YamlFile(tmp_path / "bytes.yaml")


def test_the_committed_schema_is_the_models_own() -> None:
    """Editors complete from it. `python -m harness.experiment.spec` writes it again."""
    committed = json.loads((ROOT / "harness/schema/experiment.schema.json").read_text())
    assert committed == schema()


def test_the_schema_completes_arms_and_sweeps_with_every_stage_setting() -> None:
    made = schema()["$defs"]
    assert {"group_size", "lr", "kl", "method", "synthetic_ratio"} <= set(made["Arm"]["properties"])
    assert made["Sweep"]["properties"]["group_size"]["type"] == "array"
    assert made["Arm"]["additionalProperties"] is False


def test_the_command_line_exits_2_without_a_traceback(tmp_path: Path, model: Path) -> None:
    file = tmp_path / "experiment.yaml"
    file.write_text(EXAMPLE.format(model=model).replace("baseline: base", "baseline: bas"))
    for verb in ("run", "plan"):
        done = CliRunner().invoke(app, [verb, str(file), "--root", str(tmp_path / "runs")])
        assert isinstance(done.exception, SpecError)
    assert not (tmp_path / "runs").exists()
