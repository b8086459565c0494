"""Where the tokens of packed groups lie."""

from __future__ import annotations

from dataclasses import dataclass, field, fields

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Layout:
    """Where the T flat tokens of B prompts and R responses lie. All indices are into the flat
    tokens; padding points at token 0 and what is computed for it is thrown away.

    ``prompts`` [B, P] and ``responses`` [R, C], padded on the right; ``row`` [R] names the prompt
    of a response; ``mask`` [R, 1, C, P + C] says which of its prompt's and its own places a
    response token sees; ``back`` [T] finds every flat token in [B * P | R * C].
    """

    prompts: Tensor
    responses: Tensor
    row: Tensor
    mask: Tensor
    back: Tensor
    _biases: dict[tuple[int, torch.dtype], Tensor] = field(
        default_factory=dict, init=False, repr=False
    )

    def to(self, device: str | torch.device) -> Layout:
        """The same layout on another device."""
        return Layout(*(getattr(self, f.name).to(device) for f in fields(self) if f.init))

    def bias(self, heads: int, dtype: torch.dtype) -> Tensor:
        """The mask as what is added to scores, for ``heads`` query heads that share their keys:
        [R, 1, heads * C, P + C]. Made once for all layers."""
        if (heads, dtype) not in self._biases:
            hidden = torch.zeros_like(self.mask, dtype=dtype).masked_fill_(~self.mask, -torch.inf)
            self._biases[heads, dtype] = hidden.repeat(1, 1, heads, 1)
        return self._biases[heads, dtype]
