"""``harness rescore`` on the files of others: errors, samples, and logs of lm-eval."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from rich.console import Console

from harness.errors import HarnessError
from harness.rescoring import saved
from harness.rescoring import scoring as rescore
from tests.benchmarks import owners_files as made
from tests.benchmarks.lm_eval_task import QUIET, write_log, write_task

pytestmark = QUIET

GOLDS = "doc_to_text: '{{question}}'\ndoc_to_target: '{{answer}}'\ngeneration_kwargs: {until: []}\n"
TASK = (
    GOLDS + "metric_list:\n  - {metric: exact_match, aggregation: mean}\nmetadata: {version: 1}\n"
)
JUDGE = "def judge(doc, results):\n    return {'exact_match': int(doc['answer'] in results[0])}\n"


def shown(answers: saved.Saved, scored: list[rescore.Scored]) -> str:
    with Path("/dev/null").open("w") as nowhere:
        console = Console(width=200, record=True, file=nowhere)
        rescore.show(answers, scored, console, 20)
        return console.export_text()


def test_errors_are_a_figure_and_no_scorer_credits_them(tmp_path: Path) -> None:
    """The owners' rule would give the shortest choice to an empty response."""
    rows = made.mathvista(8)
    for row in rows:
        row |= {"response": "The answer is nothing."} if row["pid"] == "2" else {"error": "timeout"}
    rows[0]["answer"] = "both"  # the shortest of its choices
    file = tmp_path / "output.json"
    file.write_text(json.dumps({row["pid"]: row for row in rows}))
    answers = saved.load(file, None, None)
    scored = rescore.score(answers, ["official", "official+extract", "rules"])
    for one in scored:
        failed = [v for v in one.verdicts if v.item != "2"]
        assert {(v.correct, v.status, v.rule) for v in failed} == {(False, "unparsed", "error")}
        assert one.metrics["mathvista/accuracy"] == 0
    assert [line for line in answers.notes if "errors" in line] == [
        "7 of 8 responses are errors of the tool that asked, counted as empty, unparsed and wrong: "
        "1, 3, 4, 5, 6, ..."
    ]
    assert not any("are empty" in line for line in answers.notes)
    heading, *lines = shown(answers, scored).partition("scorers")[2].splitlines()[1:5]
    assert heading.split()[-3:] == ["truncated", "errors", "agrees"]
    assert all(line.split()[-1] == "7" for line in lines)


def test_samples_of_a_published_file_have_pass_and_majority(tmp_path: Path) -> None:
    rows = made.mathvista(2)
    rows[0]["response"] = [r"\boxed{B}", "It is B.", r"\boxed{A}"]
    rows[1]["response"] = [r"\boxed{14}", r"\boxed{15}", r"\boxed{15}"]
    file = tmp_path / "output.json"
    file.write_text(json.dumps(rows))
    answers = saved.load(file, None, None)
    (rules,) = rescore.score(answers, ["rules"])
    assert rules.metrics["mathvista/accuracy"] == pytest.approx(0.5)
    assert rules.metrics["mathvista/pass_at_3"] == 1.0
    assert rules.metrics["mathvista/maj_at_3"] == 0.5


def test_a_log_of_lm_eval_is_judged_by_our_rules(tmp_path: Path) -> None:
    pytest.importorskip("lm_eval")
    rows = made.mathvista(4)
    rows[1]["answer"] = "2"  # what the model of the log says to it
    write_task(tmp_path, "vista", TASK, JUDGE, *rows)
    log = write_log(tmp_path, "vista", tmp_path / "out")
    answers = saved.load(log, None, None)
    (rules,) = rescore.score(answers, ["rules"])
    assert [v.correct for v in rules.verdicts] == [False, True, False, False]
    assert "4 responses to 4 items (SUBSET of 1000), from a lm-eval log file" in shown(
        answers, [rules]
    )
    columns = rescore.judges(answers, [rules])
    assert rescore.agreement(columns["published"], columns["rules"]) == (4, 4)


def test_a_log_of_a_task_is_judged_by_its_definition_of_now(tmp_path: Path) -> None:
    """What lm-eval has no verb for: filters and metrics changed, responses as they were."""
    pytest.importorskip("lm_eval")
    rows = [{"question": f"What is {n}+1?", "answer": str(n + 1)} for n in range(3)]
    write_task(tmp_path, "sums", TASK, JUDGE, *rows)
    log = write_log(tmp_path, "sums", tmp_path / "out")
    with pytest.raises(HarnessError, match="does not tell its benchmark; add --benchmark"):
        saved.load(log, None, None)
    answers = saved.load(log, "lm_eval:sums", str(tmp_path))
    (scored,) = rescore.score(answers, [])
    assert [v.correct for v in scored.verdicts] == [True, True, True]
    (tmp_path / "utils.py").write_text(JUDGE.replace("int(", "1 - int("))
    (again,) = rescore.score(saved.load(log, "lm_eval:sums", str(tmp_path)), [])
    assert [v.correct for v in again.verdicts] == [False, False, False]
    with pytest.raises(HarnessError, match=r"unknown task of lm-eval .*'sum'"):
        saved.load(log, "lm_eval:sum", str(tmp_path))
