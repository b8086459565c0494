"""Our benchmarks inside lm-eval, and lm-eval's tasks inside an experiment, both end to end."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("lm_eval")

from backends.base.engine import Request, Sampling
from backends.engines.hf import HFEngine
from benchmarks import tiny
from benchmarks.base import DataError, Item
from benchmarks.prompts import template
from benchmarks.registry import benchmark
from harness.rescoring import saved
from harness.rescoring import scoring as rescore
from harness.results.statistics import interval
from harness.store.files import read_json
from tests.benchmarks.lm_eval_task import QUIET, write_task
from tests.harness.examples import model_folder, planned

pytestmark = QUIET

SUMS = """\
doc_to_text: "{{question}}"
doc_to_target: "{{answer}}"
generation_kwargs: {until: []}
metric_list:
  - {metric: exact_match, aggregation: mean, higher_is_better: true}
metadata: {version: 1.0}
"""
JUDGE = "def judge(doc, results):\n    return {'exact_match': int(doc['answer'] in results[0])}\n"


# ------------------------------------------------------------------------- our benchmarks, lm-eval


@pytest.fixture(scope="module")
def lm_eval_run(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], list[Any]]:
    """What the command writes for 12 items of two of our tasks: its results and its samples."""
    here = subprocess.run(
        [sys.executable, "-m", "harness.interop.lm_eval_tasks"],
        capture_output=True,
        text=True,
        check=True,
    )
    out = tmp_path_factory.mktemp("lm_eval")
    data = tmp_path_factory.mktemp("data")
    tiny.write_benchmark("mathvista", data)
    command = [sys.executable, "-m", "lm_eval", "--model", "hf-multimodal", "--device", "cpu"]
    command += ["--model_args", f"pretrained={tiny.checkpoint()},dtype=float32"]
    command += ["--batch_size", "4", "--apply_chat_template", "--log_samples"]
    command += ["--include_path", here.stdout.strip(), "--output_path", str(out)]
    command += ["--tasks", "harness_tiny_wemath,harness_mathvista", "--limit", "12"]
    command += ["--metadata", f"mathvista={data}", "template=direct"]
    command += ["--gen_kwargs", "max_gen_toks=24"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    (results,) = out.rglob("results_*.json")
    lines = [line for file in out.rglob("samples_*") for line in file.read_text().splitlines()]
    samples = [json.loads(line) for line in lines]
    return json.loads(results.read_text())["results"], samples


@pytest.fixture(scope="module")
def items(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Item]]:
    found = {}
    for name in ("wemath", "mathvista"):
        folder = tmp_path_factory.mktemp(name)
        tiny.write_benchmark(name, folder)
        found[name] = {item.id: item for item in benchmark(name).load(folder)}
    return found


def test_lm_evals_verdicts_and_accuracy_are_ours(
    lm_eval_run: tuple[dict[str, Any], list[Any]], items: dict[str, dict[str, Item]]
) -> None:
    results, samples = lm_eval_run
    for name, task in (("wemath", "harness_tiny_wemath"), ("mathvista", "harness_mathvista")):
        scorer = benchmark(name).scorer()
        own = [s for s in samples if s["doc"]["benchmark"] == name]
        assert len(own) == 12
        verdicts = [scorer.score(items[name][s["doc"]["id"]], s["resps"][0][0]) for s in own]
        assert [s["accuracy"] for s in own] == [float(v.correct) for v in verdicts]
        assert [s["unparsed"] for s in own] == [float(v.status != "ok") for v in verdicts]
        values = np.array([[float(v.correct) for v in verdicts]])
        clusters = [items[name][v.item].cluster for v in verdicts]
        assert results[task]["accuracy,none"] == pytest.approx(values.mean())
        assert results[task]["accuracy_stderr,none"] == "N/A"
        assert results[task]["clustered_se,none"] == pytest.approx(interval(values, clusters).se)


def test_greedy_texts_are_those_of_our_engine(
    lm_eval_run: tuple[dict[str, Any], list[Any]], items: dict[str, dict[str, Item]]
) -> None:
    """Same template, tokens and pictures: text for text."""
    _, samples = lm_eval_run
    prompt = template("direct")
    asked = [items[s["doc"]["benchmark"]][s["doc"]["id"]] for s in samples]
    requests = [
        Request(f"{i}", prompt.render_item(item), item.images, prompt.system)
        for i, item in enumerate(asked)
    ]
    engine = HFEngine.from_path(tiny.checkpoint())
    answers = dict(engine.generate(requests, Sampling(max_tokens=24)))
    ours = [answers[i][0].text for i in range(len(samples))]
    assert ours == [s["resps"][0][0] for s in samples]
    assert len(set(ours)) > 3


def test_whole_groups_get_we_maths_scores_and_torn_ones_none() -> None:
    from harness.interop.lm_eval_tasks import utils

    docs = utils.data("wemath", mini="wemath")["test"]
    group = [doc for doc in docs if doc["id"].split("/")[0] == docs[0]["id"].split("/")[0]]
    records = [utils.judge(doc, [f"\\boxed{{{doc['answer']}}}"])["score_strict"] for doc in group]
    assert utils.score_strict(records) == utils.score_loose(records) == 1.0
    assert np.isnan(utils.score_strict(records[:1]))


def test_missing_data_and_unknown_names_are_said_before_anything_is_generated() -> None:
    from harness.interop.lm_eval_tasks import utils

    with pytest.raises(DataError, match="--metadata mathvision=<folder"):
        utils.data("mathvision")
    with pytest.raises(KeyError, match="unknown scorer of wemath 'rule'"):
        utils.data("wemath", mini="wemath", scorer="rule")
    with pytest.raises(KeyError, match="did you mean 'boxed'"):
        utils.data("wemath", mini="wemath", template="boxd")


def test_the_split_is_a_setting(tmp_path: Path) -> None:
    from harness.interop.lm_eval_tasks import utils

    (tmp_path / "images").mkdir()
    rows = []
    for id in ("1", "2"):
        row = {"id": id, "question": "How many? <image1>", "options": [], "answer": id}
        rows.append({**row, "image": f"images/{id}.png", "level": 1, "subject": "counting"})
        Image.new("RGB", (30, 30)).save(tmp_path / "images" / f"{id}.png")
    (tmp_path / "test.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (tmp_path / "testmini.jsonl").write_text(json.dumps(rows[1]))
    settings = {"mathvision": str(tmp_path)}
    assert utils.data("mathvision", **settings)["test"]["id"] == ["1", "2"]
    (doc,) = utils.data("mathvision", **settings, split="testmini")["test"]
    assert doc["id"] == "2"
    assert len(utils.pictures(doc)) == 1
    assert utils.judge(doc, [r"\boxed{2}"])["accuracy"] == 1
    with pytest.raises(DataError, match="'mini'; did you mean 'testmini'"):
        utils.data("mathvision", **settings, split="mini")


def test_the_prompt_of_every_task_holds_one_place_a_picture() -> None:
    from harness.interop.lm_eval_tasks import utils

    for name, mini in (("mathverse", "mathverse"), ("mathvista", "hard")):
        doc = utils.data(name, mini=mini, template="lmm_r1")["test"][0]
        assert doc["question"].count("<image>") == len(utils.pictures(doc)) == 1
        assert doc["system"] == template("lmm_r1").system


# ---------------------------------------------------------------------- lm-eval tasks, experiments


def tasks(folder: Path) -> Path:
    folder.mkdir()
    rows = [{"question": f"What is {i}+{i}?", "answer": str(2 * i)} for i in range(4)]
    write_task(folder, "sums", SUMS, JUDGE, *rows)
    return folder


def plan(tmp_path: Path, more: str = "") -> tuple[str, str, str]:
    """(data id, key of the generate step, key of the score step)."""
    if not (tmp_path / "model").is_dir():
        model_folder(tmp_path / "model")
    made = planned(
        f"name: lm\nmodel: {tmp_path}/model\narms: {{base: {{method: none}}}}\nbenchmarks:\n"
        f"  - {{name: 'lm_eval:sums', data: {tmp_path}/tasks{more}}}\n",
        tmp_path,
    )
    generate, score = made.trials[0].steps
    return made.benchmarks[0].data.id, generate.key, score.key


def test_keys_follow_what_is_asked_and_how_it_is_judged(tmp_path: Path) -> None:
    folder = tasks(tmp_path / "tasks")
    data, generate, score = plan(tmp_path)
    assert plan(tmp_path) == (data, generate, score)
    (folder / "utils.py").write_text(JUDGE + "# another judge\n")
    assert plan(tmp_path)[:2] == (data, generate)
    assert plan(tmp_path)[2] != score
    shots = plan(tmp_path, ", num_fewshot: 1")
    assert shots[0] != data
    assert shots[1] != generate


@pytest.mark.slow
def test_an_experiment_runs_a_text_task_and_its_answers_are_judged_again(tmp_path: Path) -> None:
    folder = tasks(tmp_path / "tasks")
    root = tmp_path / "runs"
    command = [sys.executable, "-m", "harness.cli", "eval", "--model", "tiny", "--root", str(root)]
    command += ["--benchmarks", "lm_eval:sums", "--data", str(folder), "--template", "plain"]
    done = subprocess.run([*command, "--max-tokens", "8"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    trial = root / "eval-tiny" / "trials" / "model-s0"
    score = read_json(trial / "result.json")["scores"]["lm_eval:sums"]
    assert score["n"] == 4
    (folder / "sums.jsonl").unlink()  # what was asked is in the store
    answers = saved.load(trial, None, None)
    texts = [answer.generation.text for answer in answers.answers]
    assert [item.question for item in answers.items] == [f"What is {i}+{i}?" for i in range(4)]
    (scored,) = rescore.score(answers, [])
    golds = [item.answer for item in answers.items]
    assert [v.correct for v in scored.verdicts] == [
        gold in text for gold, text in zip(golds, texts, strict=True)
    ]
    (folder / "utils.py").write_text(JUDGE.replace("int(", "1 - int("))
    (again,) = rescore.score(saved.load(trial, None, None), [])
    assert again.id != scored.id
    assert [v.correct for v in again.verdicts] == [not v.correct for v in scored.verdicts]
