"""Groups as packed rows: one row per question, ``[prompt | r1 | ... | rG]``, the prompt once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from backends.encoding import PictureBatch, Prompt, distinct_pictures

#: The segment of a row's prompt; responses count from 1.
PROMPT, _PADDING = 0, -1


@dataclass(frozen=True, eq=False)
class Group:
    """One question with its G responses as token ids (the end of turn included, where there is
    one)."""

    prompt: Prompt
    responses: list[list[int]]

    @property
    def row_length(self) -> int:
        """Tokens of the packed row. The last token of a response predicts nothing and is not
        fed."""
        return len(self.prompt) + sum(max(len(r) - 1, 0) for r in self.responses)


@dataclass(frozen=True, eq=False)
class PackedBatch:
    """B groups as B rows of L tokens, with R responses of N tokens in all.

    ``input_ids`` [B, L], ``position_ids`` [3, B, L]; ``segments`` [B, L] is 0 for the prompt, i
    for the i-th response of the row, -1 for padding. For the N response tokens, in (group,
    response, token) order: ``targets`` [N] are their ids and ``sources`` [N] the places, in the
    flattened [B * L], of the hidden states that predict them. ``lengths`` [R] counts the tokens
    of each response and ``group_of`` [R] names its row. ``pictures`` is None where no prompt has
    one.
    """

    input_ids: Tensor
    position_ids: Tensor
    segments: Tensor
    targets: Tensor
    sources: Tensor
    lengths: Tensor
    group_of: Tensor
    pictures: PictureBatch | None

    def attention_mask(self) -> Tensor:
        """Boolean [B, 1, L, L] (query, key): causal, and only to the prompt or the same
        response."""
        query, key = self.segments[:, :, None], self.segments[:, None, :]
        length = self.segments.shape[1]
        causal = torch.ones(length, length, dtype=torch.bool, device=self.segments.device).tril()
        return (causal & ((query == key) | (key == PROMPT)))[:, None]

    def to(self, device: str | torch.device) -> PackedBatch:
        """The same batch on another device."""
        moved: dict[str, Any] = {
            name: value.to(device)
            for name, value in vars(self).items()
            if isinstance(value, Tensor)
        }
        if self.pictures is not None:
            moved["pictures"] = self.pictures.to(device)
        return replace(self, **moved)


def micro_batches(groups: Sequence[Group], tokens_budget: int) -> list[list[int]]:
    """Split whole groups into micro-batches of at most ``tokens_budget`` tokens, padding included.

    Returns the indices of each. Rows of similar length come together, longest first, so that
    padding is small and running out of memory happens at the start. A group larger than the
    budget goes alone.
    """
    batches: list[list[int]] = []
    room = 0
    for i in sorted(range(len(groups)), key=lambda i: (-groups[i].row_length, i)):
        if not batches or room < 1:
            batches.append([])
            room = max(tokens_budget // max(groups[i].row_length, 1), 1)
        batches[-1].append(i)
        room -= 1
    return batches


def pack(groups: Sequence[Group], device: str | torch.device, pad_id: int) -> PackedBatch:
    """Pack groups into rows, in the order given. A response's positions go on from its prompt's,
    so each one sees exactly what it would see alone."""
    if not groups:
        raise ValueError("pack needs at least one group")
    length = max(group.row_length for group in groups)
    input_ids = torch.full((len(groups), length), pad_id)
    position_ids = torch.zeros(3, len(groups), length, dtype=torch.long)
    segments = torch.full((len(groups), length), _PADDING)
    targets: list[int] = []
    sources: list[Tensor] = []
    lengths: list[int] = []
    group_of: list[int] = []
    for row, group in enumerate(groups):
        at = prompt_end = len(group.prompt)
        input_ids[row, :at] = group.prompt.input_ids
        position_ids[:, row, :at] = group.prompt.position_ids
        segments[row, :at] = PROMPT
        for segment, response in enumerate(group.responses, start=1):
            fed = max(len(response) - 1, 0)
            end = at + fed
            input_ids[row, at:end] = torch.tensor(response[:fed], dtype=torch.long)
            position_ids[:, row, at:end] = group.prompt.next_position + torch.arange(fed)
            segments[row, at:end] = segment
            if response:
                first = torch.tensor([prompt_end - 1])
                sources.append(row * length + torch.cat([first, torch.arange(at, end)]))
            targets += response
            lengths.append(len(response))
            group_of.append(row)
            at = end
    return PackedBatch(
        input_ids=input_ids,
        position_ids=position_ids,
        segments=segments,
        targets=torch.tensor(targets, dtype=torch.long),
        sources=torch.cat(sources) if sources else torch.zeros(0, dtype=torch.long),
        lengths=torch.tensor(lengths),
        group_of=torch.tensor(group_of),
        pictures=distinct_pictures([group.prompt for group in groups]),
    ).to(device)
