"""The command line, end to end on the tiny world, and its messages."""

from __future__ import annotations

import io
import json
import os
import random
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rich.console import Console

from harness.commands import eval as eval_
from harness.commands.list import sections
from harness.commands.run import print_report
from harness.run import status
from harness.store.files import write_json
from tests.harness import synthetic_run
from tests.harness.examples import model_folder


def experiment(name: str, arms: str, steps: int, questions: int, limit: int) -> str:
    """An experiment file on the tiny model, without its last settings."""
    return f"""\
name: {name}
model: tiny
questions: tiny/train
training:
  {{steps: {steps}, questions_per_step: {questions}, group_size: 4, max_response_tokens: 24,
    lr: 5.0e-5}}
arms: {arms}
seeds: [0]
benchmarks: [{{name: mathvista, limit: {limit}}}]
evaluation: {{samples: 2, max_tokens: 24}}
"""


ARMS = "{base: {method: none}, mm_upt: {method: mm_upt}}"
TEXT = (
    experiment("small", ARMS, steps=2, questions=4, limit=12)
    + """\
sweep: {of: mm_upt, synthetic_ratio: [0.0, 0.5]}
synthesis: {count: 8, max_tokens: 48}
baseline: base
resources: {device: cpu}
"""
)


def harness(*arguments: str | Path, check: bool = True) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-m", "harness.cli", *map(str, arguments)],
        capture_output=True,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    if check:
        assert done.returncode == 0, done.stdout + done.stderr
    return done


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the small experiment has been run."""
    folder = tmp_path_factory.mktemp("cli")
    (folder / "small.yaml").write_text(TEXT)
    harness("run", folder / "small.yaml", "--root", folder / "runs", "--no-tracking")
    return folder


def test_help_is_there_for_every_verb_and_loads_nothing_heavy() -> None:
    code = (
        "import sys, harness.cli as c; "
        "c.app(sys.argv[1:], standalone_mode=False); "
        "print([m for m in ('torch', 'mlflow', 'optuna', 'pyarrow', 'pydantic', 'numpy') "
        "if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "-h"], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip().splitlines()[-1] == "[]"
    for verb in ("run", "plan", "eval", "status", "report", "list", "doctor", "ui", "sync"):
        assert f" {verb} " in done.stdout


def test_a_run_ends_with_a_table_and_every_trial_has_its_result(small: Path) -> None:
    run = small / "runs" / "small"
    assert (run / "report" / "report.md").is_file()
    ids = [t["id"] for t in json.loads((run / "plan.json").read_text())["trials"]]
    assert len(ids) == 3
    for name in ids:
        result = json.loads((run / "trials" / name / "result.json").read_text())
        assert 0 <= result["metrics"]["mathvista/accuracy"] <= 1
        assert result["scores"]["mathvista"]["n"] >= 12
        for step in result["steps"]:
            assert (small / "runs" / step["path"] / "manifest.json").is_file()
    values = json.loads((run / "study.json").read_text())["values"]
    assert len(values) == 2
    assert all(value is not None for value in values.values())


def test_a_second_run_reports_from_the_store(small: Path) -> None:
    done = harness("run", small / "small.yaml", "--root", small / "runs", "--no-tracking")
    assert "nothing was run" in done.stdout
    assert "mm_upt" in done.stdout


def test_the_plan_of_a_finished_run_has_nothing_to_run(small: Path) -> None:
    done = harness("plan", small / "small.yaml", "--root", small / "runs")
    assert "0 steps to run" in done.stdout


def test_another_scorer_needs_no_model(small: Path) -> None:
    """The table changes without a training and without a generation."""
    file = small / "rescored.yaml"
    file.write_text(TEXT.replace("limit: 12", "limit: 12, scorer: official"))
    done = harness("run", file, "--root", small / "runs", "--no-tracking")
    assert "score mathvista" in done.stdout
    assert "train" not in done.stdout.split("small")[0]
    assert "generate" not in done.stdout.split("small")[0]


def test_status_shows_every_trial(small: Path) -> None:
    done = harness("status", small / "runs" / "small")
    assert "mm_upt--synthetic_ratio=0.5-s0" in done.stdout
    assert "3 ok" in done.stdout


def test_eval_prints_every_figure_with_its_n_and_labels_a_subset(small: Path) -> None:
    done = harness(
        *("eval", "--model", "tiny", "--benchmarks", "wemath", "--limit", 9),
        *("--max-tokens", 24, "--root", small / "runs", "--device", "cpu"),
    )
    assert "SUBSET of" in done.stdout
    assert "wemath/accuracy" in done.stdout
    assert "wemath/score_strict" in done.stdout
    assert "wemath/RM_strict" in done.stdout  # also where no composite question is right
    assert "wemath/rules" in done.stdout


def test_models_whose_folders_have_one_name_are_evaluated_in_two(tmp_path: Path) -> None:
    names = set()
    for weights in (b"one", b"two"):
        model = model_folder(tmp_path / weights.decode() / "checkpoint", weights)
        settings = eval_.Settings(
            model=str(model),
            benchmarks="wemath",
            data="tiny/wemath",
            device="cpu",
            root=tmp_path / "runs",
        )
        spec = eval_.experiment(settings)
        assert re.fullmatch("eval-checkpoint-[0-9a-f]{6}", spec.name)
        names.add(spec.name)
    assert len(names) == 2


def test_figures_that_are_undefined_are_shown_as_such(tmp_path: Path) -> None:
    score = {"path": "store/score/one", "n": 3, "limit": None, "scorer": "s", "prompt": "p"}
    scores = {"wemath": score | {"data": "hub:a/b[test]", "of": 3, "differences": []}}
    result = {"status": "ok", "steps": [], "metrics": {}, "scores": scores}
    write_json(tmp_path / "eval-m" / "trials" / "model-s0" / "result.json", result)
    trials = [{"id": "model-s0", "arm": "model", "seed": 0}]
    write_json(tmp_path / "eval-m" / "plan.json", {"trials": trials})
    summary = {"metrics": {}, "ns": {}, "undefined": ["wemath/RM_strict"], "counts": {"n": 3}}
    step = tmp_path / "store" / "score" / "one"
    write_json(step / "summary.json", summary)
    none: dict[str, list[Any]] = {"metric": [], "cluster": [], "value": []}
    pq.write_table(pa.table(none), step / "values.parquet")
    console = Console(width=110, record=True, file=io.StringIO())
    eval_.show(tmp_path / "eval-m", console)
    shown = console.export_text()
    assert re.search(r"wemath/RM_strict +undefined", shown)
    assert "data hub:a/b[test]" in shown


def test_the_report_as_json(small: Path) -> None:
    done = harness("report", small / "runs" / "small", "--json")
    assert json.loads(done.stdout)["name"] == "small"


def test_a_report_is_printed_again_only_if_it_is_of_the_last_run_and_can_be_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arms = {"base": synthetic_run.ARMS["base"]}
    run = synthetic_run.make(tmp_path, arms=arms, sweep=False, holes=False, steps=3)
    print_report(run)
    report = run / "report" / "report.json"
    now = report.stat().st_mtime
    for file in run.rglob("*.json"):
        os.utime(file, (now - 9, now - 9))
    print_report(run)
    assert report.stat().st_mtime == pytest.approx(now - 9, abs=1)
    report.write_text('{"of": "another version"}')
    print_report(run)
    assert json.loads(report.read_text())["name"] == "tiny-ablation"
    # A trial that failed when it was tried again: its result is gone, its status is new.
    trial = run / "trials" / "base-s0"
    (trial / "result.json").unlink()
    (trial / status.FILE).write_text(json.dumps({"state": "failed", "reason": "out of memory"}))
    later = report.stat().st_mtime + 9
    os.utime(trial / status.FILE, (later, later))
    capsys.readouterr()
    print_report(run)
    assert "out of memory" in capsys.readouterr().out


def test_what_the_system_refuses_is_one_line_and_exit_1(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    experiment = tmp_path / "small.yaml"
    experiment.write_text(TEXT)
    done = harness("run", experiment, "--root", tmp_path / "file", check=False)
    assert done.returncode == 1
    assert done.stderr == f"{tmp_path / 'file'}: a folder is needed here, and there is a file\n"


MISTAKES = {
    "a file that is not there": (["run", "gone.yaml"], "gone.yaml: no such file"),
    "a run that is not there": (["status", "gone"], "no run here"),
    "a report of no run": (["report", "gone"], "no run here"),
    "an unknown benchmark": (
        ["eval", "--model", "tiny", "--benchmarks", "mathvsta"],
        "did you mean 'mathvista'",
    ),
    "an unknown template": (
        ["eval", "--model", "tiny", "--benchmarks", "mathvista", "--template", "box"],
        "did you mean 'boxed'",
    ),
    "one folder for two benchmarks": (
        ["eval", "--model", "tiny", "--benchmarks", "mathvista,wemath", "--data", "."],
        "one benchmark",
    ),
    "an unknown verb": (["rnu"], "No such command"),
    "no model": (["eval", "--model", "gone", "--benchmarks", "mathvista"], "is no model"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_message_on_stderr_exit_2_and_nothing_is_created(
    mistake: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments, said = MISTAKES[mistake]
    monkeypatch.chdir(tmp_path)
    done = harness(*arguments, check=False)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_everything_that_can_be_named_is_listed_with_a_purpose() -> None:
    listed = sections()
    assert {"methods", "rewards", "prompts", "benchmarks", "scorers", "backends"} <= set(listed)
    assert all(name and purpose for rows in listed.values() for name, purpose in rows)
    done = harness("list")
    for name in ("mm_upt", "majority", "boxed", "wemath: official", "deepspeed"):
        assert name in done.stdout


TRAINED = "{mm_upt: {method: mm_upt}, grpo: {method: grpo}}"
KILLED = (
    experiment("killed", TRAINED, steps=12, questions=8, limit=24)
    + """\
resources: {device: cpu, save_every: 1}
"""
)


@pytest.mark.slow
def test_a_real_training_killed_at_random_ends_with_the_same_weights_and_figures(
    tmp_path: Path,
) -> None:
    """kill -9 of the runner, which takes its trials with it; then the same command again."""
    file = tmp_path / "killed.yaml"
    file.write_text(KILLED)
    harness("run", file, "--root", tmp_path / "undisturbed", "--no-tracking")
    draw = random.Random(3)
    root = tmp_path / "disturbed"
    for lines in (1, 3, 5, 7, 9):
        process = subprocess.Popen(
            [sys.executable, "-m", "harness.cli", "run", file, "--root", root, "--no-tracking"],
            env=os.environ | {"OMP_NUM_THREADS": "1"},
            stdout=subprocess.DEVNULL,
        )
        while max(map(status.lines, root.glob("work/*/out/metrics.jsonl")), default=0) < lines:
            assert process.poll() is None, "the run ended before it could be killed"
            time.sleep(0.02)
        time.sleep(draw.uniform(0.0, 0.5))
        process.kill()
        process.wait()
    harness("run", file, "--root", root, "--no-tracking")
    for name in ("mm_upt-s0", "grpo-s0"):
        assert content(tmp_path / "undisturbed", name) == content(root, name)


def content(root: Path, trial: str) -> dict[str, str]:
    """What a trial made: its figures, its texts, and the sha256 of weights and verdicts."""
    result = json.loads((root / "killed" / "trials" / trial / "result.json").read_text())
    found = {"metrics": json.dumps(result["metrics"], sort_keys=True)}
    for step in result["steps"]:
        manifest = json.loads((root / step["path"] / "manifest.json").read_text())
        for name, seal in manifest["files"].items():
            if name == "generations.parquet":  # how long each answer took is no part of it
                table = pq.read_table(root / step["path"] / name).drop_columns("seconds")
                found[f"{step['name']} {name}"] = repr(table.to_pylist())
            elif name.endswith((".safetensors", ".parquet")):
                found[f"{step['name']} {name}"] = seal["sha256"]
    assert len(found) == 5
    return found
