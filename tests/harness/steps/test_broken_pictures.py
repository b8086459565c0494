"""A pool with a picture that no model can be shown: refused by name before a model is loaded, or
read without that row, which is counted."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from backends.base.stage import Stage
from benchmarks import tiny
from benchmarks.data.questions import save_questions
from benchmarks.prompts import SYNTHESIS
from harness.errors import HarnessError, StepError
from harness.plan.specs import Train
from harness.run.status import Status
from harness.run.trial import TrialSpec, freeze, run
from harness.steps import respond, synthesize, train
from harness.steps.context import Context
from harness.store.files import read_json
from harness.store.sources import models, questions
from harness.store.sources.hashes import Hashes
from harness.store.sources.questions import OnBroken
from tests.backends.trained import SMALL
from tests.harness import contexts, specs
from tests.harness.examples import planned

N = 6
REFUSED = r"questions .*questions\.jsonl: 1 row has a picture that cannot be shown to a model: "
HINT = r"leave such rows out with `on_broken_picture: skip` beside `questions`"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)
    return tmp_path_factory.mktemp("broken")


@pytest.fixture(scope="module")
def pool(root: Path) -> Path:
    """Questions of the tiny world; the picture of the third was not fetched to its end."""
    path = save_questions(tiny.questions("train")[:N], root / "pool")
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    whole = path.parent / rows[2]["images"][0]
    (path.parent / "images" / "cut.png").write_bytes(whole.read_bytes()[:-100])
    rows[2] |= {"id": "third", "images": ["images/cut.png"]}
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def made(root: Path, pool: Path, tmp_path: Path) -> Callable[[OnBroken], tuple[Context, str, str]]:
    """A context whose pool is read so, the model's id and the pool's."""

    def make(on_broken: OnBroken) -> tuple[Context, str, str]:
        hashes = Hashes(root)
        model = models.locate("tiny", hashes)
        found = questions.locate(str(pool), hashes, on_broken)
        context = contexts.context(root, f"{tmp_path.name}-{on_broken}", [model, found])
        return context, model.id, found.id

    return make


def training(model: str, pool: str) -> Train:
    settings = SMALL | {"template": "boxed", "questions_per_step": 2, "group_size": 2}
    return specs.train(model, pool, Stage.model_validate(settings))


STEPS: dict[str, Callable[[Context, str, str], None]] = {
    "train": lambda context, model, pool: train.run(training(model, pool), context),
    "respond": lambda context, model, pool: respond.run(specs.respond(model, pool), context),
    "synthesize": lambda context, model, pool: synthesize.run(
        specs.synthesize(model, pool, prompt=SYNTHESIS["in_context"].hash), context
    ),
}


@pytest.mark.parametrize("step", STEPS)
def test_the_row_is_named_before_a_model_is_loaded(
    step: str, made: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def loads(*_: object, **__: object) -> None:
        raise AssertionError("a model is loaded")

    monkeypatch.setattr("harness.steps.asking.EngineHolder.open", loads)
    monkeypatch.setattr("harness.steps.train.backend", loads)
    context, model, pool = made("refuse")
    with pytest.raises(StepError, match=rf"{REFUSED}'third' \(cut\.png: .*\)\. Mend .*{HINT}"):
        STEPS[step](context, model, pool)
    assert context.record == {}


def test_two_steps_are_trained_without_the_row(made: Any, capsys: Any) -> None:
    context, model, pool = made("skip")
    train.run(training(model, pool), context)
    trained = (context.out / "metrics.jsonl").read_text().splitlines()
    assert len(trained) == 2
    used = (context.scratch / "questions" / "questions.jsonl").read_text()
    ids = [json.loads(line)["id"] for line in used.splitlines()]
    assert len(ids) == N - 1
    assert "third" not in ids
    (first,) = context.record["left_out"]["first"].items()
    assert context.record["left_out"]["questions"] == 1
    assert first[0] == "third"
    assert first[1].startswith("cut.png: ")
    said = capsys.readouterr().out
    assert "left out of questions" in said
    assert "1 row has a picture that cannot be shown to a model: 'third' (cut.png" in said


def test_a_pool_without_broken_pictures_is_the_same_either_way(root: Path) -> None:
    hashes = Hashes(root)
    found = questions.locate("tiny/train", hashes, "skip")
    context = contexts.context(root, "whole", [found])
    assert len(context.questions(found.id)) == len(tiny.questions("train"))
    assert context.record == {}


def test_a_pool_of_which_nothing_is_left_is_an_error(root: Path, tmp_path: Path) -> None:
    (tmp_path / "page.png").write_bytes(b"<html>404</html>")
    path = tmp_path / "pool.jsonl"
    path.write_text(json.dumps({"id": "a", "question": "?", "images": ["page.png"]}))
    with pytest.raises(HarnessError, match=r"pool.jsonl, line 1: picture .*page.png is not an im"):
        questions.locate(str(path), Hashes(root))
    found = questions.locate(str(path), Hashes(root), "skip")
    with pytest.raises(StepError, match=r"'a' \(page.png: not an image.*; no question is left"):
        contexts.context(root, "none left", [found]).questions(found.id)


EXPERIMENT = """\
name: broken
model: tiny
questions: {pool}
{more}arms:
  sft: {{method: sft, steps: 2, questions_per_step: 2, lr: 1e-4, max_response_tokens: 96}}
"""


def test_only_what_is_left_out_changes_a_key(pool: Path, tmp_path: Path) -> None:
    """Refusing is what every earlier key stands for."""
    keys = {
        more: [step.key for step in planned(
            EXPERIMENT.format(pool=pool, more=more), tmp_path
        ).trials[0].steps]
        for more in ("", "on_broken_picture: refuse\n", "on_broken_picture: skip\n")
    }  # fmt: skip
    unset, refuse, skip = keys.values()
    assert unset == refuse
    assert not set(skip) & set(unset)


def test_a_trial_tells_what_was_left_out(pool: Path, tmp_path: Path) -> None:
    """From the experiment file to the manifest of the training and the trial's result."""
    text = EXPERIMENT.format(pool=pool, more="on_broken_picture: skip\n")
    plan = planned(text, tmp_path)
    (trial,) = plan.trials
    folder = tmp_path / "runs" / "broken" / "trials" / trial.id
    folder.mkdir(parents=True)
    spec = TrialSpec.model_validate_json(freeze(plan, trial).model_dump_json())
    run(spec, folder, Status(folder))
    result = read_json(folder / "result.json")
    (step,) = result["steps"]
    assert step["left_out"]["questions"] == 1
    assert list(step["left_out"]["first"]) == ["third"]
    manifest = read_json(tmp_path / "runs" / step["path"] / "manifest.json")
    assert manifest["left_out"] == step["left_out"]
