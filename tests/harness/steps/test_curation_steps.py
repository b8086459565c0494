"""Respond and curate on the real tiny model, which also judges and rates, and every method that
needs them through the runner."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from backends import curation
from backends.base.engine import Server
from backends.base.stage import Stage
from benchmarks import tiny
from benchmarks.base import Item
from benchmarks.data.questions import load_questions, save_questions
from benchmarks.prompts import template
from harness.errors import StepError
from harness.plan.services import Services
from harness.plan.specs import Curate, Respond
from harness.steps import curate, respond, synthesize
from harness.steps.context import Context
from harness.steps.train import _external
from harness.store.files import read_json
from harness.store.sources import models, questions
from harness.store.sources.hashes import Hashes
from tests.backends.engines.chat_server import ChatServer
from tests.backends.trained import SMALL
from tests.harness import contexts, specs

QUESTIONS = 12


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)
    return tmp_path_factory.mktemp("curation")


@pytest.fixture(scope="module")
def pool(root: Path) -> Path:
    """Questions of the tiny world, two of them without a picture and one without a label."""
    items = list(tiny.questions("train")[: QUESTIONS - 3])
    items += [Item(f"told{i}", f"A is {i} and B is 4. What is A + B?", str(i + 4)) for i in (2, 3)]
    items.append(Item("open", "What is the largest value?", images=items[0].images))
    return save_questions(items, root / "pool")


@pytest.fixture(scope="module")
def made(root: Path, pool: Path) -> Callable[..., Context]:
    hashes = Hashes(root)
    found = [
        models.locate("tiny", hashes),
        questions.locate(str(pool), hashes),
    ]

    def context(name: str, **parents: Path) -> Context:
        return contexts.context(root, name, found, parents)

    context.model, context.pool = (one.id for one in found)  # type: ignore[attr-defined]
    return context


def asking(made: Any, asks: str = "question", **changes: Any) -> Respond:
    judging = asks in ("judgement", "rating")
    fields: dict[str, Any] = {
        "asks": asks,
        "template": "plain" if judging or asks in ("description", "contrast") else "boxed",
        "prompt": curation.wording(template("boxed").hash, *curation.FORMS[asks]),
        "samples": 1 if judging else 4,
        "temperature": 0.0 if judging else 1.0,
    }
    return specs.respond(**{"model": made.model, "questions": made.pool} | fields | changes)


@pytest.fixture(scope="module")
def responses(made: Any) -> Path:
    context = made("responses")
    respond.run(asking(made), context)
    folder: Path = context.out
    return folder


def rows(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "responses.jsonl").read_text().splitlines()]


def chosen(made: Any, name: str, keep: str, **parents: Path) -> tuple[list[Item], dict[str, int]]:
    context = made(name, **parents)
    threshold = 0.7 if keep == "judged" else None
    spec = Curate(questions=made.pool, keep=keep, per_question=2, threshold=threshold)
    curate.run(spec, context)
    summary = read_json(context.out / "summary.json")
    assert isinstance(summary, dict)
    return load_questions(context.out), summary


def test_every_question_has_its_samples(made: Any, responses: Path, pool: Path) -> None:
    found = rows(responses)
    assert [row["id"] for row in found] == [item.id for item in load_questions(pool)]
    for row in found:
        assert len(row["texts"]) == len(row["finish"]) == len(row["tokens"]) == 4
        assert set(row["finish"]) <= {"stop", "length"}
    assert len({text for row in found for text in row["texts"]}) > QUESTIONS


def test_a_killed_step_goes_on_to_the_same_texts(made: Any, responses: Path) -> None:
    context = made("again")
    lines = (responses.parent / "answers.jsonl").read_text().splitlines(True)
    (context.scratch / "answers.jsonl").write_text("".join(lines[:5]) + lines[5][:20])
    respond.run(asking(made), context)
    assert rows(context.out) == rows(responses)


def test_rejection_sampling_keeps_right_responses_as_solutions(
    made: Any, responses: Path, pool: Path
) -> None:
    from backends.rewards.correctness import correct, labelled

    kept, summary = chosen(made, "correct", "correct", responses=responses)
    golds = {q.id: labelled(q.question, q.meta, q.answer) for q in load_questions(pool)}
    by_id = {row["id"]: row for row in rows(responses)}
    for item in kept:
        source = item.meta["question"]
        assert item.solution in by_id[source]["texts"]
        gold = golds[source]
        assert gold is not None
        assert correct((item.solution,), gold) == [True]
        assert not item.answer
    assert summary["unlabelled"] == 1
    questions = {item.meta["question"] for item in kept}
    assert summary["questions_kept"] == len(questions) > 3
    assert summary["kept"] == len(kept)
    left = sum(summary.get(k, 0) for k in ("unlabelled", "none_correct", "cut"))
    assert len(questions) + left == summary["questions"] == QUESTIONS


def test_the_vote_keeps_without_labels(made: Any, responses: Path) -> None:
    kept, summary = chosen(made, "majority", "majority", responses=responses)
    assert {"open"} < {item.meta["question"] for item in kept}
    assert summary["responses"] == 4 * QUESTIONS


@pytest.fixture(scope="module")
def judgements(made: Any, responses: Path) -> Path:
    context = made("judgements", responses=responses)
    respond.run(asking(made, "judgement"), context)
    folder: Path = context.out
    return folder


def test_each_response_is_judged_with_its_probability(
    made: Any, responses: Path, judgements: Path
) -> None:
    words = set()
    for judged, answered in zip(rows(judgements), rows(responses), strict=True):
        assert judged["id"] == answered["id"]
        assert len(judged["texts"]) == len(answered["texts"])
        assert all(logp <= 0 for logp in judged["first_logp"])
        words |= set(judged["texts"])
    assert {"Yes", "No"} <= words


def test_judged_keeps_what_the_model_calls_right(
    made: Any, responses: Path, judgements: Path
) -> None:
    kept, summary = chosen(made, "judged", "judged", responses=responses, judgements=judgements)
    answers = {row["id"]: row["texts"] for row in rows(responses)}
    verdicts = {row["id"]: row for row in rows(judgements)}
    for item in kept:
        source, _, sample = item.id.rpartition("/")
        verdict = verdicts[source]
        assert verdict["texts"][int(sample)] == "Yes"
        assert math.exp(verdict["first_logp"][int(sample)]) > 0.7
        assert answers[source][int(sample)] == item.solution
    assert kept
    assert summary["questions_kept"] == len({item.meta["question"] for item in kept})
    sure = [
        r for row in verdicts.values() for r in zip(row["texts"], row["first_logp"], strict=True)
    ]
    assert len(kept) <= sum(said == "Yes" and logp > math.log(0.7) for said, logp in sure)


def test_ranked_pairs_are_rated_apart(made: Any, responses: Path) -> None:
    context = made("ratings", responses=responses)
    respond.run(asking(made, "rating"), context)
    kept, summary = chosen(made, "ranked", "ranked", responses=responses, judgements=context.out)
    answers = {row["id"]: row["texts"] for row in rows(responses)}
    ratings = {row["id"]: row["texts"] for row in rows(context.out)}
    for item in kept:
        rated = ratings[item.meta["question"]]
        points = dict(zip(answers[item.meta["question"]], rated, strict=True))
        assert points[item.meta["chosen"]] > points[item.meta["rejected"]]
        assert not item.solution
    assert kept
    assert summary["kept"] == len(kept)
    tied = sum(len(set(texts)) == 1 for texts in ratings.values())
    assert summary.get("ties", 0) >= tied


def test_descriptions_are_of_pictures_and_contrasted(made: Any) -> None:
    good, bad = made("good"), made("bad")
    respond.run(asking(made, "description"), good)
    respond.run(asking(made, "contrast"), bad)
    asked = {row["question"] for row in rows(bad.out)}
    assert asked == {"", curation.DESCRIPTION, curation.MISLEADING}
    assert {row["question"] for row in rows(good.out)} == {"", curation.DESCRIPTION}
    kept, summary = chosen(made, "contrast", "contrast", responses=good.out, rejected=bad.out)
    assert summary["no_picture"] == 2
    assert all(item.question == curation.DESCRIPTION and item.images for item in kept)
    assert all(item.meta["chosen"] != item.meta["rejected"] for item in kept)

    after = made("after", descriptions=good.out)
    respond.run(asking(made, "described"), after)
    told = {row["id"]: row["texts"] for row in rows(good.out)}
    for row in rows(after.out):
        if told[row["id"]] and told[row["id"]][0].strip():
            assert row["question"].startswith(f"The picture shows: {told[row['id']][0]}\n")
        else:
            assert not row["question"].startswith("The picture")
    kept, _ = chosen(made, "described", "described", responses=after.out)
    asked = {row["question"] for row in rows(after.out)}
    assert {item.question for item in kept} <= asked


def test_nothing_kept_is_an_error_with_the_reasons(made: Any, responses: Path) -> None:
    judged = made("unread judged", responses=responses, judgements=made("silent").out)
    silent = [
        {**row, "texts": ["well"] * 4, "finish": ["stop"] * 4, "first_logp": [-1.0] * 4}
        for row in rows(responses)
    ]
    path = judged.parents["judgements"] / "responses.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in silent))
    spec = Curate(questions=made.pool, keep="judged", per_question=2, threshold=0.7)
    with pytest.raises(StepError, match=r"keeps nothing of 12 questions: 12 have no .*48 judg"):
        curate.run(spec, judged)


def test_what_was_too_long_to_be_asked_is_counted_as_that(made: Any, tmp_path: Path) -> None:
    """By the step that selects, by the one that hands a teacher's responses on, and in writing."""
    short = made("short")
    respond.run(asking(made, max_prompt_tokens=1), short)
    spec = Curate(questions=made.pool, keep="correct", per_question=2, threshold=None)
    context = made("over long", responses=short.out)
    with pytest.raises(StepError, match=r"12 questions: 12 have a prompt that is too long$"):
        curate.run(spec, context)
    summary = read_json(context.out / "summary.json")
    assert isinstance(summary, dict)
    assert summary["over_long"] == 12
    assert summary.get("none_correct", 0) == 0

    stage = Stage.model_validate(SMALL | {"external": {"models": ["a"]}})
    train = SimpleNamespace(stage=stage)
    path = _external(train, made("taught", **{"external 0": short.out}), tmp_path / "file.jsonl")  # type: ignore[arg-type]
    assert path is not None
    handed = [json.loads(line) for line in path.read_text().splitlines()]
    assert [(row["texts"], row["dropped"]) for row in handed] == [([], 4)] * 12


def test_external_responses_reach_the_backend_by_question_and_model(
    made: Any, responses: Path, tmp_path: Path
) -> None:
    stage = Stage.model_validate(SMALL | {"external": {"models": ["sha256:aa", "trained"]}})
    spec = specs.train(None, made.pool, stage)
    context = made("external", **{"external 0": responses, "external 1": responses})
    path = _external(spec, context, tmp_path / "external.jsonl")
    assert path is not None
    found = [json.loads(line) for line in path.read_text().splitlines()]
    assert [(r["id"], r["model"]) for r in found] == [
        (row["id"], model) for model in ("sha256:aa", "trained") for row in rows(responses)
    ]
    for row, source in zip(found, rows(responses) * 2, strict=True):
        whole = zip(source["texts"], source["finish"], strict=True)
        assert row["texts"] == [text for text, finish in whole if finish == "stop"]
        assert row["dropped"] == 4 - len(row["texts"])


def test_a_server_teaches_and_what_it_said_before_it_broke_down_is_kept(
    made: Any, pool: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("openai", reason="the extra openai is not installed")
    monkeypatch.setattr("backends.engines.openai._PAUSE", 0.01)
    spec = asking(made, model="server:gpt@may", engine="openai", samples=2)
    context = made("served")
    with ChatServer(lambda number, body: "status 500" if number > 7 else None) as server:
        reached = Server(base_url=server.url, model="gpt", revision="may", concurrency=1, retries=0)
        with pytest.raises(StepError, match="500"):
            respond.run(spec, replace(context, services=Services(writers=(reached,))))
    first = len((context.scratch / "answers.jsonl").read_text().splitlines())
    assert 0 < first < QUESTIONS
    with ChatServer() as server:
        reached = Server(base_url=server.url, model="gpt", revision="may", concurrency=1)
        respond.run(spec, replace(context, services=Services(writers=(reached,))))
        assert len({json.dumps(b["messages"]) for b in server.bodies}) == QUESTIONS - first
    assert [len(row["texts"]) for row in rows(context.out)] == [2] * QUESTIONS


def test_a_question_that_was_asked_before_is_no_new_one(made: Any, pool: Path) -> None:
    """Twelve seeds asked ten times over: what comes again about the same picture is counted."""
    context = made("synthesize")
    spec = specs.synthesize(made.model, made.pool, count=10 * QUESTIONS)
    synthesize.run(spec, context)
    written = load_questions(context.out)
    asked = [
        (item.images and item.images[0].name, synthesize.plain(item.question)) for item in written
    ]  # type: ignore[union-attr]
    assert len(set(asked)) == len(asked)
    summary = read_json(context.out / "summary.json")
    assert isinstance(summary, dict)
    assert summary["duplicate"] > 0
    assert sum(summary[k] for k in summary if k != "asked") == summary["asked"]
    seeds = {item.id: item for item in load_questions(pool)}
    for item in written:
        assert item.meta["mode"] == "in_context"
        assert item.meta["model"] == made.model
        assert item.cluster == seeds[item.meta["seed_question"]].cluster


EVERY = """\
name: every
model: {judge}
questions: {pool}
training:
  {{steps: 2, questions_per_step: 4, group_size: 4, max_response_tokens: 40, lr: 1e-5}}
arms:
  base: {{method: none}}
  rft: {{method: rft, curation: {{samples: 4}}}}
  lmsi: {{method: lmsi, curation: {{samples: 4}}}}
  genixer: {{method: genixer, curation: {{samples: 4, threshold: 0.5}}}}
  srlm: {{method: srlm, curation: {{samples: 4}}}}
  stic: {{method: stic, questions: [{pool}, tiny/train]}}
  vision_ekipl: {{method: vision_ekipl, external: {{models: [tiny, "arm:rft"]}}}}
  vision_ekipl_sft: {{method: vision_ekipl_sft, external: {{models: [tiny]}}}}
seeds: [0]
benchmarks: [{{name: mathvista, data: tiny/mathvista, limit: 4}}]
evaluation: {{greedy: true, samples: 0, max_tokens: 8}}
baseline: base
workers: 2
"""


@pytest.mark.slow
def test_every_method_that_needs_written_data_runs_from_a_file(
    judge: Path, pool: Path, tmp_path: Path
) -> None:
    """The command, its trials as processes, and the table; once more, and nothing is done again."""
    file = tmp_path / "every.yaml"
    file.write_text(EVERY.format(judge=judge, pool=pool))
    start = [sys.executable, "-c", "from harness.cli import app; app()"]
    command = [*start, "run", str(file), "--root", str(tmp_path), "--no-tracking"]
    for _ in range(2):
        done = subprocess.run(command, capture_output=True, text=True, timeout=1200)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    results = {p.parent.name: read_json(p) for p in tmp_path.glob("every/trials/*/result.json")}
    assert len(results) == 8
    for name, result in results.items():
        assert isinstance(result, dict)
        stages = {"base-s0": 0, "stic-s0": 2}.get(name, 1)
        assert len(result["training"]) == stages, name
        for path in result["training"]:
            losses = [json.loads(line) for line in (tmp_path / path).read_text().splitlines()]
            assert len(losses) == 2
