"""Groups packed without padding: ``[prompt | r1 | ... | rG]`` one after the other, the prompt
once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from backends.deepspeed.policy.layout import Layout
from backends.models.pictures import PictureBatch
from backends.models.prompt import distinct_pictures
from backends.training.groups import Group


@dataclass(frozen=True, eq=False)
class PackedBatch:
    """B groups as T flat tokens, with R responses of N tokens in all.

    ``input_ids`` [T], ``position_ids`` [A, T], ``is_prompt`` [T], ``places`` [T] of the pictures'
    features; ``layout`` says which token belongs to which prompt and response. For the N response
    tokens, in (group, response, token) order: ``targets`` [N] are their ids and ``sources`` [N] the
    flat places of the hidden states that predict them. ``lengths`` [R] counts the tokens of each
    response and ``group_of`` [R] names its group. ``pictures`` is None where no prompt has one.
    """

    input_ids: Tensor
    position_ids: Tensor
    is_prompt: Tensor
    places: Tensor
    targets: Tensor
    sources: Tensor
    lengths: Tensor
    group_of: Tensor
    layout: Layout
    pictures: PictureBatch | None

    def to(self, device: str | torch.device) -> PackedBatch:
        """The same batch on another device."""
        moved: dict[str, Any] = {k: v.to(device) for k, v in vars(self).items() if v is not None}
        return replace(self, **moved)


def micro_batches(groups: Sequence[Group], tokens_budget: int) -> list[list[int]]:
    """Split whole groups into micro-batches of at most ``tokens_budget`` tokens; returns their
    indices.

    Groups of similar length come together, longest first: little is padded inside attention, and
    running out of memory happens at the start. A group larger than the budget goes alone.
    """
    batches: list[list[int]] = []
    room = 0
    for i in sorted(range(len(groups)), key=lambda i: (-groups[i].length, i)):
        if not batches or groups[i].length > room:
            batches.append([])
            room = tokens_budget
        batches[-1].append(i)
        room -= groups[i].length
    return batches


def pack(groups: Sequence[Group], device: str | torch.device) -> PackedBatch:
    """Pack groups in the order given. A response's positions go on from its prompt's, so each one
    sees exactly what it would see alone. Nothing is padded."""
    if not groups or not all(group.responses for group in groups):
        raise ValueError("pack needs at least one group, and one response in each")
    ids: list[Tensor] = []
    positions: list[Tensor] = []
    prompts: list[Tensor] = []  # flat places of each prompt
    responses: list[Tensor] = []  # flat places of each response's fed tokens
    sources: list[Tensor] = []
    start = 0
    for group in groups:
        prompt = torch.arange(start, start + len(group.prompt))
        prompts.append(prompt)
        ids.append(group.prompt.input_ids)
        positions.append(group.prompt.position_ids)
        start += len(prompt)
        for response in group.responses:
            fed = torch.tensor(response[:-1], dtype=torch.long)
            places = torch.arange(start, start + len(fed))
            responses.append(places)
            ids.append(fed)
            following = group.prompt.next_position + torch.arange(len(fed))
            positions.append(following.expand(len(group.prompt.position_ids), -1))
            sources.append(torch.cat([prompt[-1:], places])[: len(response)])
            start += len(fed)
    group_of = torch.tensor([i for i, group in enumerate(groups) for _ in group.responses])
    is_prompt = torch.zeros(start, dtype=torch.bool)
    is_prompt[torch.cat(prompts)] = True
    shown = torch.zeros(start, dtype=torch.bool)
    shown[torch.cat(prompts)] = torch.cat([group.prompt.places for group in groups])
    return PackedBatch(
        input_ids=torch.cat(ids),
        position_ids=torch.cat(positions, dim=1),
        is_prompt=is_prompt,
        places=shown,
        targets=torch.tensor([t for g in groups for r in g.responses for t in r], dtype=torch.long),
        sources=torch.cat(sources),
        lengths=torch.tensor([len(r) for g in groups for r in g.responses]),
        group_of=group_of,
        layout=_layout(prompts, responses, group_of, start),
        pictures=distinct_pictures([group.prompt for group in groups]),
    ).to(device)


def _layout(
    prompts: list[Tensor], responses: list[Tensor], group_of: Tensor, tokens: int
) -> Layout:
    padded = [pad_sequence(places, batch_first=True) for places in (prompts, responses)]
    real = [
        pad_sequence([torch.ones_like(p, dtype=torch.bool) for p in places], batch_first=True)
        for places in (prompts, responses)
    ]
    own = padded[1].shape[1]
    mask = torch.cat(
        [
            real[0][group_of][:, None, :].expand(-1, own, -1),
            torch.ones(own, own, dtype=torch.bool).tril().expand(len(responses), -1, -1),
        ],
        dim=-1,
    )
    flat = torch.cat([p.flatten() for p in padded])
    kept = torch.cat([r.flatten() for r in real]).nonzero()[:, 0]
    back = torch.empty(tokens, dtype=torch.long)
    back[flat[kept]] = kept
    return Layout(padded[0], padded[1], group_of, mask[:, None], back)
