"""MathVerse's Text Only version as an lm-eval task: a model of text alone is asked and judged."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from benchmarks.registry import benchmark
from tests.benchmarks import owners_files as made

pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning:(lm_eval|datasets|dill|multiprocess|sacrebleu|evaluate).*",
    "ignore::FutureWarning:(lm_eval|datasets).*",
)


def text_only(problems: int) -> list[dict[str, Any]]:
    rows = [r for r in made.mathverse(problems) if r["problem_version"] == "Text Dominant"]
    return [row | {"problem_version": "Text Only", "image": ""} for row in rows]


def test_a_model_of_text_alone_is_asked_and_judged_by_our_scorer(tmp_path: Path) -> None:
    pytest.importorskip("lm_eval")
    from lm_eval import simple_evaluate
    from lm_eval.api.model import LM
    from lm_eval.tasks import TaskManager

    class Second(LM):
        """Says B to the first question and nothing to the others."""

        def __init__(self) -> None:
            super().__init__()
            self.asked: list[str] = []

        def generate_until(self, requests: Any, disable_tqdm: bool = False) -> list[str]:
            self.asked += [request.args[0] for request in requests]
            assert all(len(request.args) == 2 for request in requests)  # no pictures
            return ["\\boxed{B}", *[""] * (len(requests) - 1)]

        def loglikelihood(self, requests: Any) -> Any:
            raise NotImplementedError

        def loglikelihood_rolling(self, requests: Any) -> Any:
            raise NotImplementedError

    made.write_json("mathverse", text_only(3), tmp_path, "testmini_text_only")
    folder = Path(__file__).resolve().parents[3] / "harness" / "interop" / "lm_eval_tasks"
    settings = {"mathverse_text_only": str(tmp_path), "template": "mathverse"}
    manager = TaskManager(include_path=str(folder), include_defaults=False, metadata=settings)
    model = Second()
    assert not getattr(model, "MULTIMODAL", False)
    found = simple_evaluate(
        model=model, tasks=["harness_mathverse_text_only"], task_manager=manager, bootstrap_iters=0
    )
    assert found is not None
    scores = found["results"]["harness_mathverse_text_only"]
    assert scores["accuracy,none"] == pytest.approx(1 / 3)
    assert scores["unparsed,none"] == pytest.approx(2 / 3)
    items = benchmark("mathverse_text_only").load(tmp_path)
    assert ["What is the angle of" in said for said in model.asked] == [True] * len(items)
    assert not any("<image>" in said for said in model.asked)
