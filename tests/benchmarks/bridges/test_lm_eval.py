"""lm-eval tasks as benchmarks: held to lm-eval's own evaluator on the same responses.

The tasks are those that lm-eval ships (GSM8K, GPQA) with local rows in their owners' schema in
place of a download, and one of our own in the schema of MATH-500.
"""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("lm_eval")

from benchmarks.base import DataError
from benchmarks.bridges import _lm_eval_child as _lmeval_child
from benchmarks.bridges.lm_eval import LmEval, address, cut
from benchmarks.registry import benchmark
from tests.benchmarks.lm_eval_task import QUIET, write_rows, write_task
from tests.fresh_process import loaded

pytestmark = QUIET

MATH500 = """\
doc_to_text: "Problem:\\n{{problem}}\\n\\nSolution:"
doc_to_target: "{{answer}}"
generation_kwargs: {until: ["Problem:"], do_sample: false}
repeats: 4
metric_list:
  - {metric: exact_match, aggregation: mean, higher_is_better: true}
  - {metric: length, aggregation: mean, higher_is_better: false}
metadata: {version: 1.0}
"""
UTILS = """\
def judge(doc, results):
    said = results[0].rsplit("boxed{", 1)[-1].split("}")[0]
    return {"exact_match": int(said == doc["answer"]), "length": len(results[0]) / 100}
"""
GSM8K = """\
include: {shipped}/gsm8k/gsm8k.yaml
task: local_gsm8k
dataset_path: json
dataset_name: null
dataset_kwargs: {{data_files: {{train: {folder}/gsm_train.jsonl, test: {folder}/gsm_test.jsonl}}}}
num_fewshot: 2
"""
GPQA = """\
include: {shipped}/gpqa/cot_zeroshot/_gpqa_cot_zeroshot_yaml
task: local_gpqa
dataset_path: json
dataset_kwargs: {{data_files: {{train: {folder}/gpqa.jsonl}}}}
"""


@pytest.fixture(scope="module")
def shipped() -> Path:
    import lm_eval

    return Path(lm_eval.__file__).parent / "tasks"


def write(folder: Path, shipped: Path) -> Path:
    folder.mkdir(exist_ok=True)
    for name, text in {"gsm8k": GSM8K, "gpqa": GPQA}.items():
        (folder / f"{name}.yaml").write_text(text.format(folder=folder, shipped=shipped))
    problem = {"solution": "", "subject": "Algebra", "level": 2}
    write_task(
        folder,
        "math500",
        MATH500,
        UTILS,
        {"problem": "What is $1+1$?", "answer": "2", "unique_id": "a/1", **problem},
        {"problem": "What is $2+3$?", "answer": "5", "unique_id": "a/2", **problem},
    )
    sums = [{"question": f"What is {i}+{i}?", "answer": f"{i}+{i}\n#### {2 * i}"} for i in range(9)]
    write_rows(folder / "gsm_train.jsonl", *sums[:6])
    write_rows(folder / "gsm_test.jsonl", *sums[6:])
    wrong = {f"Incorrect Answer {i}": f"it is {i}" for i in (1, 2, 3)}
    write_rows(
        folder / "gpqa.jsonl",
        *({"Question": q, "Correct Answer": "it is 4", **wrong} for q in ("Which?", "What?")),
    )
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, shipped: Path) -> Path:
    return write(tmp_path_factory.mktemp("lmeval") / "tasks", shipped)


def made(task: str, folder: Path | None = None, shots: int | None = None) -> LmEval:
    one = benchmark(address(f"lm_eval:{task}", folder and str(folder), shots))
    assert isinstance(one, LmEval)
    return one


RESPONSES = {
    "local_gsm8k": ["#### 12", "so it is 14.", "no idea", "The answer is $1,6 #### 16", "16 or 14"],
    "local_gpqa": ["The answer is (A).", "(B)", "(C) or (D)", "nothing", "The answer is (D)."],
    "math500": ["\\boxed{2}", "it is 2", "2", "\\boxed{1} no \\boxed{5}", ""],
}


@pytest.mark.parametrize("task", RESPONSES)
def test_prompts_and_verdicts_are_lm_evals_own(task: str, folder: Path) -> None:
    """lm-eval evaluates a model that says these responses; its prompts and every verdict of every
    filter are the oracle."""
    from lm_eval import simple_evaluate
    from lm_eval.api.model import LM
    from lm_eval.tasks import TaskManager

    one = made(task, folder)
    items = one.rendered()
    for response in RESPONSES[task]:

        class Says(LM):
            def generate_until(self, requests: Any, **_: Any) -> list[str]:
                return [response] * len(requests)  # noqa: B023

            def loglikelihood(self, requests: Any, **_: Any) -> Any:
                raise NotImplementedError

            loglikelihood_rolling = loglikelihood

        manager = TaskManager(include_path=str(folder), include_defaults=False)
        theirs = simple_evaluate(Says(), tasks=[task], task_manager=manager, bootstrap_iters=0)
        assert theirs is not None
        samples = theirs["samples"][task]
        for name in one.scorers:
            metric, pipeline = name.split(",")
            if metric == "length":
                continue
            scorer = one.scorer(name)
            of_filter = [s for s in samples if s["filter"] == pipeline]
            assert [s["arguments"][0][0] for s in of_filter] == [i.question for i in items]
            assert [bool(s[metric]) for s in of_filter] == [
                scorer.score(item, response).correct for item in items
            ], (name, response)


def test_scorers_are_named_as_lm_evals_figures_and_votes_are_left_out() -> None:
    assert made("gsm8k").scorers == ("exact_match,strict-match", "exact_match,flexible-extract")
    assert made("minerva_math500").scorers == ("exact_match,none", "math_verify,none")
    assert made("gsm8k_cot_self_consistency").scorers == ("exact_match,score-first",)


@pytest.mark.parametrize(
    ("task", "reason"),
    [
        ("gpqa_diamond_zeroshot", "compares likelihoods"),
        ("humaneval", "executes what the model wrote"),
        ("minerva_math", "is a group of lm-eval tasks"),
        ("squadv2", "Python class"),
        ("wmt14-en-fr", "mean of right and wrong"),
    ],
)
def test_what_cannot_be_a_benchmark_is_refused_with_the_reason(task: str, reason: str) -> None:
    with pytest.raises(DataError, match=reason):
        made(task)


def test_an_unknown_task_names_the_nearest(folder: Path) -> None:
    with pytest.raises(KeyError, match="did you mean 'math500'"):
        made("math50", folder)
    with pytest.raises(DataError, match="no such folder"):
        made("math500", folder / "nowhere")


def test_data_that_cannot_be_loaded_says_so(tmp_path: Path, shipped: Path) -> None:
    folder = write(tmp_path / "tasks", shipped)
    (folder / "math500.jsonl").unlink()
    with pytest.raises(DataError, match=r"'json' of the lm-eval task 'math500' cannot be loaded"):
        made("math500", folder).rendered()


def test_a_response_is_cut_at_the_stated_stop_sequences_only(folder: Path) -> None:
    """`math500` states "Problem:"; lm-eval's default of a blank line is not applied to a task that
    states none."""
    one = made("math500", folder)
    item = one.rendered()[1]
    scorer = one.scorer()
    assert scorer.score(item, "step\n\n\\boxed{5} Problem: \\boxed{7}").correct
    assert not scorer.score(item, "Problem: \\boxed{5}").correct
    assert cut("a STOP b", ["", "STOP"]) == "a "


def test_a_metric_by_degree_is_no_verdict(folder: Path) -> None:
    one = made("math500", folder)
    with pytest.raises(DataError, match="grades by degree"):
        one.scorer("length,none").score(one.rendered()[0], "x" * 30)


def test_unread_answers_are_told_apart(folder: Path) -> None:
    one = made("local_gsm8k", folder)
    item = one.rendered()[0]
    assert one.scorer().score(item, "no idea").status == "unparsed"
    verdict = one.scorer().score(item, "6+6 = 12\n#### 12")
    assert (verdict.correct, verdict.extracted, verdict.status) == (True, "12", "ok")


def test_few_shot_examples_are_part_of_what_is_asked(folder: Path) -> None:
    none, own, three = (made("local_gsm8k", folder, shots) for shots in (0, None, 3))
    count = [one.rendered()[0].question.count("Question:") for one in (none, own, three)]
    assert count == [1, 3, 4]
    assert len({one.content_id() for one in (none, own, three)}) == 3


def test_what_is_asked_survives_the_data_set(tmp_path: Path, shipped: Path) -> None:
    """Written once, the items are read back and judged without it."""
    folder = write(tmp_path / "tasks", shipped)
    one = made("local_gpqa", folder)
    items = one.rendered()
    one.write(tmp_path / "out")
    for file in folder.glob("*.jsonl"):
        file.unlink()
    again = made("local_gpqa", folder)
    assert again.load(tmp_path / "out") == items
    answer = f"The answer is {items[0].answer}."
    assert again.scorer("exact_match,flexible-extract").score(items[0], answer).correct
    (tmp_path / "out" / "items.jsonl").write_text("{")
    with pytest.raises(DataError, match="not the items of an lm-eval task"):
        again.load(tmp_path / "out")


def test_identities_follow_contents_not_places(tmp_path: Path, shipped: Path) -> None:
    """The same task elsewhere is the same; an edited judge is another scorer of the same data."""
    one, other = (write(tmp_path / name, shipped) for name in ("one", "other"))
    first, second = made("math500", one), made("math500", other)
    assert first.content_id() == second.content_id()
    assert first.scorer().id == second.scorer().id
    (other / "utils.py").write_text(UTILS.replace("int(", "float("))
    assert made("math500", other).scorer().id != first.scorer().id
    assert made("math500", other).content_id() == first.content_id()
    text = (other / "math500.jsonl").read_text()
    (other / "math500.jsonl").write_text(text.replace("2+3", "3+2"))
    (other / "math500.yaml").write_text((other / "math500.yaml").read_text() + "tag: edited\n")
    assert made("math500", other).content_id() != first.content_id()


def test_a_response_that_takes_for_ever_is_undecided(
    tmp_path: Path, shipped: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A filter that backtracks without end, in a thread, where no alarm of its own could work."""
    monkeypatch.setattr(_lmeval_child, "TIME_LIMIT", 8.0)
    folder = write(tmp_path / "tasks", shipped)
    text = (folder / "math500.yaml").read_text()
    steps = "{function: regex, regex_pattern: '(a+)+$'}, {function: take_first}"
    (folder / "slow.yaml").write_text(
        text.replace("task: math500", "task: slow")
        + f"filter_list: [{{name: slow, filter: [{steps}]}}]\n"
    )
    one = made("slow", folder)
    item, scorer = one.rendered()[0], one.scorer()
    before = threading.active_count()
    with ThreadPoolExecutor(2) as pool:
        hostile, fine = pool.map(
            lambda response: scorer.score(item, response), ["a" * 60 + "b", "\\boxed{2}"]
        )
    assert (hostile.status, hostile.correct) == ("undecided", False)
    assert "took more than" in hostile.rule
    assert fine.status != "undecided"
    assert threading.active_count() <= before


def test_an_error_of_the_tasks_own_code_is_undecided(tmp_path: Path, shipped: Path) -> None:
    folder = write(tmp_path / "tasks", shipped)
    (folder / "utils.py").write_text(
        "def judge(doc, results):\n    return {'exact_match': 1 / 0}\n"
    )
    one = made("math500", folder)
    verdict = one.scorer().score(one.rendered()[0], "2")
    assert (verdict.status, verdict.correct) == ("undecided", False)
    assert "ZeroDivisionError" in verdict.rule


def test_importing_the_benchmarks_loads_no_lm_eval() -> None:
    assert not loaded("import benchmarks.bridges.lm_eval", "lm_eval", "datasets", "torch")
