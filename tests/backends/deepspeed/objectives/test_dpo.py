"""DPO: the loss against independent ones, exact over micro-batches and ranks; what it teaches."""

from __future__ import annotations

import copy
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.nn.functional import logsigmoid

from backends.base.backend import Inputs, TrainingError
from backends.base.resources import Resources
from backends.base.stage import Stage
from backends.deepspeed.objectives.dpo import margins
from backends.models.encoding import Encoder
from backends.models.folders import load_model, suppress
from backends.models.pictures import joined
from backends.registry import backend
from backends.training.samples import Drawn, request
from benchmarks.base import Item
from benchmarks.data.questions import save_questions

from ...stopping import kill_at
from ..conftest import SMALL, Train, apart, read, same
from ..stopping import goes_on_bit_for_bit
from ..test_resume import start

DPO: dict[str, Any] = {
    **SMALL,
    "rewards": [],
    "objective": "dpo",
    "curation": {"keep": "ranked"},
    "max_response_tokens": 16,
    "lr": 1e-3,
}


@pytest.fixture(scope="session")
def pairs(items: list[Item]) -> list[Item]:
    """Eight preferences of different lengths, some without a picture."""
    return [
        replace(item, answer="", meta={"chosen": f"it is {2 * i}", "rejected": "no " * (1 + i % 3)})
        for i, item in enumerate(items)
    ]


@pytest.mark.parametrize("beta", [0.1, 0.5])
def test_the_margin_is_that_of_the_formula(beta: float) -> None:
    torch.manual_seed(0)
    lengths = torch.tensor([3, 1, 2, 5])
    logp, reference = torch.randn(2, 11, dtype=torch.float64)
    own, old = logp.split(lengths.tolist()), reference.split(lengths.tolist())
    expected = [
        beta * float((own[i] - old[i]).sum() - (own[i + 1] - old[i + 1]).sum()) for i in (0, 2)
    ]
    assert margins(logp, reference, lengths, beta).tolist() == pytest.approx(expected, abs=1e-12)


def alone(model: Any, encoder: Encoder, item: Item, text: str) -> Tensor:
    """log p(text | prompt), summed: one sequence through the stock model, nothing shared."""
    prompt = encoder.encode(request(Drawn(0, item.id, item), "plain"))
    assert prompt is not None
    response = torch.tensor(encoder.response(text))
    ids = torch.cat([prompt.input_ids, response])[None]
    pictures = joined(prompt.pictures)
    pictures["mm_token_type_ids"] = (ids == model.config.image_token_id).int()
    logits = model(input_ids=ids, **pictures).logits[0, len(prompt) - 1 : -1].float()
    logits = suppress(logits, encoder.suppressed)
    return logits.log_softmax(-1).gather(-1, response[:, None]).sum()


def test_loss_and_gradient_are_those_of_a_plain_implementation(
    train: Train, pairs: list[Item], model_folder: Path
) -> None:
    """Two steps of our trainer against two steps of AdamW on the stock model, one sequence at a
    time, equation 7 of arXiv 2305.18290 by hand."""
    ours = train("ours", items=pairs, steps=2, questions_per_step=8, dpo_beta=0.5, **_but(DPO))
    torch.manual_seed(0)
    model = load_model(model_folder, "float32", "cpu").eval()
    frozen = copy.deepcopy(model).requires_grad_(False)
    encoder = Encoder.at(model_folder, 2048)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, betas=(0.9, 0.999), weight_decay=0)
    for row in ours.metrics:
        losses, found = [], []
        for item in pairs:
            chosen, rejected = item.meta["chosen"], item.meta["rejected"]
            gaps = [
                alone(model, encoder, item, t) - alone(frozen, encoder, item, t)
                for t in (chosen, rejected)
            ]
            found.append(0.5 * (gaps[0] - gaps[1]))
            losses.append(-logsigmoid(found[-1]))
        loss = torch.stack(losses).mean()
        optimizer.zero_grad()
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        margin = torch.stack(found).detach()
        assert row["loss"] == pytest.approx(float(loss.detach()), abs=1e-6)
        assert row["grad_norm"] == pytest.approx(float(norm), rel=1e-5)
        assert row["reward_margin"] == pytest.approx(float(margin.mean()), abs=2e-5)
    assert ours.metrics[0]["loss"] == pytest.approx(math.log(2), abs=1e-6)
    assert ours.metrics[1]["preference_accuracy"] == float((margin > 0).float().mean())


def _but(stage: dict[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in stage.items() if k not in ("steps", "questions_per_step")}


def test_micro_batches_add_up(train: Train, pairs: list[Item]) -> None:
    one = train("one", items=pairs, **DPO)
    many = train("many", items=pairs, resources={"tokens_per_micro_batch": 1}, **DPO)
    assert apart(one.weights, many.weights) < 1e-6
    assert [r["loss"] for r in one.metrics] == pytest.approx([r["loss"] for r in many.metrics])


@pytest.mark.slow
def test_two_ranks_train_what_one_does(
    pairs: list[Item], model_folder: Path, tmp_path: Path
) -> None:
    pool = save_questions(pairs, tmp_path / "pairs")
    for processes in (1, 2):
        backend("deepspeed").train(
            Stage.model_validate(DPO),
            Inputs(model_folder, pool, 0),
            Resources(processes=processes, zero_stage=2),
            tmp_path / str(processes),
        )
    one, two = read(tmp_path / "1"), read(tmp_path / "2")
    assert apart(one.weights, two.weights) < 1e-5
    assert [r["reward_margin"] for r in one.metrics] == pytest.approx(
        [r["reward_margin"] for r in two.metrics], abs=1e-5
    )


def test_the_chosen_responses_become_likelier(train: Train, pairs: list[Item]) -> None:
    row = train("run", items=pairs, **DPO | {"steps": 12, "questions_per_step": 8}).metrics[-1]
    assert row["preference_accuracy"] == 1.0
    assert row["reward_margin"] > 0.5
    assert row["loss"] < 0.5


def test_the_other_way_round_it_teaches_the_opposite(train: Train, pairs: list[Item]) -> None:
    """The sign: a model trained on swapped pairs puts the original ones the wrong way round."""
    swapped = [
        replace(p, meta={"chosen": p.meta["rejected"], "rejected": p.meta["chosen"]}) for p in pairs
    ]
    stage = DPO | {"steps": 6, "questions_per_step": 8}
    right = train("right", items=pairs, **stage).weights
    wrong = train("wrong", items=swapped, **stage).weights
    base = load_file(
        Path(train("none", items=pairs, **DPO | {"steps": 1, "lr": 1e-12}).workdir)
        / "checkpoint"
        / "model.safetensors"
    )
    moves = [
        sum(float(((a[k] - base[k]) * (b[k] - base[k])).sum()) for k in base)
        for a, b in ((right, wrong), (right, right))
    ]
    assert moves[0] < 0 < moves[1]


@pytest.mark.parametrize(
    "meta", [{}, {"chosen": "a"}, {"chosen": "a", "rejected": " "}, {"chosen": 1, "rejected": 2}]
)
def test_a_question_without_a_pair_is_dropped_and_counted(
    train: Train, pairs: list[Item], meta: dict[str, Any]
) -> None:
    some = [replace(p, meta=meta) if i < 3 else p for i, p in enumerate(pairs)]
    run = train("some", items=some, **DPO | {"steps": 1, "questions_per_step": 8})
    assert run.metrics[0]["dropped_prompts"] == 3
    with pytest.raises(TrainingError, match=r"none of the 8 questions .* 'chosen'"):
        train("none", items=[replace(p, meta=meta) for p in pairs], **DPO)


def test_a_stopped_dpo_goes_on_bit_for_bit(train: Train, pairs: list[Item]) -> None:
    stage = DPO | {"steps": 7, "warmup_steps": 5}
    goes_on_bit_for_bit(train, 4, items=pairs, resources={"save_every": 2}, **stage)


SFT: dict[str, Any] = DPO | {"objective": "sft", "curation": None}


@pytest.mark.slow
@pytest.mark.parametrize("objective", ["dpo", "sft"])
def test_kill_9_and_again(
    train: Train, pairs: list[Item], tmp_path: Path, model_folder: Path, objective: str
) -> None:
    stage = (DPO if objective == "dpo" else SFT) | {"steps": 60, "lr": 1e-4}
    pool = [replace(p, solution=p.meta["chosen"]) for p in pairs]
    questions = save_questions(pool, tmp_path / "killed_questions")
    resources = {"save_every": 4}
    whole = train("whole", items=pool, resources=resources, **stage)
    process = start(tmp_path / "killed", stage, resources, model_folder, questions)
    kill_at(6, tmp_path / "killed", process)
    assert not (tmp_path / "killed" / "checkpoint").exists()
    killed = train("killed", items=pool, resources=resources, **stage)
    assert same(killed.weights, whole.weights)
    assert killed.figures() == whole.figures()


def test_a_kl_of_its_own_is_refused() -> None:
    stage = Stage.model_validate(DPO | {"kl": {"beta": 0.1}, "rewards": [{"name": "majority"}]})
    found = backend("deepspeed").problems(stage, Resources())
    assert any("dpo_beta" in said for said in found)
    assert any("rewards have no meaning" in said for said in found)
