"""The policy and its critic: a number for every response token of packed groups, in one forward."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from backends.deepspeed.policy.attention import install
from backends.deepspeed.policy.packing import PackedBatch
from backends.models.families import family_of
from backends.models.folders import suppress
from backends.models.pictures import EncodedPicture, PictureBatch, picture_features

if TYPE_CHECKING:
    from transformers import PreTrainedModel

#: Log-probabilities [N, V] of at most so many elements (256 MB) are kept for the backward pass.
KEPT = 2**26


class PackedModel(nn.Module):
    """A model over packed groups.

    Each picture goes through the vision tower once and each prompt through the language model
    once, however many responses share them. All weights are used inside the forward of the module
    that owns them, which is what ZeRO-3 gathers by. The Hugging Face model is ``self.model``: its
    weights are the entries ``model.*`` of the state dict.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        *,
        freeze_vision: bool,
        activation_checkpointing: bool,
        attention: str,
    ) -> None:
        super().__init__()
        self.family = family_of(model)
        self._mask = install(self.family.language_model(model), attention)
        self.model = model
        self.freeze_vision = freeze_vision
        if freeze_vision and (tower := self.family.vision_tower(model)) is not None:
            tower.requires_grad_(False)
        if activation_checkpointing:
            model.gradient_checkpointing_enable({"use_reentrant": False})
            model.train()  # transformers recomputes layers in training mode only

    def hidden(self, batch: PackedBatch) -> Tensor:
        """The last hidden states [N, H] that predict the response tokens, in (group, response,
        token) order."""
        embeds = self.model.get_input_embeddings()(batch.input_ids)
        features = self._features(batch)
        if features is not None and batch.pictures is None:
            embeds, features = embeds + 0.0 * features.to(embeds.dtype).sum(), None
        inputs = self.family.layer_inputs(
            embeds[None],
            batch.position_ids[:, None],
            self._mask(batch.layout),
            batch.places[None],
            features,
        )
        layers = self.family.language_model(self.model)
        hidden = layers(**inputs, use_cache=False).last_hidden_state
        return hidden[0].index_select(0, batch.sources)

    def _features(self, batch: PackedBatch) -> Tensor | None:
        """The pictures' features [tokens, F], in the order of their places."""
        # A rank that skips the vision tower while another runs it would wait for ever in ZeRO-3's
        # collectives; so a batch without pictures looks at a blank one, with weight 0. No rank runs
        # a frozen tower here that has the features of all pictures kept.
        kept = getattr(self.model, "picture_cache", None) is not None
        if batch.pictures is None and (kept or not self.family.reads_pictures):
            return None
        pictures = batch.pictures or PictureBatch(
            (EncodedPicture("blank", self.family.blank(self.model)),), (0,)
        ).to(batch.input_ids.device)
        with torch.no_grad() if self.freeze_vision else nullcontext():
            return picture_features(self.model, pictures)


class Policy(PackedModel):
    """A model as a policy over response tokens.

    Only positions that predict a response token are projected to the vocabulary, ``chunk_tokens``
    at a time. ``suppressed`` ids have probability 0, as they have in the engine: renormalising on
    one side only is a gap of up to 0.05 nat a token.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        suppressed: Sequence[int],
        *,
        freeze_vision: bool = False,
        activation_checkpointing: bool = False,
        attention: str = "sdpa",
        chunk_tokens: int = 1024,
    ) -> None:
        super().__init__(
            model,
            freeze_vision=freeze_vision,
            activation_checkpointing=activation_checkpointing,
            attention=attention,
        )
        self.head = TokenLogProb(model.get_output_embeddings(), suppressed, chunk_tokens)

    def forward(self, batch: PackedBatch, temperature: float = 1.0) -> Tensor:
        """log p(token) [N] in float32, of all response tokens in (group, response, token) order,
        under softmax(logits / temperature) over the tokens that are not suppressed."""
        return self.head(self.hidden(batch), batch.targets, temperature)


class Critic(PackedModel):
    """A model with a scalar in place of its vocabulary: the value of the state before each token.

    A model of its own, as LMM-R1 trains it (initialised from the actor's checkpoint): a value head
    on the policy's own hidden states would send its gradient, at its own learning rate, through
    weights that the policy and its KL are about. To DeepSpeed it is one more engine, with the
    ZeRO stage, saving and stepping of the first. The head starts at 0: no value before one is
    learnt, and nothing random that ranks would have to agree on.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        *,
        freeze_vision: bool = False,
        activation_checkpointing: bool = False,
        attention: str = "sdpa",
    ) -> None:
        model.lm_head = nn.Identity()
        super().__init__(
            model,
            freeze_vision=freeze_vision,
            activation_checkpointing=activation_checkpointing,
            attention=attention,
        )
        weight = model.get_input_embeddings().weight
        self.head = nn.Linear(
            weight.shape[1], 1, bias=False, dtype=weight.dtype, device=weight.device
        )
        nn.init.zeros_(self.head.weight)

    def forward(self, batch: PackedBatch, temperature: float = 1.0) -> Tensor:
        """Values [N] in float32. They do not depend on the temperature that a policy takes."""
        return self.head(self.hidden(batch))[:, 0].float()


class TokenLogProb(nn.Module):
    """log softmax(h W' / T)[target] without the [N, V] logits: ``chunk_tokens`` rows at a time,
    computed again in the backward pass unless all of them are few enough to keep.

    It holds the output projection's own Parameter (tied or not), so ZeRO-3 gathers it once a
    forward and once a backward, however many chunks there are: ranks with different token counts
    stay in step.
    """

    def __init__(self, projection: nn.Linear, suppressed: Sequence[int], chunk_tokens: int) -> None:
        super().__init__()
        if projection.bias is not None:
            raise ValueError("an output projection with a bias is not supported")
        self.weight: nn.Parameter = projection.weight
        self.suppressed: tuple[int, ...] = tuple(suppressed)
        self.chunk_tokens: int = chunk_tokens

    def forward(self, hidden: Tensor, targets: Tensor, temperature: float) -> Tensor:
        """``hidden`` [N, H], ``targets`` [N] → [N] in float32."""
        return _ChunkedLogProb.apply(
            hidden, self.weight, targets, temperature, self.suppressed, self.chunk_tokens
        )


class _ChunkedLogProb(torch.autograd.Function):
    """d logp[target] / d logits = (onehot(target) - softmax) / T, accumulated in float32."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        targets: Tensor,
        temperature: float,
        suppressed: tuple[int, ...],
        chunk: int,
    ) -> Tensor:
        keep = len(hidden) * len(weight) <= KEPT and any(ctx.needs_input_grad)
        found, kept = [], []
        for h, target in zip(hidden.split(chunk), targets.split(chunk), strict=True):
            logp = _log_softmax(h, weight, temperature, suppressed)
            found.append(logp.gather(-1, target[:, None])[:, 0])
            kept += [logp] * keep
        ctx.save_for_backward(hidden, weight, targets, *kept)
        ctx.settings = temperature, suppressed, chunk
        return torch.cat(found)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        hidden, weight, targets, *kept = ctx.saved_tensors
        temperature, suppressed, chunk = ctx.settings
        grad_hidden = torch.empty_like(hidden)
        grad_weight = (
            torch.zeros_like(weight, dtype=grad.dtype) if ctx.needs_input_grad[1] else None
        )
        for start in range(0, len(hidden), chunk):
            rows = slice(start, start + chunk)
            logp = (
                kept[start // chunk]
                if kept
                else _log_softmax(hidden[rows], weight, temperature, suppressed)
            )
            g = grad[rows, None] / temperature
            grad_logits = logp.exp_().mul_(-g).scatter_add_(1, targets[rows, None], g)
            grad_logits = grad_logits.to(hidden.dtype)
            grad_hidden[rows] = grad_logits @ weight
            if grad_weight is not None:
                grad_weight += grad_logits.T @ hidden[rows]
        if grad_weight is not None:
            grad_weight = grad_weight.to(weight.dtype)
        return grad_hidden, grad_weight, None, None, None, None


def _log_softmax(
    h: Tensor, weight: Tensor, temperature: float, suppressed: Sequence[int]
) -> Tensor:
    logits = h @ weight.T
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    return suppress(logits.div_(temperature), suppressed).log_softmax(-1)
