"""Our whole update against TRL's ``GRPOTrainer``: same responses and rewards in, same loss and
gradient out.

TRL 1.16's own code turns rewards into advantages, masks truncated responses, counts and reduces
(``_generate_and_score_completions`` and ``_compute_loss`` of an instance without ``__init__``);
ours is ``estimate``, ``Sample.keep`` and ``Updater.update``. The model on both sides is a table:
every response token has an id of its own, and its log-probability is the entry of that id.
"""

from __future__ import annotations

import inspect
import itertools
import warnings
from collections import defaultdict
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from backends.base.stage import Stage
from backends.deepspeed.objectives.advantages import estimate
from backends.deepspeed.policy.packing import PackedBatch
from backends.deepspeed.update import Outcome, Totals, Updater
from backends.models.prompt import Prompt
from backends.training.groups import Group
from backends.training.ranks import Ranks
from backends.training.samples import Sample
from tests.backends.trained import SMALL

accelerate = pytest.importorskip("accelerate")
trl = pytest.importorskip("trl", reason="TRL is an optional dependency: pip install trl")
if not trl.__version__.startswith("1.16."):
    pytest.skip(
        f"this oracle calls private methods of TRL 1.16, not {trl.__version__}",
        allow_module_level=True,
    )

PAD = 0
LENGTHS = [[5, 2, 7], [1, 4, 3], [6, 6, 2], [3, 8, 1]]
TRUNCATED = [[False, False, True], [False] * 3, [True, False, False], [False] * 3]
REWARDS: list[list[float | None]] = [
    [1.0, 0.0, 0.5],
    [0.0, 0.0, 1.0],
    [1.0, 1.0, 1.0],
    [0.25, None, 1.0],
]
GROUP = 3
MAX_TOKENS = 10
IDS = iter(itertools.count(1))
RESPONSES = [[[next(IDS) for _ in range(n)] for n in group] for group in LENGTHS]
SIZE = next(IDS)
ENDS = [
    response[-1]
    for group, cut in zip(RESPONSES, TRUNCATED, strict=True)
    for response, truncated in zip(group, cut, strict=True)
    if not truncated
]


def table(seed: int, spread: float = 0.3) -> Tensor:
    """Log-probabilities by id. The spread puts ratios of both directions out of the clip range."""
    base = torch.randn(SIZE, generator=torch.Generator().manual_seed(0)) - 2
    return base + spread * torch.randn(SIZE, generator=torch.Generator().manual_seed(seed))


class Table(nn.Module):
    """A model whose log-probability of a token is its entry. As a learner it has our verbs."""

    is_gradient_checkpointing = False

    def __init__(self, values: Tensor) -> None:
        super().__init__()
        self.values = nn.Parameter(values)

    def per_token(self, batch: PackedBatch, temperature: float) -> Tensor:
        return self.values[batch.targets]

    def accumulate(self, loss: Tensor) -> None:
        loss.backward()

    def step(self, lr: float) -> tuple[bool, float]:
        return True, 0.0


def ours(stage: Stage, tokens_budget: int) -> tuple[float, Tensor, list[float]]:
    """Loss, its gradient by id, and the advantage of every response by our own trainer."""
    one = torch.zeros(1, dtype=torch.long)
    prompt = Prompt(one, torch.zeros(3, 1, dtype=torch.long), 1)
    current, old, reference = Table(table(1)), table(2), table(3)
    samples = []
    for place, (responses, rewards, cut) in enumerate(
        zip(RESPONSES, REWARDS, TRUNCATED, strict=True)
    ):
        ids = torch.tensor([i for r in responses for i in r])
        samples.append(
            Sample(
                place,
                Group(prompt, responses),
                rewards,
                cut,
                [table(1)[r].tolist() for r in responses],
                old=old[ids] if stage.updates_per_rollout > 1 else None,
                reference=reference[ids] if stage.kl.beta > 0 else None,
            )
        )
    ranks = Ranks(0, 1, torch.device("cpu"))
    samples = estimate(samples, stage, ranks)
    advantages = [float(part[0]) for s in samples for part in s.advantages.split(s.lengths)]
    if stage.mask_truncated:
        samples = [s.keep([not cut for cut in s.truncated]) for s in samples]
    totals = Totals()
    updater = Updater(stage, current, ranks, tokens_budget, PAD)  # type: ignore[arg-type]
    assert updater.update(samples, 1.0, totals) is Outcome.APPLIED
    assert current.values.grad is not None
    return totals.loss, current.values.grad, advantages


def theirs(stage: Stage, loss_type: str, scale: str) -> tuple[float, Tensor, list[float]]:
    """The same by TRL's."""
    from backends.trl.library import GRPOTrainer

    assert list(inspect.signature(GRPOTrainer._compute_loss).parameters) == [
        *("self", "model", "inputs")
    ]
    trainer: Any = GRPOTrainer.__new__(GRPOTrainer)
    several = stage.updates_per_rollout > 1
    flat = [r for group in RESPONSES for r in group]
    rewards = torch.tensor([[float("nan") if r is None else r] for group in REWARDS for r in group])

    def lookup(model: Table, ids: Tensor, mask: Tensor, keep: int, *_: Any, **__: Any) -> Any:
        logp = model.values[ids[:, -keep:]]
        return logp, torch.zeros_like(logp), None

    settings = {
        "accelerator": accelerate.Accelerator(cpu=True),
        "args": SimpleNamespace(
            delta=stage.dual_clip,
            use_bias_correction_kl=False,
            steps_per_generation=1,
            gradient_accumulation_steps=1,
            per_device_train_batch_size=len(flat),
            gradient_checkpointing_kwargs=None,
        ),
        "model": Table(table(2)).train(),
        "ref_model": Table(table(3)),
        "_get_per_token_logps_and_entropies": lookup,
        "_generate": lambda prompts: (
            *([[PAD]] * len(flat), flat, None, [""] * len(flat)),
            *(None, {}, None, None),
        ),
        "_calculate_rewards": lambda *_: rewards,
        "_tokenizer": SimpleNamespace(pad_token_id=PAD),
        "eos_token_ids": ENDS,
        "reward_weights": torch.ones(1),
        "reward_func_names": ["test"],
        "reward_funcs": [None],
        "multi_objective_aggregation": "sum_then_normalize",
        "scale_rewards": scale,
        "num_generations": GROUP,
        "num_iterations": 2 if several else 1,
        "mask_truncated_completions": stage.mask_truncated,
        "beta": stage.kl.beta,
        "epsilon_low": stage.clip_low,
        "epsilon_high": stage.clip_high,
        "importance_sampling_level": stage.ratio,
        "loss_type": loss_type,
        "max_completion_length": stage.max_response_tokens,
        "current_gradient_accumulation_steps": 1,
        "_metrics": {"train": defaultdict(list)},
        "_logs": {k: [] for k in ("prompt", "completion", "advantages", "images")}
        | {"rewards": defaultdict(list), "extra": defaultdict(list)},
        "_pending_extra_logs": defaultdict(list),
        "_pending_metrics": defaultdict(list),
        "top_entropy_quantile": 1.0,
        **dict.fromkeys(
            (
                *("environment_factories", "environments", "tools", "pad_to_multiple_of"),
                "off_policy_mask_threshold",
            )
        ),
        **dict.fromkeys(
            (
                *("use_vllm", "vllm_importance_sampling_correction", "_entropy_bonus_enabled"),
                *("aux_loss_enabled", "log_multimodal", "_is_vlm"),
            ),
            False,
        ),
    }
    for name, value in settings.items():
        setattr(trainer, name, value)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a library that is only looked at
        inputs = trainer._generate_and_score_completions([{"prompt": "?"}] * len(flat))
        assert ("old_per_token_logps" in inputs) == several
        trainer.model = Table(table(1)).train()
        loss = trainer._compute_loss(trainer.model, inputs)
    loss.backward()
    return float(loss.detach()), trainer.model.values.grad, inputs["advantages"].tolist()


def compare(loss_type: str, scale: str = "group", tokens_budget: int = 1000, **fields: Any) -> None:
    stage = Stage.model_validate(
        SMALL
        | {
            "group_size": 8,
            "advantage": {"group": "group_norm", "batch": "batch_norm", "none": "group_mean"}[
                scale
            ],
            "advantage_eps": 1e-4,
            "aggregation": {"grpo": "sequence_mean", "dr_grpo": "fixed_length"}.get(
                loss_type, "token_mean"
            ),
            "max_response_tokens": MAX_TOKENS,
        }
        | fields
    )
    loss, gradient, advantages = ours(stage, tokens_budget)
    wanted_loss, wanted_gradient, wanted_advantages = theirs(stage, loss_type, scale)
    assert advantages == pytest.approx(wanted_advantages, rel=1e-6, abs=1e-6)
    if stage.mask_truncated and loss_type in ("grpo", "dr_grpo"):
        # These two divide by the number of responses, and TRL counts masked ones there; ours does
        # not, as its own token counts do not.
        cut = [c for group in TRUNCATED for c in group]
        wanted_loss *= len(cut) / (len(cut) - sum(cut))
        wanted_gradient = wanted_gradient * len(cut) / (len(cut) - sum(cut))
    assert wanted_gradient.abs().max() > 1e-3
    assert loss == pytest.approx(wanted_loss, rel=1e-6, abs=1e-6)
    torch.testing.assert_close(gradient, wanted_gradient, rtol=1e-6, atol=1e-6)


LOSSES = ["grpo", "dapo", "dr_grpo", "bnpo"]


@pytest.mark.parametrize("ratio", ["token", "sequence"])
@pytest.mark.parametrize("mask_truncated", [False, True], ids=["all", "untruncated"])
@pytest.mark.parametrize("beta", [0.0, 0.04], ids=["free", "kl"])
@pytest.mark.parametrize("updates", [1, 4], ids=["on_policy", "old"])
@pytest.mark.parametrize("loss_type", LOSSES)
def test_loss_gradient_and_advantages_are_trls(
    loss_type: str, updates: int, beta: float, mask_truncated: bool, ratio: str
) -> None:
    compare(
        loss_type,
        updates_per_rollout=updates,
        clip_low=0.1,
        clip_high=0.15,
        kl={"beta": beta},
        mask_truncated=mask_truncated,
        ratio=ratio,
    )


@pytest.mark.parametrize("scale", ["group", "batch", "none"])
def test_advantages_are_trls_for_each_scale(scale: str) -> None:
    compare("dapo", scale)


@pytest.mark.parametrize("loss_type", LOSSES)
def test_micro_batches_of_one_group_are_trls_one_batch(loss_type: str) -> None:
    compare(loss_type, tokens_budget=1, updates_per_rollout=2, kl={"beta": 0.1})


@pytest.mark.parametrize("ratio", ["token", "sequence"])
def test_the_dual_clip_is_trls_delta(ratio: str) -> None:
    compare("dapo", updates_per_rollout=2, dual_clip=1.25, ratio=ratio)
