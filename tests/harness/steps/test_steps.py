"""The steps on the real tiny model: what they leave, and that a killed one goes on."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from benchmarks import tiny
from benchmarks.data.questions import load_questions
from benchmarks.prompts import SYNTHESIS, template
from benchmarks.registry import benchmark
from harness.errors import StepError
from harness.plan.specs import Generate, Score, Synthesize
from harness.steps import generate, score, synthesize
from harness.steps.context import Context
from harness.store.files import read_json
from harness.store.sources import benchmark_data, models, questions
from harness.store.sources.hashes import Hashes
from tests.benchmarks.owners_files import PNG
from tests.harness import contexts, specs

LIMIT = 12


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def made(root: Path) -> Callable[..., Context]:
    """A context for a step that works in ``name``."""
    torch.set_num_threads(1)  # as a trial has it; more only wait for each other on a busy machine
    hashes = Hashes(root)
    found = [
        models.locate("tiny", hashes),
        questions.locate("tiny/train", hashes),
        benchmark_data.locate("mathvista", None, "tiny", hashes),
        benchmark_data.locate("wemath", None, "tiny", hashes),
    ]

    def context(name: str, **parents: Path) -> Context:
        return contexts.context(
            root,
            name,
            found,
            parents,
            progress=lambda done, total, unit: told.append((name, done, total, unit)),
        )

    told: list[tuple[str, int, int, str]] = []
    context.told = told  # type: ignore[attr-defined]
    context.ids = [one.id for one in found]  # type: ignore[attr-defined]
    return context


def asking(made: Any, **changes: Any) -> Generate:
    fields = {"limit": LIMIT, "prompt": template("boxed").hash} | changes
    return specs.generate(made.ids[0], "mathvista", made.ids[2], **fields)


def rows(context: Context) -> list[dict[str, Any]]:
    table: list[dict[str, Any]] = pq.read_table(context.out / "generations.parquet").to_pylist()
    return table


def timeless(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The same rows without what differs from run to run."""
    return [{k: v for k, v in row.items() if k != "seconds"} for row in found]


@pytest.fixture(scope="module")
def generated(made: Any) -> Context:
    context: Context = made("generate")
    generate.run(asking(made), context)
    return context


def test_every_item_has_its_greedy_answer_and_its_samples(made: Any, generated: Context) -> None:
    found = rows(generated)
    assert set(found[0]) == {*("item", "decoding", "sample", "text", "finish", "tokens", "seconds")}
    items = generated.items("mathvista", made.ids[2], LIMIT)
    expected = [(i.id, "greedy", 0) for i in items]
    expected += [(i.id, "sampled", n) for i in items for n in (0, 1)]
    assert [(r["item"], r["decoding"], r["sample"]) for r in found] == expected
    assert any("boxed" in r["text"] for r in found), "the tiny model did not answer in its mode"
    assert [t for t in made.told if t[0] == "generate"][-1][1:] == (24, 24, "answers")


def test_a_killed_generation_goes_on_to_the_same_texts(made: Any, generated: Context) -> None:
    """Half of the greedy answers are on disk, the last line torn; the rest is asked for."""
    context = made("again")
    lines = (generated.scratch / "greedy.jsonl").read_text().splitlines(True)
    torn = "".join(lines[:6]) + lines[6][: len(lines[6]) // 2]
    (context.scratch / "greedy.jsonl").write_text(torn)
    generate.run(asking(made), context)
    assert timeless(rows(context)) == timeless(rows(generated))


def test_what_is_on_disk_is_not_asked_for_again(made: Any, generated: Context) -> None:
    context = made("kept")
    for name in ("greedy", "sampled"):
        text = (generated.scratch / f"{name}.jsonl").read_text()
        lines = [json.loads(line) for line in text.splitlines()]
        for line in lines:
            line["answers"] = [a | {"text": "kept"} for a in line["answers"]]
        text = "".join(json.dumps(line) + "\n" for line in lines)
        (context.scratch / f"{name}.jsonl").write_text(text)
    generate.run(asking(made), context)
    assert {r["text"] for r in rows(context)} == {"kept"}


def test_a_prompt_that_is_too_long_is_dropped_counted_and_wrong(made: Any) -> None:
    context = made("long")
    generate.run(asking(made, max_prompt_tokens=5), context)
    assert {(r["text"], r["finish"]) for r in rows(context)} == {("", "dropped")}
    summary = scored(made, context, "long-score")
    assert summary["counts"]["dropped"] == summary["counts"]["n"] == LIMIT * 3
    assert summary["metrics"]["mathvista/accuracy"] == 0


def scored(made: Any, generations: Context, name: str, **changes: Any) -> dict[str, Any]:
    context = made(name, generations=generations.out)
    fields = {
        "benchmark": "mathvista",
        "data": made.ids[2],
        "limit": LIMIT,
        "scorer": "official+extract",
        "scorer_id": benchmark("mathvista").scorer("official+extract").id,
    }
    score.run(Score(**(fields | changes)), context)
    summary: dict[str, Any] = read_json(context.out / "summary.json")
    return summary


def test_figures_are_means_of_the_stored_values(made: Any, generated: Context) -> None:
    summary = scored(made, generated, "score")
    folder = generated.scratch.parent / "score" / "out"
    verdicts = pq.read_table(folder / "verdicts.parquet").to_pylist()
    assert set(verdicts[0]) == {
        "start",
        "end",
        *("item", "cluster", "decoding", "sample", "correct", "status", "extracted", "rule"),
    }
    greedy = [v["correct"] for v in verdicts if v["decoding"] == "greedy"]
    sampled = [v["correct"] for v in verdicts if v["decoding"] == "sampled"]
    metrics = summary["metrics"]
    assert metrics["mathvista/accuracy"] == pytest.approx(sum(greedy) / LIMIT)
    assert metrics["mathvista/pass_at_1"] == pytest.approx(sum(sampled) / (2 * LIMIT))
    units = pq.read_table(folder / "values.parquet").to_pylist()
    for metric in ("mathvista/accuracy", "mathvista/pass_at_1"):
        own = [u["value"] for u in units if u["metric"] == metric]
        assert len(own) == summary["ns"][metric] == LIMIT
        assert sum(own) / LIMIT == pytest.approx(metrics[metric])
    assert summary["n"] == LIMIT
    assert summary["counts"]["n"] == 3 * LIMIT


def test_a_figure_that_is_undefined_is_named(made: Any) -> None:
    """No composite question is right, so no share of them can be learnt by rote."""
    context = made("nothing right")
    items = context.items("wemath", made.ids[3], 9)
    said = {"text": "", "decoding": "greedy", "sample": 0, "finish": "stop"}
    table = pa.Table.from_pylist([{"item": item.id, **said} for item in items])
    pq.write_table(table, context.out / "generations.parquet")
    changes = {"benchmark": "wemath", "data": made.ids[3], "limit": 9}
    identity = benchmark("wemath").scorer("official+extract").id
    summary = scored(made, context, "nothing right score", scorer_id=identity, **changes)
    assert summary["undefined"] == ["wemath/RM_strict", "wemath/RM_loose"]
    assert "wemath/RM_strict" not in summary["metrics"]


def test_without_greedy_answers_the_official_figures_are_means_over_samples(made: Any) -> None:
    context = made("sampled only")
    generate.run(asking(made, greedy=False), context)
    metrics = scored(made, context, "sampled only score")["metrics"]
    assert metrics["mathvista/accuracy"] == pytest.approx(metrics["mathvista/pass_at_1"])


def test_a_scorer_that_is_not_the_planned_one_is_refused(made: Any, generated: Context) -> None:
    with pytest.raises(StepError, match="was planned as"):
        scored(made, generated, "other scorer", scorer_id="mathvista/of-last-year")


def writing(made: Any, mode: str, **fields: Any) -> Synthesize:
    prompt = SYNTHESIS[mode].hash
    return specs.synthesize(made.ids[0], made.ids[1], mode=mode, prompt=prompt, **fields)


def test_a_model_writes_questions_without_answers_about_the_pools_pictures(made: Any) -> None:
    context = made("synthesize")
    spec = writing(made, "in_context", count=6)
    synthesize.run(spec, context)
    written = load_questions(context.out / "questions.jsonl")
    summary = read_json(context.out / "summary.json")
    assert summary["kept"] == len(written) > 0
    assert summary["asked"] == 6
    assert all(item.question and not item.answer and item.images for item in written)
    again = made("synthesize again")
    synthesize.run(spec, again)
    texts = [item.question for item in load_questions(again.out / "questions.jsonl")]
    assert texts == [item.question for item in written]


def test_no_usable_question_is_an_error_that_says_what_to_change(made: Any) -> None:
    spec = writing(made, "direct", count=2, max_tokens=1)
    with pytest.raises(StepError, match="max_tokens"):
        synthesize.run(spec, made("cut"))


def test_data_that_changed_since_the_plan_stops_the_step(
    made: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pool, a picture of it, and a benchmark's folder, edited between plan and step."""
    context = made("edited")
    (tmp_path / "dot.png").write_bytes(PNG)
    pool = tmp_path / "pool.jsonl"
    line = json.dumps({"id": "a", "question": "How many?", "answer": "5", "images": ["dot.png"]})
    pool.write_text(line)
    tiny.write_benchmark("mathvista", tmp_path / "data")
    hashes = Hashes(tmp_path)
    chosen = questions.locate(str(pool), hashes)
    data = benchmark_data.locate("mathvista", str(tmp_path / "data"), "tiny", hashes)
    monkeypatch.setitem(context.located, chosen.id, chosen)
    monkeypatch.setitem(context.located, data.id, data)
    assert [item.answer for item in context.questions(chosen.id)] == ["5"]
    assert context.items("mathvista", data.id, None)
    pool.write_text(line.replace("5", "6"))
    with pytest.raises(StepError, match=r"pool\.jsonl changed since the run was planned"):
        context.questions(chosen.id)
    pool.write_text(line)
    (tmp_path / "dot.png").write_bytes(PNG + b"other")
    with pytest.raises(StepError, match=r"pool\.jsonl changed"):
        context.questions(chosen.id)
    next((tmp_path / "data").rglob("*.json")).write_text("{}")
    with pytest.raises(StepError, match=r"data of mathvista .* changed"):
        context.items("mathvista", data.id, None)
