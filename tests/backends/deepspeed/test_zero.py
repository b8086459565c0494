"""ZeRO stages and numbers of ranks change where numbers lie, not what they are."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from backends.base.reward import GroupReward, Rollout
from backends.deepspeed.learner import ClippedAdamW, Learner
from tests.backends.offered import offer

from .conftest import SMALL, Train, Trained, apart, read

#: Reaches every collective: a reference, several updates, more micro-batches on one rank than on
#: the other (3 questions in 2 updates), groups with and without pictures, dropped prompts.
STAGE: dict[str, Any] = SMALL | {
    "steps": 3,
    "questions_per_step": 3,
    "updates_per_rollout": 2,
    "kl": {"beta": 0.1},
    "max_prompt_tokens": 200,
}
RESOURCES = {"tokens_per_micro_batch": 150}
#: What is computed over all ranks: a deviation of rewards, whitening, and a critic's second engine.
ESTIMATORS: dict[str, dict[str, Any]] = {
    "batch_norm": {"advantage": "batch_norm"},
    "reinforce_baseline": {
        "advantage": "reinforce_baseline",
        "kl": {"beta": 0.1, "form": "k1", "place": "reward"},
    },
    "gae": {"advantage": "gae", "critic": {"lr": 1e-4, "lam": 0.9}},
}


def close(one: Trained, two: Trained, base: dict[str, Tensor]) -> None:
    """The same but for rounding, against how far the training has come.

    A draw within rounding (1e-6) of where two tokens meet would part the samples: of their 216
    tokens on one processor in two thousand.
    """
    assert apart(one.weights, two.weights) < 1e-3 * apart(base, two.weights)
    for a, b in zip(one.figures(), two.figures(), strict=True):
        assert a == pytest.approx(b, rel=1e-3, abs=1e-5)


def run_ranks(
    folder: Path,
    model: Path,
    questions: Path,
    stages: dict[str, tuple[dict[str, Any], int]],
    resources: dict[str, Any],
) -> None:
    """Train each (stage, ZeRO stage) on two ranks, into ``folder/<name>``."""
    jobs = [
        {
            "name": name,
            "stage": stage,
            "resources": resources | {"zero_stage": z, "processes": 2},
            "model": str(model),
            "questions": str(questions),
            "seed": 0,
        }
        for name, (stage, z) in stages.items()
    ]
    (folder / "jobs.json").write_text(json.dumps(jobs))
    command = [sys.executable, str(Path(__file__).with_name("ranks.py"))]
    workers = [
        subprocess.Popen([*command, str(rank), "2", str(folder)], stderr=subprocess.PIPE, text=True)
        for rank in range(2)
    ]
    outputs = [worker.communicate()[1] for worker in workers]
    assert [w.returncode for w in workers] == [0, 0], outputs[0][-2000:] + outputs[1][-2000:]


@pytest.mark.parametrize("zero_stage", [0, 2, 3])
def test_every_zero_stage_gives_the_same_weights(
    train: Train, base: dict[str, Tensor], zero_stage: int
) -> None:
    runs = [
        train(f"zero{z}", **STAGE, resources={"zero_stage": z, **RESOURCES})
        for z in (1, zero_stage)
    ]
    close(*runs, base)


def _stored(name: str) -> str:
    """The name of a policy's parameter in a checkpoint."""
    inner = name.removeprefix("model.")
    return inner.replace("model.visual.", "visual.").replace("model.language_model.", "model.")


@pytest.mark.parametrize("zero_stage", [0, 1, 2, 3])
def test_a_gradient_is_clipped_to_its_norm(
    train: Train, monkeypatch: pytest.MonkeyPatch, base: dict[str, Tensor], zero_stage: int
) -> None:
    """The first gradient is far above the limit and the second below it, which Adam's moments tell
    apart: two steps equal AdamW on gradients that are clipped by hand."""
    calls: list[str] = []

    def first_is_large(rollout: Rollout) -> GroupReward:
        calls.extend(rollout.responses)
        scale = 0.1 if len(calls) <= 16 else 1e-6
        return GroupReward(tuple(scale * sum(map(ord, t)) for t in rollout.responses), {})

    offer(monkeypatch, "test", first_is_large)
    stage = {"rewards": [{"name": "test"}], "advantage": "group_mean", "lr": 1e-3}

    gradients: list[list[Tensor]] = []
    names: list[str] = []

    def unclipped(self: ClippedAdamW, closure: Any = None) -> None:
        params = [p for group in self.param_groups for p in group["params"]]
        gradients.append([p.grad.clone() for p in params])
        step(self, closure)

    step, build = ClippedAdamW.step, Learner.__init__

    def named(self: Learner, model: Any, *given: Any) -> None:
        names[:] = [name for name, p in model.named_parameters() if p.requires_grad]
        build(self, model, *given)

    with monkeypatch.context() as patch:
        patch.setattr(ClippedAdamW, "step", unclipped)
        patch.setattr(Learner, "__init__", named)
        train("watched", **stage, resources={"zero_stage": 0})
    calls.clear()
    run = train("run", **stage, resources={"zero_stage": zero_stage})
    assert run.metrics[0]["grad_norm"] > 100
    assert run.metrics[1]["grad_norm"] < 1

    stored = {_stored(name): name for name in names}
    weights = {k: torch.nn.Parameter(base[k].clone()) for k in base}
    by_hand = torch.optim.AdamW(weights.values(), lr=1e-3, weight_decay=0.0)
    for of_step in gradients:
        norm = math.sqrt(sum(float(g.double().square().sum()) for g in of_step))
        given = dict(zip(names, of_step, strict=True))
        for k, weight in weights.items():
            weight.grad = given[stored[k]] * min(1.0, 1.0 / norm)
        by_hand.step()
    expected = {k: w.detach() for k, w in weights.items()}
    assert apart(run.weights, expected) < 1e-3 * apart(base, expected)


def test_two_ranks_give_the_weights_of_one(
    train: Train, tmp_path: Path, model_folder: Path, questions: Path, base: dict[str, Tensor]
) -> None:
    stages = {f"zero{z}": (STAGE, z) for z in (0, 1, 2, 3)}
    stages |= {name: (STAGE | ESTIMATORS[name], z) for z, name in enumerate(ESTIMATORS, 1)}
    frozen = STAGE | {"freeze_vision": True}
    stages["frozen"] = (frozen, 3)  # each rank looks at its own pictures, alone
    run_ranks(tmp_path, model_folder, questions, stages, RESOURCES)
    one = train("one", **STAGE, resources=RESOURCES)
    for z in (0, 1, 2, 3):
        close(read(tmp_path / f"zero{z}"), one, base)
    close(read(tmp_path / "frozen"), train("one_frozen", **frozen, resources=RESOURCES), base)
    for name, fields in ESTIMATORS.items():
        alone = train(f"one_{name}", **STAGE | fields, resources=RESOURCES)
        assert alone.metrics[0]["grad_norm"] != pytest.approx(one.metrics[0]["grad_norm"])
        close(read(tmp_path / name), alone, base)
