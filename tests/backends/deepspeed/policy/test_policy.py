"""The packed group forward against a stock forward of every (prompt, response) alone."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch
from torch import Tensor
from transformers import PreTrainedModel, Qwen2_5_VLProcessor

from backends.base.engine import Request
from backends.deepspeed.policy import policy
from backends.deepspeed.policy.packing import PackedBatch, micro_batches, pack
from backends.deepspeed.policy.policy import Critic, Policy, TokenLogProb
from backends.models.encoding import Encoder
from backends.models.folders import load_model, save_checkpoint
from backends.models.pictures import joined
from backends.models.prompt import Prompt
from backends.training.groups import Group


def repeated_forward(
    model: PreTrainedModel, groups: Sequence[Group], suppressed: Sequence[int], temperature: float
) -> Tensor:
    """The oracle: one stock forward a response, log_softmax, gather. [N]"""
    image = model.config.image_token_id
    logps = []
    for group in groups:
        prompt = group.prompt
        for response in group.responses:
            ids = torch.cat([prompt.input_ids, torch.tensor(response)])[None]
            logits = model(
                input_ids=ids,
                attention_mask=torch.ones_like(ids),
                mm_token_type_ids=(ids == image).int(),
                **joined(prompt.pictures),
            ).logits[0, len(prompt) - 1 : -1]
            allowed = torch.ones(logits.shape[-1], dtype=torch.bool)
            allowed[list(suppressed)] = False
            logits = (logits / temperature).masked_fill(~allowed, -torch.inf)
            logps.append(logits.log_softmax(-1).gather(-1, torch.tensor(response)[:, None])[:, 0])
    return torch.cat(logps)


MakeGroups = Callable[..., list[Group]]


@pytest.fixture
def make_groups(encoder: Encoder, picture: Callable[..., bytes]) -> MakeGroups:
    """Groups with no, one and two pictures of several sizes, and responses of length 1 to 12."""
    images = [(), (picture(1),), (picture(2, 56, 112), picture(3, 140, 84)), (picture(1),)]

    def make(seed: int = 0, pictures: bool = True) -> list[Group]:
        rng = random.Random(seed)
        groups = []
        for i, own in enumerate(images):
            text = "".join(rng.choices("abc 123", k=rng.randint(2, 20)))
            prompt = encode(encoder, Request(str(i), text, own if pictures else ()))
            lengths = [rng.randint(1, 12) for _ in range(rng.randint(1, 4))]
            groups.append(Group(prompt, [[rng.randrange(200) for _ in range(n)] for n in lengths]))
        return groups

    return make


def encode(encoder: Encoder, request: Request) -> Prompt:
    prompt = encoder.encode(request)
    assert prompt is not None
    return prompt


def packed(groups: Sequence[Group], encoder: Encoder) -> PackedBatch:
    return pack(groups, "cpu")


def weights(n: int) -> Tensor:
    """One fixed weight a token: a loss that sees every log-probability separately."""
    return torch.linspace(-1, 1, n)


def gradients(model: PreTrainedModel) -> dict[str, Tensor]:
    return {
        name: torch.zeros_like(p) if p.grad is None else p.grad.clone()
        for name, p in model.named_parameters()
    }


def assert_gradients_close(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    for name, want in expected.items():
        error = (found[name] - want).norm() / want.norm().clamp_min(1e-3)
        assert error < 1e-5, f"{name}: relative gradient error {error:.1e}"


@pytest.fixture
def suppressed(encoder: Encoder) -> tuple[int, ...]:
    return encoder.suppressed


@pytest.mark.parametrize("pictures", [True, False], ids=["pictures", "text"])
@pytest.mark.parametrize("tied", [True, False], ids=["tied", "untied"])
def test_values_and_gradients_equal_the_repeated_forward(
    build_model: Callable[..., PreTrainedModel],
    make_groups: MakeGroups,
    encoder: Encoder,
    suppressed: tuple[int, ...],
    pictures: bool,
    tied: bool,
) -> None:
    model = build_model(tied=tied)
    groups = make_groups(pictures=pictures)
    expected = repeated_forward(model, groups, suppressed, 0.7)
    (expected * weights(len(expected))).sum().backward()
    expected_gradients = gradients(model)

    model.zero_grad()
    batch = packed(groups, encoder)
    logp = Policy(model, suppressed, chunk_tokens=7)(batch, 0.7)
    (logp * weights(len(logp))).sum().backward()
    assert logp.dtype == torch.float32
    torch.testing.assert_close(logp, expected, rtol=1e-5, atol=1e-5)
    assert_gradients_close(gradients(model), expected_gradients)
    assert batch.lengths.tolist() == [len(r) for g in groups for r in g.responses]
    assert batch.group_of.tolist() == [i for i, g in enumerate(groups) for _ in g.responses]


def test_each_token_is_predicted_from_the_one_before_it(
    model: PreTrainedModel,
    make_groups: MakeGroups,
    encoder: Encoder,
    suppressed: tuple[int, ...],
) -> None:
    # Without what its layers add, the model is a table: from one token to the odds of the next.
    for layer in model.model.language_model.layers:
        torch.nn.init.zeros_(layer.self_attn.o_proj.weight)
        torch.nn.init.zeros_(layer.mlp.down_proj.weight)
    with torch.no_grad():
        states = model.model.language_model.norm(model.get_input_embeddings().weight)
        logits = model.get_output_embeddings()(states)
        logits[:, list(suppressed)] = -torch.inf
        odds = logits.log_softmax(-1)
        groups = make_groups(pictures=False)
        found = Policy(model, suppressed)(packed(groups, encoder))
    expected = [
        odds[before, after]
        for group in groups
        for response in group.responses
        for before, after in zip(
            [int(group.prompt.input_ids[-1]), *response], response, strict=False
        )
    ]
    torch.testing.assert_close(found, torch.stack(expected), rtol=1e-5, atol=1e-5)


def test_the_critic_values_the_states_that_predict_each_token(
    build_model: Callable[..., PreTrainedModel], make_groups: MakeGroups, encoder: Encoder
) -> None:
    groups = make_groups()
    stock, critic = build_model(tied=False), Critic(build_model(tied=False))
    with torch.no_grad():
        assert (critic(packed(groups, encoder)) == 0).all()  # nothing is worth anything yet
        torch.nn.init.normal_(critic.head.weight, generator=torch.Generator().manual_seed(0))
        found = critic(packed(groups, encoder))
        expected = []
        for group in groups:
            for response in group.responses:
                ids = torch.cat([group.prompt.input_ids, torch.tensor(response)])[None]
                states = stock.model(
                    input_ids=ids,
                    mm_token_type_ids=(ids == stock.config.image_token_id).int(),
                    **joined(group.prompt.pictures),
                ).last_hidden_state[0, len(group.prompt) - 1 : -1]
                expected.append(critic.head(states)[:, 0])
    torch.testing.assert_close(found, torch.cat(expected), rtol=1e-4, atol=1e-4)
    assert not any("lm_head" in name for name, _ in critic.named_parameters())


def test_checkpointing_and_chunk_size_change_nothing(
    build_model: Callable[..., PreTrainedModel],
    make_groups: MakeGroups,
    encoder: Encoder,
    suppressed: tuple[int, ...],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(policy, "KEPT", 0)
    results = []
    for checkpointing, chunk in ((False, 1000), (True, 1000), (True, 5)):
        model = build_model().eval()  # as a checkpoint is loaded
        packed_policy = Policy(
            model, suppressed, activation_checkpointing=checkpointing, chunk_tokens=chunk
        )
        passes = []
        layer = model.model.language_model.layers[0].self_attn
        layer.register_forward_hook(lambda *_, passes=passes: passes.append(1))
        logp = packed_policy(packed(make_groups(), encoder), 1.0)
        (logp * weights(len(logp))).sum().backward()
        assert len(passes) == (2 if checkpointing else 1), "recomputed in the backward pass"
        results.append((logp, gradients(model)))
    for logp, grads in results[1:]:
        torch.testing.assert_close(logp, results[0][0], rtol=1e-6, atol=1e-6)
        assert_gradients_close(grads, results[0][1])


def test_shuffled_groups_keep_their_pictures_and_their_log_probabilities(
    model: PreTrainedModel,
    make_groups: MakeGroups,
    encoder: Encoder,
    suppressed: tuple[int, ...],
) -> None:
    policy = Policy(model, suppressed)
    groups = make_groups()
    with torch.no_grad():
        alone = [policy(packed([group], encoder)) for group in groups]
        for order in ([3, 1, 0, 2], [2, 3, 1, 0]):
            together = policy(packed([groups[i] for i in order], encoder))
            torch.testing.assert_close(
                together, torch.cat([alone[i] for i in order]), rtol=1e-5, atol=1e-5
            )


def test_the_picture_matters_and_so_does_its_place(
    model: PreTrainedModel,
    picture: Callable[..., bytes],
    encoder: Encoder,
    suppressed: tuple[int, ...],
) -> None:
    policy = Policy(model, suppressed)
    responses = [[1, 2, 3, 4]]

    def logp(*images: bytes) -> Tensor:
        prompt = encode(encoder, Request("q", "What is it?", images))
        with torch.no_grad():
            return policy(packed([Group(prompt, responses)], encoder))

    one, two = picture(1), picture(2)
    assert (logp(one) - logp(two)).abs().max() > 1e-3
    assert (logp(one, two) - logp(two, one)).abs().max() > 1e-3
    assert torch.equal(logp(one, two), logp(one, two))


def test_positions_of_prompt_and_response_equal_get_rope_index(
    model: PreTrainedModel, make_groups: MakeGroups
) -> None:
    for group in make_groups():
        prompt = group.prompt
        for response in group.responses:
            ids = torch.cat([prompt.input_ids, torch.tensor(response)])[None]
            expected, _ = model.model.get_rope_index(
                ids,
                mm_token_type_ids=(ids == model.config.image_token_id).int(),
                image_grid_thw=joined(prompt.pictures).get("image_grid_thw"),
            )
            after = prompt.next_position + torch.arange(len(response))
            found = torch.cat([prompt.position_ids, after.expand(3, -1)], dim=1)
            assert torch.equal(found, expected[:, 0])


def test_a_frozen_vision_tower_gets_no_gradient_and_changes_no_other(
    build_model: Callable[..., PreTrainedModel],
    make_groups: MakeGroups,
    encoder: Encoder,
    suppressed: tuple[int, ...],
) -> None:
    grads = []
    for frozen in (False, True):
        model = build_model()
        logp = Policy(model, suppressed, freeze_vision=frozen)(packed(make_groups(), encoder))
        (logp * weights(len(logp))).sum().backward()
        grads.append(gradients(model))
    for name, gradient in grads[0].items():
        if ".visual." in name:
            assert gradient.abs().sum() > 0
            assert grads[1][name].abs().sum() == 0
        else:
            torch.testing.assert_close(grads[1][name], gradient, rtol=0, atol=0)


@pytest.mark.parametrize("chunk", [1, 3, 7, 11, 64])
@pytest.mark.parametrize("temperature", [1.0, 0.6, 1.7])
@pytest.mark.parametrize("kept", [0, 11 * 13], ids=["recomputed", "kept"])
def test_chunked_log_probabilities_equal_log_softmax(
    chunk: int, temperature: float, kept: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(policy, "KEPT", kept)
    torch.manual_seed(0)
    projection = torch.nn.Linear(6, 13, bias=False, dtype=torch.float64)
    hidden = torch.randn(11, 6, dtype=torch.float64, requires_grad=True)
    targets = torch.randint(2, 13, (11,))
    upstream = torch.randn(11, dtype=torch.float64)
    inputs = (hidden, projection.weight)

    logits = (projection(hidden) / temperature).masked_fill(
        torch.arange(13) < 2, -torch.inf
    )  # ids 0 and 1 are suppressed
    expected = logits.log_softmax(-1).gather(-1, targets[:, None])[:, 0]
    expected_gradients = torch.autograd.grad(expected, inputs, upstream)

    logp = TokenLogProb(projection, (0, 1), chunk)(hidden, targets, temperature)
    torch.testing.assert_close(logp, expected, rtol=1e-12, atol=1e-12)
    for found, want in zip(
        torch.autograd.grad(logp, inputs, upstream), expected_gradients, strict=True
    ):
        torch.testing.assert_close(found, want, rtol=1e-12, atol=1e-12)


def test_a_suppressed_id_has_probability_zero_and_the_rest_sum_to_one(
    model: PreTrainedModel,
    picture: Callable[..., bytes],
    encoder: Encoder,
    suppressed: tuple[int, ...],
) -> None:
    prompt = encode(encoder, Request("q", "Any", (picture(1),)))
    vocabulary = model.config.text_config.vocab_size
    with torch.no_grad():
        first = Policy(model, suppressed)(
            packed([Group(prompt, [[i] for i in range(vocabulary)])], encoder), 0.9
        )
    assert len(suppressed) == 5
    assert (first[list(suppressed)] == -torch.inf).all()
    torch.testing.assert_close(first.exp().sum(), torch.tensor(1.0), rtol=1e-5, atol=1e-5)


def test_bfloat16_stays_close_to_float32(
    model: PreTrainedModel,
    make_groups: MakeGroups,
    encoder: Encoder,
    suppressed: tuple[int, ...],
) -> None:
    policy = Policy(model, suppressed)
    batch = packed(make_groups(), encoder)
    with torch.no_grad():
        expected = policy(batch, 1.0)
    logp = policy.to(torch.bfloat16)(batch, 1.0)
    logp.sum().backward()
    assert logp.dtype == torch.float32
    assert (logp - expected).abs().mean() < 0.2  # log-probabilities of a random model go to -20
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


def test_responses_of_one_token_and_of_none(
    model: PreTrainedModel,
    make_groups: MakeGroups,
    encoder: Encoder,
    suppressed: tuple[int, ...],
) -> None:
    prompt = make_groups()[1].prompt
    policy = Policy(model, suppressed)
    with torch.no_grad():
        three = policy(packed([Group(prompt, [[5], [], [7, 8]])], encoder), 1.0)
        short = policy(packed([Group(prompt, [[5]])], encoder), 1.0)
        whole = policy(packed([Group(prompt, [[7, 8]])], encoder), 1.0)
    torch.testing.assert_close(three, torch.cat([short, whole]), rtol=1e-5, atol=1e-5)
    with pytest.raises(ValueError, match="one response in each"):
        packed([Group(prompt, [])], encoder)


def test_the_model_stays_a_stock_model(
    model: PreTrainedModel,
    make_groups: MakeGroups,
    encoder: Encoder,
    processor: Qwen2_5_VLProcessor,
    suppressed: tuple[int, ...],
    tmp_path: Path,
) -> None:
    groups = make_groups()
    with torch.no_grad():
        before = repeated_forward(model, groups, suppressed, 1.0)
        Policy(model, suppressed)
        assert torch.equal(repeated_forward(model, groups, suppressed, 1.0), before)
        saved = save_checkpoint(model, processor, tmp_path / "checkpoint")
        stock = type(model).from_pretrained(saved, attn_implementation="sdpa").eval()
        assert stock.config.text_config._attn_implementation == "sdpa"
        assert torch.equal(repeated_forward(stock, groups, suppressed, 1.0), before)
        # Ours takes the patches by a matrix product: the same sums, rounded otherwise.
        ours = repeated_forward(load_model(saved), groups, suppressed, 1.0)
        torch.testing.assert_close(ours, before, rtol=1e-5, atol=1e-5)


def test_micro_batches_hold_every_group_once_and_keep_to_the_budget(
    make_groups: MakeGroups, encoder: Encoder
) -> None:
    groups = [group for seed in range(8) for group in make_groups(seed)]
    for budget in (1, 150, 400, 100_000):
        batches = micro_batches(groups, budget)
        assert sorted(i for batch in batches for i in batch) == list(range(len(groups)))
        for batch in batches:
            assert (
                len(batch) == 1
                or packed([groups[i] for i in batch], encoder).input_ids.numel() <= budget
            )
    assert len(micro_batches(groups, 100_000)) == 1
    assert len(micro_batches(groups, 1)) == len(groups)


def test_micro_batches_accumulate_the_gradient_of_the_whole(
    model: PreTrainedModel,
    make_groups: MakeGroups,
    encoder: Encoder,
    suppressed: tuple[int, ...],
) -> None:
    policy = Policy(model, suppressed)
    groups = make_groups()
    policy(packed(groups, encoder)).sum().backward()
    whole = gradients(model)
    model.zero_grad()
    batches = micro_batches(groups, 150)
    assert len(batches) > 1
    for batch in batches:
        policy(packed([groups[i] for i in batch], encoder)).sum().backward()
    assert_gradients_close(gradients(model), whole)
