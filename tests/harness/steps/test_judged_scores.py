"""``scorer: judge`` wherever a scorer is named: score step, re-scoring, file, command line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rich.console import Console

from backends.base.resources import Resources
from benchmarks import tiny
from benchmarks.judge import KNOWN
from benchmarks.registry import benchmark
from harness.errors import HarnessError, SpecError, StepError
from harness.experiment import judges
from harness.experiment.checks import read
from harness.experiment.spec import Judge
from harness.plan.services import Services
from harness.plan.specs import Score
from harness.rescoring import saved
from harness.rescoring import scoring as rescore
from harness.steps import score
from harness.steps.context import Context
from harness.store.files import read_json
from harness.store.results import Store
from harness.store.sources import benchmark_data
from harness.store.sources.hashes import Hashes
from tests.harness.commands.test_cli import harness
from tests.harness.examples import EXAMPLE, model_folder
from tests.harness.judge_server import DROP, JudgeServer, judge, parts, serve
from tests.harness.rescoring.test_rescore import row

CPU = Resources(device="cpu")


@pytest.fixture
def server() -> Iterator[JudgeServer]:
    with serve() as running:
        yield running


def settings(server: JudgeServer) -> Judge:
    return Judge(model="rule", base_url=server.url, timeout=90, retries=0)


def odd(word: str, question: str) -> Any:
    """A judge that says a word about one question, and judges the others."""
    return lambda p, n: word if parts(p)["question"].startswith(question) else judge(p)


# -------------------------------------------------------------------------------------- re-scoring


def saved_rows(folder: Path, rows: list[dict[str, Any]]) -> saved.Saved:
    file = folder / "output_model.json"
    file.write_text(json.dumps({r["pid"]: r for r in rows}))
    return saved.load(file, None, None)


@pytest.fixture
def four(tmp_path: Path) -> saved.Saved:
    """Gold: blue, which is (B)."""
    rows = [
        row(1, "I take (B).", None, True),
        row(
            2,
            "I see red bar and blue there, both of them, and one is meant, I am sure.",
            None,
            True,
        ),
        row(3, "The answer is (A).", None, False),
        row(4, "", None, True),
    ]
    rows[2]["question"] = "Which one?"
    return saved_rows(tmp_path, rows)


def test_rules_and_judge_side_by_side_with_what_they_differ_on(
    server: JudgeServer, tmp_path: Path, four: saved.Saved
) -> None:
    by = rescore.Judging(settings(server), tmp_path, CPU)
    asked, official = rescore.score(four, ["judge", "official+extract"], 1, by)
    assert [v.correct for v in asked.verdicts] == [True, True, False, False]
    assert [v.correct for v in official.verdicts] == [True, False, False, False]
    assert asked.id == judges.scorer_id(
        four.benchmark, "judge", by.judge, Hashes(tmp_path), "float32"
    )
    (found,) = rescore.differences(four, [asked, official])[:1]
    assert found.item == "2"
    assert found.said["judge"] == "judge/tail: None"
    columns = rescore.judges(four, [asked, official])
    assert rescore.agreement(columns["judge"], columns["official+extract"]) == (3, 4)
    rows = list(rescore.rows(four, [asked, official]))
    assert {"scorer": "judge", "scorer_id": asked.id, "rule": "judge/tail"}.items() <= rows[
        1
    ].items()


def test_an_answer_without_a_verdict_is_shown_as_such(
    server: JudgeServer, tmp_path: Path, four: saved.Saved
) -> None:
    server.behave = odd("Hm.", "Which one?")
    by = rescore.Judging(settings(server), tmp_path, CPU)
    asked, rules = rescore.score(four, ["judge", "rules"], 1, by)
    assert [v.status for v in asked.verdicts] == ["ok", "ok", "judge_failed", "unparsed"]
    assert asked.metrics["mathvista/accuracy"] == 0.5
    console = Console(width=200, record=True, file=(tmp_path / "shown").open("w"))
    rescore.show(four, [asked, rules], console, 9)
    console.file.close()
    said = console.export_text()
    assert "judge_failed" in said
    assert asked.id in said


def test_workers_change_nothing_with_a_judge(server: JudgeServer, tmp_path: Path) -> None:
    rows = [row(n, f"I take ({'AB'[n % 2]}), yes.", None, None) for n in range(300)]
    answers = saved_rows(tmp_path, rows)
    alone, together = (
        rescore.score(
            answers, ["rules", "judge"], n, rescore.Judging(settings(server), tmp_path / str(n))
        )
        for n in (1, 2)
    )
    assert alone == together
    assert [one.name for one in alone] == ["rules", "judge"]
    assert len(server.prompts) == 2 * (2 + len(KNOWN))  # the rows hold two cases


def test_a_judge_and_who_asks_it_belong_together(
    server: JudgeServer, tmp_path: Path, four: saved.Saved
) -> None:
    with pytest.raises(HarnessError, match="say which one under `judge:`"):
        rescore.score(four, ["judge"])
    with pytest.raises(HarnessError, match="add --scorer judge"):
        rescore.score(four, ["rules"], 1, rescore.Judging(settings(server), tmp_path))
    with pytest.raises(HarnessError, match="unknown scorer of mathvista 'jugde'; did you mean 'ju"):
        rescore.score(four, ["jugde"])


# ---------------------------------------------------------------------------------- the score step


@pytest.fixture
def step(tmp_path: Path, server: JudgeServer) -> tuple[Score, Context]:
    """A score step on 300 responses: every third right in words, wrong in words, and empty."""
    hashes = Hashes(tmp_path)
    tiny.write_benchmark("mathvista", tmp_path / "data")
    data = benchmark_data.locate("mathvista", str(tmp_path / "data"), "tiny", hashes)
    one = benchmark("mathvista")
    items = one.load(tmp_path / "data")
    texts = ["After a good look I say it is {0}, as far as I can tell.", "No idea, honestly.", ""]
    rows = [
        {
            "item": item.id,
            "decoding": "greedy",
            "sample": 0,
            "text": texts[i % 3].format(item.answer),
            "finish": "stop",
            "tokens": 1,
        }
        for i, item in enumerate(items)
    ]
    (tmp_path / "generations").mkdir()
    (tmp_path / "out").mkdir()
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "generations" / "generations.parquet")
    who = settings(server)
    spec = Score(
        benchmark="mathvista",
        data=data.id,
        limit=None,
        scorer="judge",
        scorer_id=judges.scorer_id(one, "judge", who, hashes, "float32"),
    )
    context = Context(
        store=Store(tmp_path),
        scratch=tmp_path,
        parents={"generations": tmp_path / "generations"},
        located={data.id: data},
        resources=CPU,
        progress=lambda done, total, unit: None,
        watch=lambda file, total, unit: None,
        services=Services(judge=who),
    )
    return spec, context


def test_the_step_scores_by_the_judge_and_counts_its_failures(
    step: tuple[Score, Context], server: JudgeServer
) -> None:
    spec, context = step
    score.run(spec, context)
    summary = read_json(context.out / "summary.json")
    assert summary["scorer"] == spec.scorer_id
    assert summary["n"] == 300
    assert summary["counts"]["unparsed"] == 100
    assert summary["counts"]["judge_failed"] == 0
    right = [v["correct"] for v in pq.read_table(context.out / "verdicts.parquet").to_pylist()]
    assert sum(right[1::3]) == sum(right[2::3]) == 0
    assert summary["metrics"]["mathvista/accuracy"] == sum(right) / 300
    assert sum(right[::3]) > 90  # the simple rule does not know all names of numbers

    for file in (context.store.root / "work" / "judge").iterdir():
        file.unlink()
    first = context.items("mathvista", spec.data, None)[0].question[:20]
    server.behave = odd("It is.", first)
    score.run(spec, context)
    counts = read_json(context.out / "summary.json")["counts"]
    assert counts["judge_failed"] > 0


def test_a_step_whose_judge_goes_away_goes_on_where_it_was(
    step: tuple[Score, Context], server: JudgeServer
) -> None:
    spec, context = step
    server.behave = lambda p, n: judge(p) if len(server.prompts) < 60 else DROP
    with pytest.raises(StepError, match=r"does not answer: .*the same command goes on from there"):
        score.run(spec, context)
    assert not (context.out / "summary.json").exists()
    server.behave = judge
    before = len(server.prompts)
    score.run(spec, context)
    assert (context.out / "summary.json").exists()
    assert before > 60
    again = set(server.prompts[before:]) & set(server.prompts[:40])
    assert again == set(server.prompts[:12]), "only the known pairs are asked again"


def test_a_judge_that_is_not_the_planned_one_is_refused(step: tuple[Score, Context]) -> None:
    spec, context = step
    other = spec.model_copy(update={"scorer_id": spec.scorer_id.replace("rule", "ruler")})
    with pytest.raises(StepError, match=r"was planned as mathvista/judge2@.*:ruler; run again"):
        score.run(other, context)


# --------------------------------------------------------------------------- file and command line


def mistakes(folder: Path, text: str) -> str:
    model = folder / "model"
    if not model.exists():
        model_folder(model)
    file = folder / "experiment.yaml"
    file.write_text(text.format(model=model))
    with pytest.raises(SpecError) as caught:
        read(file, folder / "runs")
    return str(caught.value)


JUDGED = EXAMPLE.replace("data: tiny/wemath}}", "data: tiny/wemath, scorer: judge}}")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (JUDGED, "benchmarks[1].scorer: scorer 'judge' asks a language model; say which one"),
        (
            EXAMPLE + "judge: {{model: m, base_url: http://h/v1}}\n",
            "judge: no benchmark has `scorer: judge`",
        ),
        (JUDGED + "judge: {{model: m}}\n", "judge: engine openai needs a base_url"),
        (
            JUDGED + "judge: {{model: m, engine: hf}}\n",
            "judge.model: the judge's model: 'm' is no model",
        ),
        (
            JUDGED + "judge: {{model: m, base_url: http://h, api_key_env: NO_SUCH_KEY}}\n",
            "judge.api_key_env: the environment has no variable 'NO_SUCH_KEY'",
        ),
        (
            JUDGED + "judge: {{model: m, base_url: localhost:8000}}\n",
            "judge.base_url: expected an address such as http://localhost:8000/v1, not 'localh",
        ),
        (
            JUDGED + "judge: {{model: m, base_url: http://h, retry: 3}}\n",
            "judge.retry: unknown setting 'retry'; did you mean 'retries'?",
        ),
        (
            JUDGED.replace("scorer: judge", "scorer: jugde"),
            "benchmarks[1].scorer: unknown scorer 'jugde'; did you mean 'judge'?",
        ),
    ],
)
def test_mistakes_are_named_with_their_place(tmp_path: Path, text: str, said: str) -> None:
    shown = mistakes(tmp_path, text)
    assert said in shown
    assert "experiment.yaml:" in shown


@pytest.mark.slow
def test_eval_and_rescore_with_one_judge(server: JudgeServer, tmp_path: Path) -> None:
    """Through the command line: what eval asked, rescore need not ask."""
    root = tmp_path / "runs"
    by = ("--judge", "model=rule", "--judge", f"base_url={server.url}", "--judge", "retries=0")
    evaluated = (
        *("eval", "--model", "tiny", "--benchmarks", "mathvista", "--limit", "6"),
        *("--max-tokens", "24", "--device", "cpu", "--scorer", "judge", "--root", root, *by),
    )
    done = harness(*evaluated)
    assert "Scorer mathvista/judge2@" in done.stdout
    assert ":rule" in done.stdout

    asked = len(server.prompts)
    trial = root / "eval-tiny" / "trials" / "model-s0"
    out = tmp_path / "verdicts.jsonl"
    done = harness(
        *("rescore", trial, "--scorer", "judge", "--scorer", "rules", "--workers", "2"),
        *("--out", out, "--root", root, *by),
    )
    assert len(server.prompts) == asked
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert {r["scorer"] for r in rows} == {"judge", "rules"}
    assert "agreement (%)" in done.stdout

    server.behave = lambda p, n: "correct"
    unfit = harness(
        "rescore", trial, "--scorer", "judge", "--root", tmp_path / "other", *by, check=False
    )
    assert unfit.returncode == 2
    assert unfit.stderr.startswith(f"the judge rule at {server.url} is not fit to judge: it graded")
    assert "gold '-5'" in unfit.stderr
    assert "Traceback" not in unfit.stderr
