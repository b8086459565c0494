"""A question with its sampled responses, as token ids."""

from __future__ import annotations

from dataclasses import dataclass

from backends.models.prompt import Prompt


@dataclass(frozen=True, eq=False)
class Group:
    """One question with its G responses as token ids (with the end of turn, where there is one)."""

    prompt: Prompt
    responses: list[list[int]]

    @property
    def length(self) -> int:
        """Tokens to compute. The last token of a response predicts nothing and is not fed."""
        return len(self.prompt) + sum(max(len(r) - 1, 0) for r in self.responses)
