"""FlexAttention over packed groups: the same numbers as the scaled dot product and as stock
forwards, with torch's unfused implementation, and the compiled forward of a CPU."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable, Sequence
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor
from torch._dynamo.testing import CompileCounterWithBackend
from torch.nn.attention import flex_attention as torch_flex
from transformers import PreTrainedModel

from backends.base.engine import Request
from backends.base.resources import Resources
from backends.base.stage import Stage
from backends.deepspeed.backend import DeepSpeedBackend
from backends.deepspeed.policy import flex
from backends.deepspeed.policy.attention import shared_prompt_attention
from backends.deepspeed.policy.layout import Layout
from backends.deepspeed.policy.packing import PackedBatch, pack
from backends.deepspeed.policy.policy import Policy
from backends.models.encoding import Encoder
from backends.models.prompt import Prompt
from backends.registry import backend
from backends.training.groups import Group

from ..conftest import SMALL, Train, apart

pytestmark = [
    pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile:UserWarning"),
    pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor:UserWarning"),  # dynamo's
]

#: Lengths of the responses of each group: ragged, none, one, nothing to feed, all at once.
LENGTHS: dict[str, list[tuple[int, ...]]] = {
    "ragged": [(3, 9, 5, 1), (7, 2), (12,), (4, 4, 4)],
    "empty responses": [(0, 6, 0), (3, 0)],
    "one response": [(8,)],
    "one token each": [(1, 1), (1,), (1, 1, 1)],
    "some groups have nothing to feed": [(5, 2), (1, 0), (6,)],
}


@pytest.fixture(autouse=True)
def backward_on_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """torch's unfused implementation has a backward on CPU, but flex_attention refuses to use it
    there, as the fused one has none."""
    monkeypatch.setattr(torch_flex, "_validate_device", lambda *_: None)


MakeBatch = Callable[..., PackedBatch]


@pytest.fixture
def make_batch(encoder: Encoder, picture: Callable[..., bytes]) -> MakeBatch:
    def make(lengths: Sequence[Sequence[int]], pictures: bool = True) -> PackedBatch:
        rng = random.Random(0)
        groups = []
        for i, own in enumerate(lengths):
            images = (picture(i),) if pictures and i % 2 == 0 else ()
            prompt = encoder.encode(Request(str(i), "abc " * (i % 4 + 1), images))
            assert isinstance(prompt, Prompt)
            groups.append(Group(prompt, [[rng.randrange(200) for _ in range(n)] for n in own]))
        return pack(groups, "cpu")

    return make


def visible(batch: PackedBatch) -> Tensor:
    """[T, T], by the rule: same group, not after, and of the prompt or of the same response."""
    group, response = [], []
    number = 0
    starts = (batch.layout.prompts[:, 0]).tolist()
    for place in range(len(batch.input_ids)):
        group.append(sum(place >= start for start in starts) - 1)
    fed = [max(n - 1, 0) for n in batch.lengths.tolist()]
    owners = [r for r, n in enumerate(fed) for _ in range(n)]
    for is_prompt in batch.is_prompt.tolist():
        response.append(-1 if is_prompt else owners[number])
        number += not is_prompt
    tokens = range(len(group))
    return torch.tensor(
        [
            [j <= i and group[i] == group[j] and response[j] in (-1, response[i]) for j in tokens]
            for i in tokens
        ]
    )


@pytest.mark.parametrize("lengths", LENGTHS.values(), ids=LENGTHS.keys())
def test_every_token_sees_its_prompt_and_its_own_response(
    make_batch: MakeBatch, lengths: list[tuple[int, ...]]
) -> None:
    batch = make_batch(lengths)
    mask = flex.block_mask(batch.layout)
    tokens = torch.arange(len(batch.input_ids))
    zero = torch.tensor(0)
    found = mask.mask_mod(zero, zero, tokens[:, None], tokens[None])
    assert torch.equal(found, visible(batch))


def attend(
    function: Callable[..., tuple[Tensor, None]], mask: object, dtype: torch.dtype, tokens: int
) -> tuple[Tensor, ...]:
    """Output and gradients of one random query, key and value; 6 heads share 2 of keys."""
    torch.manual_seed(0)
    shapes = ((1, 6, tokens, 16), (1, 2, tokens, 16), (1, 2, tokens, 16))
    leaves = [torch.randn(shape).to(dtype).requires_grad_() for shape in shapes]
    module = SimpleNamespace(num_key_value_groups=3, is_causal=True, training=False)
    out, _ = function(module, *leaves, mask, scaling=0.3, dropout=0.0)
    upstream = torch.randn(out.shape).to(dtype)
    return out, *torch.autograd.grad(out, leaves, upstream)


@pytest.mark.parametrize("case", ["ragged", "empty responses", "one token each"])
def test_outputs_and_gradients_equal_those_of_the_scaled_dot_product(
    make_batch: MakeBatch, case: str
) -> None:
    layout: Layout = make_batch(LENGTHS[case]).layout
    tokens = len(layout.back)
    for dtype, error in ((torch.float32, 1e-5), (torch.bfloat16, 0.05)):
        found = attend(flex.flex, flex.block_mask(layout), dtype, tokens)
        expected = attend(shared_prompt_attention, layout, dtype, tokens)
        for mine, other in zip(found, expected, strict=True):
            torch.testing.assert_close(mine, other, rtol=error, atol=error)


@pytest.mark.parametrize(
    ("pictures", "checkpointing"), [(True, False), (False, False), (True, True)]
)
def test_the_policy_is_the_same_with_either_attention(
    build_model: Callable[..., PreTrainedModel],
    make_batch: MakeBatch,
    pictures: bool,
    checkpointing: bool,
) -> None:
    batch = make_batch(LENGTHS["ragged"], pictures)
    found = []
    for attention in ("sdpa", "flex"):
        model = build_model()
        policy = Policy(
            model, (), attention=attention, activation_checkpointing=checkpointing, chunk_tokens=9
        )
        logp = policy(batch, 0.8)
        (logp * torch.linspace(-1, 1, len(logp))).sum().backward()
        found.append((logp.detach(), {n: p.grad for n, p in model.named_parameters()}))
    (expected, gradients), (logp, mine) = found
    torch.testing.assert_close(logp, expected, rtol=1e-5, atol=1e-5)
    for name, want in gradients.items():
        assert (want is None) == (mine[name] is None), name
        if want is not None:
            error = (mine[name] - want).norm() / want.norm().clamp_min(1e-3)
            assert error < 1e-5, f"{name}: relative gradient error {error:.1e}"


def test_it_equals_stock_forwards(
    build_model: Callable[..., PreTrainedModel], make_batch: MakeBatch
) -> None:
    """Every response alone behind its prompt, in a stock model: no code of ours."""
    batch = make_batch(LENGTHS["empty responses"], pictures=False)
    with torch.no_grad():
        found = Policy(build_model(), (), attention="flex")(batch)
        stock = build_model()
        ids, targets = batch.input_ids, batch.targets.split(batch.lengths.tolist())
        groups = batch.layout.prompts[:, 0].tolist()
        expected = []
        for group, response in zip(batch.group_of.tolist(), targets, strict=True):
            start = groups[group]
            rest = ids[start:][batch.is_prompt[start:]]
            later = [g for g in groups if g > start]
            prompt = rest[: int(batch.is_prompt[start : later[0] if later else None].sum())]
            row = torch.cat([prompt, response])[None]
            logits = stock(input_ids=row, attention_mask=torch.ones_like(row)).logits[0]
            logp = logits[len(prompt) - 1 : -1].log_softmax(-1)
            expected.append(logp.gather(-1, response[:, None])[:, 0])
    torch.testing.assert_close(found, torch.cat(expected), rtol=1e-5, atol=1e-5)


def test_other_masks_go_the_stock_way(build_model: Callable[..., PreTrainedModel]) -> None:
    """Sampling uses the same model, with and without padding."""
    ids = torch.arange(12).reshape(2, 6)
    padded = torch.tensor([[1] * 6, [0, 0, 1, 1, 1, 1]])
    stock, model = build_model(), build_model()
    Policy(model, (), attention="flex")
    with torch.no_grad():
        for mask in (None, padded):
            expected = stock(input_ids=ids, attention_mask=mask).logits
            found = model(input_ids=ids, attention_mask=mask).logits
            assert torch.equal(found[:, 2:], expected[:, 2:])


def test_batches_of_other_shapes_are_not_compiled_again(make_batch: MakeBatch) -> None:
    """On a GPU each compilation costs many seconds: one must serve every micro-batch of more than
    one block."""
    counter = CompileCounterWithBackend("eager")
    compiled = torch.compile(torch_flex.flex_attention, dynamic=True, backend=counter)
    for copies in (4, 6, 9):
        layout = make_batch(LENGTHS["ragged"] * copies, pictures=False).layout
        q, k = (torch.randn(1, heads, len(layout.back), 16) for heads in (4, 2))
        compiled(q, k, k, block_mask=flex.block_mask(layout), scale=0.3, enable_gqa=True)
    assert len(layout.back) > 4 * 128
    assert counter.frame_count == 1


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch's compiler needs g++")
@pytest.mark.filterwarnings("ignore::DeprecationWarning:torch")
def test_the_compiled_forward_equals_the_scaled_dot_product(make_batch: MakeBatch) -> None:
    for copies in (3, 8):
        layout = make_batch(LENGTHS["ragged"] * copies, pictures=False).layout
        torch.manual_seed(0)
        q, k, v = (torch.randn(1, heads, len(layout.back), 32) for heads in (6, 2, 2))
        module = SimpleNamespace(num_key_value_groups=3, is_causal=True, training=False)
        expected, _ = shared_prompt_attention(module, q, k, v, layout, scaling=0.3, dropout=0.0)
        with torch.no_grad():
            found = flex._compiled()(
                q, k, v, block_mask=flex.block_mask(layout), scale=0.3, enable_gqa=True
            )
        torch.testing.assert_close(found.transpose(1, 2), expected, rtol=1e-5, atol=1e-5)


def test_a_training_gives_the_same_weights(train: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    stage = {"kl": {"beta": 0.1}, "updates_per_rollout": 2}
    expected = train("sdpa", **stage)
    made: list[Layout] = []
    mask = flex.block_mask
    monkeypatch.setattr(flex, "block_mask", lambda layout: made.append(layout) or mask(layout))
    monkeypatch.setattr(DeepSpeedBackend, "problems", lambda *_: [])  # it is refused on a CPU
    found = train("flex", **stage, resources={"attention": "flex"})
    assert len(made) >= 2 * (1 + 1 + 2)  # steps of: old, reference, two updates
    assert apart(found.weights, expected.weights) < 1e-5


def test_it_is_refused_where_it_cannot_train() -> None:
    ours, stage = backend("deepspeed"), Stage.model_validate(SMALL)
    for device in ("cpu", "auto"):
        (found,) = ours.problems(stage, Resources(attention="flex", device=device))
        assert "resources.device to cuda, or attention to sdpa" in found
    assert ours.problems(stage, Resources(attention="flex", device="cuda")) == []
