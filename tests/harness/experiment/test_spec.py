"""The experiment file: what is right is read, and every mistake is named with its line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from ruamel.yaml import YAML
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


#: What ``mistakes.yaml`` makes its mistakes in.
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

MISTAKES = YAML(typ="safe").load(Path(__file__).parent / "mistakes.yaml")


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_named_with_its_line_and_nothing_is_created(
    mistake: str, tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new, line, words = (MISTAKES[mistake][key] for key in ("old", "new", "line", "said"))
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
