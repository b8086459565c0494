"""The `hf` engine: sampling with the Hugging Face model itself, alone or inside the trainer."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from transformers import AttentionInterface, DynamicCache
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from backends.encoding import Encoder, Prompt, distinct_pictures
from backends.engines.base import Request, Response, Sampling
from backends.models import (
    load_model,
    load_processor,
    picture_features,
    stop_token_ids,
    suppress,
    suppressed_token_ids,
)

if TYPE_CHECKING:
    from transformers import PreTrainedModel

# How many batches' worth of prompts are encoded ahead, to bring prompts of similar length together
# while the patches of a whole benchmark never lie in memory at once.
_LOOKAHEAD = 4

# Requests that are encoded in one go: one call prepares their pictures.
_ENCODED = 16

# A batch's tokens. On a processor, more than its caches hold make the prefill up to twice as slow.
_TOKENS_ON_GPU, _TOKENS_ON_CPU = 65536, 16384

# The attention of single tokens, see _grouped_attention.
_GROUPED = "sdpa_grouped"


class HFEngine:
    """Generates with a Qwen2.5-VL model; also over the very module that is being trained.

    Each prompt and each distinct picture of a batch is computed once and its cache expanded to
    the n samples; a finished row leaves the batch. A batch holds at most ``tokens_per_batch``
    tokens of cache (prompt and response, padding included), one request at least.

    A sample's random numbers come from (seed, request id, sample index) alone, so a text depends
    neither on the other requests nor on their order nor on the rank; only rounding, which differs
    with the shape of a batch, could turn a token that lies within it of a boundary.
    """

    def __init__(
        self, model: PreTrainedModel, encoder: Encoder, tokens_per_batch: int | None = None
    ) -> None:
        self.model = model
        self.encoder = encoder
        if tokens_per_batch is None:
            on_cpu = next(model.parameters()).device.type == "cpu"
            tokens_per_batch = _TOKENS_ON_CPU if on_cpu else _TOKENS_ON_GPU
        self.tokens_per_batch = tokens_per_batch
        self.stop_ids = stop_token_ids(model, encoder.processor)
        self.suppressed = suppressed_token_ids(encoder.processor)

    @classmethod
    def from_path(
        cls,
        path: str | Path,
        dtype: str = "float32",
        device: str = "cpu",
        max_prompt_tokens: int = 2048,
        tokens_per_batch: int | None = None,
    ) -> HFEngine:
        """An engine over a model folder. Raises :class:`backends.models.ModelError`."""
        encoder = Encoder(load_processor(path), max_prompt_tokens)
        return cls(load_model(path, dtype, device), encoder, tokens_per_batch)

    def generate(
        self, requests: Sequence[Request], sampling: Sampling, *, logp: bool = False
    ) -> Iterator[tuple[int, list[Response]]]:
        """Yield (index of the request, its ``sampling.n`` responses), batch by batch.

        An over-long prompt yields an empty list: it was dropped, not cut. With ``logp`` each
        response carries the log-probability of every token at the sampling temperature (1 where
        greedy), before ``top_p``.
        """
        windows = self._windows(requests, sampling)
        with ThreadPoolExecutor(1, "encode") as ahead:  # decoding pictures leaves a core to it
            coming = ahead.submit(next, windows, None)
            while (window := coming.result()) is not None:
                coming = ahead.submit(next, windows, None)
                yield from ((index, []) for index, prompt in window if prompt is None)
                fitting = [(index, prompt) for index, prompt in window if prompt is not None]
                yield from self._generate_window(fitting, requests, sampling, logp)

    def _windows(
        self, requests: Sequence[Request], sampling: Sampling
    ) -> Iterator[list[tuple[int, Prompt | None]]]:
        """Encoded requests (None: too long), as many at a time as are brought into order together:
        one batch first, so that the model need not wait, then several."""
        window: list[tuple[int, Prompt | None]] = []
        tokens, room = 0, self.tokens_per_batch
        for start in range(0, len(requests), _ENCODED):
            prompts = self.encoder.encode_all(requests[start : start + _ENCODED])
            window += enumerate(prompts, start)
            lengths = [len(prompt) for prompt in prompts if prompt is not None]
            tokens += sum(length + sampling.max_tokens for length in lengths) * sampling.n
            if tokens >= room:
                yield window
                window, tokens, room = [], 0, _LOOKAHEAD * self.tokens_per_batch
        yield window

    def _generate_window(
        self,
        window: Sequence[tuple[int, Prompt]],
        requests: Sequence[Request],
        sampling: Sampling,
        logp: bool,
    ) -> Iterator[tuple[int, list[Response]]]:
        prompts = [prompt for _, prompt in window]
        ids = [requests[index].id for index, _ in window]
        for i, responses in self.generate_encoded(prompts, ids, sampling, logp=logp):
            yield window[i][0], responses

    def generate_encoded(
        self,
        prompts: Sequence[Prompt],
        ids: Sequence[str],
        sampling: Sampling,
        *,
        logp: bool = False,
    ) -> Iterator[tuple[int, list[Response]]]:
        """As :meth:`generate`, over prompts that are encoded already; ``ids`` are their request
        ids."""
        rows = 1 if sampling.temperature == 0 else sampling.n
        batches: list[list[int]] = []
        room = 0
        for i in sorted(range(len(prompts)), key=lambda i: (-len(prompts[i]), i)):
            if not batches or room < 1:
                batches.append([])
                room = max(
                    self.tokens_per_batch // ((len(prompts[i]) + sampling.max_tokens) * rows), 1
                )
            batches[-1].append(i)
            room -= 1
        for batch in batches:
            with torch.no_grad(), _evaluating(self.model):
                sampled = self._sample(
                    [prompts[i] for i in batch], [ids[i] for i in batch], sampling, rows
                )
            for i, group in zip(batch, sampled, strict=True):
                responses = [self._response(*row, logp) for row in group]
                yield i, responses * (sampling.n if rows == 1 else 1)

    def _response(self, tokens: list[int], logp: list[float], keep_logp: bool) -> Response:
        return Response(
            text=self.encoder.decode(tokens),
            tokens=tuple(tokens),
            finish="stop" if tokens and tokens[-1] in self.stop_ids else "length",
            logp=tuple(logp) if keep_logp else (),
        )

    def _sample(
        self, prompts: list[Prompt], ids: list[str], sampling: Sampling, n: int
    ) -> list[list[tuple[list[int], list[float]]]]:
        """(tokens, log-probabilities) of n samples for each prompt of one batch."""
        state = self._prefill(prompts, n)
        total = len(prompts) * n
        device = state.logits.device
        draws = torch.from_numpy(
            np.stack([_uniforms(sampling, name, i) for name in ids for i in range(n)])
        ).to(device)
        stop = torch.tensor(self.stop_ids, device=device)
        tokens = torch.zeros(total, sampling.max_tokens, dtype=torch.long, device=device)
        logps = torch.zeros(total, sampling.max_tokens, device=device)
        lengths = torch.full((total,), sampling.max_tokens, device=device)
        rows = torch.arange(total, device=device)  # of the samples still running
        for t in range(sampling.max_tokens):
            token, logp = _choose(state.logits, sampling, draws[rows, t], self.suppressed)
            tokens[rows, t], logps[rows, t] = token, logp
            done = torch.isin(token, stop)
            lengths[rows[done]] = t + 1
            if t + 1 == sampling.max_tokens or bool(done.all()):
                break
            if bool(done.any()):
                keep = (~done).nonzero()[:, 0]
                rows, token = rows[keep], token[keep]
                state.select(keep)
            self._step(state, token)
        out = [
            (row[:length], logp[:length])
            for row, logp, length in zip(
                tokens.tolist(), logps.tolist(), lengths.tolist(), strict=True
            )
        ]
        return [out[i : i + n] for i in range(0, total, n)]

    def _prefill(self, prompts: list[Prompt], n: int) -> _State:
        """Compute every prompt once (left-padded to one length) and expand its cache to n
        samples."""
        device = next(self.model.parameters()).device
        length = max(map(len, prompts))
        input_ids = torch.full((len(prompts), length), self.encoder.pad_id)
        position_ids = torch.zeros(3, len(prompts), length, dtype=torch.long)
        real = torch.zeros(len(prompts), length, dtype=torch.bool)
        for row, prompt in enumerate(prompts):
            input_ids[row, length - len(prompt) :] = prompt.input_ids
            position_ids[:, row, length - len(prompt) :] = prompt.position_ids
            real[row, length - len(prompt) :] = True
        input_ids, real = input_ids.to(device), real.to(device)

        embeds = self.model.get_input_embeddings()(input_ids)
        if (pictures := distinct_pictures(prompts)) is not None:
            features = picture_features(self.model, pictures.to(device)).to(embeds.dtype)
            places = input_ids == self.model.config.image_token_id
            embeds = embeds.masked_scatter(places[..., None], features)
        mask = None
        if not bool(real.all()):  # no mask where none is needed: attention is faster without
            causal = torch.ones(length, length, dtype=torch.bool, device=device).tril()
            itself = torch.eye(length, dtype=torch.bool, device=device)
            mask = ((causal & real[:, None, :]) | itself)[:, None]
        cache = DynamicCache(config=self.model.config.text_config)
        logits = self._forward(embeds, position_ids.to(device), mask, cache)

        if n > 1:
            cache.batch_repeat_interleave(n)
        following = torch.tensor([prompt.next_position for prompt in prompts], device=device)
        return _State(
            cache=cache,
            logits=logits.repeat_interleave(n, 0),
            position=following.repeat_interleave(n),
            real=None if mask is None else real.repeat_interleave(n, 0),
        )

    def _step(self, state: _State, token: Tensor) -> None:
        """Feed one token [R] to every running row."""
        mask = None
        if state.real is not None:
            state.real = torch.nn.functional.pad(state.real, (0, 1), value=True)
            mask = state.real[:, None, None, :]
        embeds = self.model.get_input_embeddings()(token[:, None])
        position_ids = state.position[None, :, None].expand(3, -1, -1)
        state.logits = self._forward(embeds, position_ids, mask, state.cache)
        state.position = state.position + 1

    def _forward(
        self, embeds: Tensor, position_ids: Tensor, mask: Tensor | None, cache: DynamicCache
    ) -> Tensor:
        """Logits [R, V] of each row's last place, in float32."""
        hidden = self.model.model.language_model(
            inputs_embeds=embeds,
            position_ids=position_ids,
            attention_mask={"full_attention": mask},
            past_key_values=cache,
            use_cache=True,
        ).last_hidden_state
        return self.model.get_output_embeddings()(hidden[:, -1]).float()


@dataclass
class _State:
    """What R running rows carry from step to step: their cache, the logits [R, V] of the next
    token, its position [R], and which places [R, L] of the cache are real (None: all)."""

    cache: Any
    logits: Tensor
    position: Tensor
    real: Tensor | None

    def select(self, keep: Tensor) -> None:
        self.cache.batch_select_indices(keep)
        self.position = self.position[keep]
        self.real = None if self.real is None else self.real[keep]


def _choose(
    logits: Tensor, sampling: Sampling, draws: Tensor, suppressed: Sequence[int]
) -> tuple[Tensor, Tensor]:
    """One token for each row: (ids [R], log-probabilities [R]) from logits [R, V] and uniforms [R].

    Sampled by inverting the cumulative distribution, in float64, so that the choice is a function
    of the row's own draw. A token of probability 0 adds nothing to the sum and so is never the
    one that crosses the draw.
    """
    logits = suppress(logits / (sampling.temperature or 1.0), suppressed)
    logp = logits.log_softmax(-1)
    if sampling.temperature == 0:
        token = logp.argmax(-1)
    else:
        p = logp.double().exp()
        if sampling.top_p < 1:
            p = _nucleus(p, sampling.top_p)
        total = p.cumsum(-1)
        token = torch.searchsorted(total, draws[:, None] * total[:, -1:], right=True)[:, 0]
    return token, logp.gather(-1, token[:, None])[:, 0]


def _nucleus(p: Tensor, top_p: float) -> Tensor:
    """Zero all but the smallest set of most likely tokens whose mass reaches ``top_p`` (Holtzman
    et al., arXiv 1904.09751). Ties go to the lower id."""
    ordered, index = p.sort(dim=-1, descending=True, stable=True)
    outside = ordered.cumsum(-1) - ordered >= top_p
    return p.masked_fill(torch.zeros_like(outside).scatter(-1, index, outside), 0.0)


def _uniforms(sampling: Sampling, request_id: str, sample: int) -> np.ndarray:
    """The uniforms [max_tokens] of one sample: the first k are the same for any ``max_tokens``."""
    key = hashlib.sha256(f"{sampling.seed}\0{request_id}\0{sample}".encode()).digest()
    bits = np.random.Philox(key=int.from_bytes(key[:16], "little"))
    return np.random.Generator(bits).random(sampling.max_tokens)


@contextmanager
def _evaluating(model: PreTrainedModel) -> Iterator[None]:
    """Eval mode for the time of a batch (in training mode, checkpointed layers refuse a cache), and
    the attention that suits sampling."""
    training = model.training
    config = model.model.language_model.config
    attention = config._attn_implementation
    model.eval()
    if attention == "sdpa":
        config._attn_implementation = _GROUPED
    try:
        yield
    finally:
        config._attn_implementation = attention
        model.train(training)


def _grouped_attention(
    module: Any, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, **settings: Any
) -> tuple[Tensor, None]:
    """Hugging Face's own ``sdpa``, but for single query tokens [R, heads, 1, d] with fewer key
    heads [R, key heads, L, d]: the query heads that share a key head become its queries. Same sums,
    and the cache is read where it lies; ``sdpa`` with a mask copies it once per query head."""
    rows, heads, length, size = query.shape
    shared = key.shape[1]
    if length != 1 or shared == heads:
        return sdpa_attention_forward(module, query, key, value, mask, **settings)
    out = torch.nn.functional.scaled_dot_product_attention(
        query.reshape(rows, shared, heads // shared, size),
        key,
        value,
        attn_mask=mask,
        scale=settings.get("scaling"),
    )
    return out.reshape(rows, 1, heads, size), None


AttentionInterface.register(_GROUPED, _grouped_attention)
