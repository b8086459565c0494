"""The `hf` engine: sampling with the Hugging Face model itself, alone or inside the trainer."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from backends.base.engine import Request, Response, Sampling
from backends.engines.cache import KVCache, PromptWriter
from backends.engines.choice import choose, uniforms
from backends.engines.evaluating import Evaluating
from backends.models.encoding import Encoder
from backends.models.folders import load_model, stop_token_ids
from backends.models.pictures import picture_features
from backends.models.prompt import Prompt, distinct_pictures

if TYPE_CHECKING:
    from transformers import PreTrainedModel

# How many batches' worth of prompts are encoded ahead, to bring prompts of similar length together
# while the patches of a whole benchmark never lie in memory at once.
_LOOKAHEAD = 4

# Requests that are encoded in one go: one call prepares their pictures.
_ENCODED = 16

# A batch's tokens, and those of the prompts in it that are computed together. On a processor, more
# than its caches hold take longer.
_TOKENS_ON_GPU, _TOKENS_ON_CPU = 65536, 8192
_PIECE_ON_GPU, _PIECE_ON_CPU = 65536, 2048

# Weights, in bytes, up to which a processor's cores sample batches of their own.
_WEIGHTS_OF_A_CORE = 64 << 20

# Rows leave the cache when those that remain are at most this share: moving the rest costs too.
_WORTH_MOVING = 0.75

_Batch = list[tuple[int, Prompt | None]]
_In = TypeVar("_In")
_Out = TypeVar("_Out")


class HFEngine:
    """Generates with a model of any family; also over the very module that is being trained.

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
        self.suppressed = encoder.suppressed
        self.context: int = model.config.get_text_config().max_position_embeddings
        self._layers = encoder.family.language_model(model)
        self._evaluating = Evaluating(model)

    @classmethod
    def from_path(
        cls,
        path: str | Path,
        dtype: str = "float32",
        device: str = "cpu",
        max_prompt_tokens: int = 2048,
        tokens_per_batch: int | None = None,
    ) -> HFEngine:
        """An engine over a model folder. Raises :class:`backends.models.folders.ModelError`."""
        encoder = Encoder.at(path, max_prompt_tokens)
        return cls(load_model(path, dtype, device), encoder, tokens_per_batch)

    def generate(
        self, requests: Sequence[Request], sampling: Sampling, *, logp: bool = False
    ) -> Iterator[tuple[int, list[Response]]]:
        """Yield (index of the request, its ``sampling.n`` responses), batch by batch.

        An over-long prompt, or one that fills the model's context, yields an empty list: it was
        dropped, not cut. With ``logp`` each response carries the log-probability of every token at
        the sampling temperature (1 where greedy), before ``top_p``.
        """
        workers = self._workers()
        chunks = [
            range(i, min(i + _ENCODED, len(requests))) for i in range(0, len(requests), _ENCODED)
        ]

        def encode(chunk: range) -> list[tuple[int, Prompt | None]]:
            return list(
                zip(chunk, self.encoder.encode_all([requests[i] for i in chunk]), strict=True)
            )

        def answer(batch: _Batch) -> list[tuple[int, list[Response]]]:
            return self._answer(batch, [requests[i].id for i, _ in batch], sampling, logp)

        with (
            _intra_op_threads(1 if workers > 1 else torch.get_num_threads()),
            ThreadPoolExecutor(workers, "encode") as encoding,
            ThreadPoolExecutor(workers, "sample") as sampled,
        ):
            prompts = chain.from_iterable(_in_order(encoding, encode, chunks, workers))
            for answers in _in_order(sampled, answer, self._batches(prompts, sampling), workers):
                yield from answers

    def close(self) -> None:
        """Nothing is held beside the model, which goes with its last owner."""

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
        for batch in self._split(list(enumerate(prompts)), sampling):
            yield from self._answer(batch, [ids[i] for i, _ in batch], sampling, logp)

    def _workers(self) -> int:
        """How many batches are sampled at a time, and pictures encoded: on a processor, one for
        each of torch's threads where every core can hold the weights. A batch by itself in a thread
        waits for no other, whereas the operations of a small model are too short to share. Large
        weights are better read once for all."""
        parameters = list(self.model.parameters())
        size = sum(p.numel() * p.element_size() for p in parameters)
        if parameters[0].device.type != "cpu" or size > _WEIGHTS_OF_A_CORE:
            return 1
        return torch.get_num_threads()

    def _batches(
        self, prompts: Iterable[tuple[int, Prompt | None]], sampling: Sampling
    ) -> Iterator[_Batch]:
        """Batches of prompts as they come, of similar length as far as a look ahead allows: the
        first batch at once, so that the model need not wait."""
        waiting: _Batch = []
        tokens, enough = 0, self.tokens_per_batch
        for index, prompt in prompts:
            waiting.append((index, prompt))
            tokens += self._tokens(prompt, sampling)
            if tokens >= enough:
                *full, waiting = self._split(waiting, sampling)
                yield from full
                tokens = sum(self._tokens(prompt, sampling) for _, prompt in waiting)
                enough = _LOOKAHEAD * self.tokens_per_batch
        yield from self._split(waiting, sampling)

    def _split(self, prompts: _Batch, sampling: Sampling) -> list[_Batch]:
        """Batches of prompts, longest first; all are full but the last."""
        batches: list[_Batch] = []
        room = 0
        for index, prompt in sorted(prompts, key=lambda one: (-len(one[1] or ()), one[0])):
            if not room:
                batches.append([])
                room = max(self.tokens_per_batch // max(self._tokens(prompt, sampling), 1), 1)
            batches[-1].append((index, prompt))
            room -= 1
        return batches

    def _tokens(self, prompt: Prompt | None, sampling: Sampling) -> int:
        """The most places of the cache that the responses to a prompt can take up."""
        if prompt is None:
            return 0
        rows = 1 if sampling.temperature == 0 else sampling.n
        return (len(prompt) + min(sampling.max_tokens, self.context)) * rows

    def _room(self, prompt: Prompt, sampling: Sampling) -> int:
        """How many tokens a response may have: the model's context ends it, as in vLLM."""
        return max(min(sampling.max_tokens, self.context - len(prompt)), 0)

    def _answer(
        self, batch: _Batch, ids: Sequence[str], sampling: Sampling, logp: bool
    ) -> list[tuple[int, list[Response]]]:
        """(Place among the requests, responses) of a batch; none where the prompt was too long."""
        answers: list[tuple[int, list[Response]]] = []
        places, names, prompts = [], [], []
        for (index, prompt), name in zip(batch, ids, strict=True):
            if prompt is None or not self._room(prompt, sampling):
                answers.append((index, []))
                continue
            places.append(index)
            names.append(name)
            prompts.append(prompt)
        if not prompts:
            return answers
        greedy = sampling.temperature == 0
        with torch.no_grad(), self._evaluating:
            sampled = self._sample(prompts, names, sampling, 1 if greedy else sampling.n)
        for index, group in zip(places, sampled, strict=True):
            responses = [self._response(*row, logp) for row in group]
            answers.append((index, responses * (sampling.n if greedy else 1)))
        return answers

    def _response(self, tokens: list[int], logp: list[float], keep_logp: bool) -> Response:
        return Response(
            text=self.encoder.decode(tokens),
            tokens=tuple(tokens),
            finish="stop" if tokens and tokens[-1] in self.stop_ids else "length",
            logp=tuple(logp) if keep_logp else (),
        )

    def _sample(
        self, prompts: Sequence[Prompt], ids: Sequence[str], sampling: Sampling, n: int
    ) -> list[list[tuple[list[int], list[float]]]]:
        """(tokens, log-probabilities) of n samples for each prompt of one batch."""
        limits = [self._room(prompt, sampling) for prompt in prompts]
        state = self._prefill(prompts, n, max(limits))
        total = len(prompts) * n
        device = state.logits.device
        draws = torch.from_numpy(
            np.stack([uniforms(sampling, name, i) for name in ids for i in range(n)])
        ).to(device)
        stop = torch.tensor(self.stop_ids, device=device)
        tokens = torch.zeros(total, max(limits), dtype=torch.long, device=device)
        logps = torch.zeros(total, max(limits), device=device)
        lengths = torch.tensor(limits, device=device).repeat_interleave(n)
        rows = torch.arange(total, device=device)  # of the samples in the cache
        for t in range(max(limits)):
            token, logp = choose(state.logits, sampling, draws[rows, t], self.suppressed)
            tokens[rows, t], logps[rows, t] = token, logp
            ended = torch.isin(token, stop)
            lengths[rows] = torch.where(ended, lengths[rows].clamp(max=t + 1), lengths[rows])
            running = lengths[rows] > t + 1
            left = int(running.sum())
            if not left:
                break
            if left <= _WORTH_MOVING * len(rows):
                keep = running.nonzero()[:, 0]
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

    def _prefill(self, prompts: Sequence[Prompt], n: int, room: int) -> _State:
        """Compute every prompt once, in pieces of similar length, and keep its cache for n samples
        of up to ``room`` tokens. Prompts are filled up on the right: then causal attention needs
        no mask."""
        device = next(self.model.parameters()).device
        features: Tensor | None = None
        if (pictures := distinct_pictures(prompts)) is not None:
            features = picture_features(self.model, pictures.to(device))
        length = max(map(len, prompts))
        cache = KVCache(len(prompts) * n, length, room)
        logits = []
        for first, piece in _pieces(
            prompts, _PIECE_ON_CPU if device.type == "cpu" else _PIECE_ON_GPU
        ):
            input_ids = torch.full((len(piece), len(piece[0])), self.encoder.pad_id)
            axes = self.encoder.family.axes
            position_ids = torch.zeros(axes, *input_ids.shape, dtype=torch.long)
            places = torch.zeros(input_ids.shape, dtype=torch.bool)
            for row, prompt in enumerate(piece):
                input_ids[row, : len(prompt)] = prompt.input_ids
                position_ids[:, row, : len(prompt)] = prompt.position_ids
                places[row, : len(prompt)] = prompt.places
            embeds = self.model.get_input_embeddings()(input_ids.to(device))
            shown: Tensor | None = None
            if features is not None and (count := int(places.sum())):
                shown, features = features[:count], features[count:]
            inputs = self.encoder.family.layer_inputs(
                embeds, position_ids.to(device), None, places.to(device), shown
            )
            hidden = self._forward(inputs, cache.prompts(first, n))
            last = torch.tensor([len(prompt) - 1 for prompt in piece], device=device)
            logits.append(self._logits(hidden[torch.arange(len(piece), device=device), last]))

        mask = None
        lengths = torch.tensor([len(prompt) for prompt in prompts], device=device)
        if len(piece[-1]) < length:  # no mask where none is needed: attention is faster without
            column = torch.arange(length + room, device=device)
            empty = (column >= lengths[:, None]) & (column < length)
            mask = torch.zeros(empty.shape, dtype=embeds.dtype, device=device)
            mask = mask.masked_fill(empty, -torch.inf).repeat_interleave(n, 0)[:, None, None]
        following = torch.tensor([prompt.next_position for prompt in prompts], device=device)
        return _State(
            cache=cache,
            logits=torch.cat(logits).repeat_interleave(n, 0),
            position=following.repeat_interleave(n),
            mask=mask,
        )

    def _step(self, state: _State, token: Tensor) -> None:
        """Feed one token [R] to every row."""
        state.cache.advance()
        mask = None if state.mask is None else state.mask[..., : state.cache.filled]
        embeds = self.model.get_input_embeddings()(token[:, None])
        position_ids = state.position[None, :, None].expand(self.encoder.family.axes, -1, -1)
        inputs = self.encoder.family.layer_inputs(embeds, position_ids, mask)
        state.logits = self._logits(self._forward(inputs, state.cache)[:, -1])
        state.position = state.position + 1

    def _forward(self, inputs: dict[str, Any], cache: KVCache | PromptWriter) -> Tensor:
        """The last layer's hidden states [R, L, H]."""
        return self._layers(**inputs, past_key_values=cache, use_cache=True).last_hidden_state

    def _logits(self, hidden: Tensor) -> Tensor:
        """Logits [R, V] of hidden states [R, H], in float32."""
        return self.model.get_output_embeddings()(hidden).float()


class OwnWeights(HFEngine):
    """The engine over the very module that is trained: as a rollout engine it has the weights of
    every step as they are, and holds nothing beside them."""

    def wake(self) -> None:
        """Nothing was given back."""

    def update_weights(self, items: Iterable[tuple[str, Tensor]]) -> None:
        """They are the module's own."""

    def sleep(self) -> None:
        """The update needs what it holds."""


@dataclass
class _State:
    """What R rows carry from step to step: their cache, the logits [R, V] of the next token, its
    position [R], and what is added to the scores of the places [R, 1, 1, L] of the cache, minus
    infinity where there is no token (None: nothing)."""

    cache: KVCache
    logits: Tensor
    position: Tensor
    mask: Tensor | None

    def select(self, keep: Tensor) -> None:
        self.cache.select(keep)
        self.position = self.position[keep]
        self.mask = None if self.mask is None else self.mask[keep]


def _pieces(prompts: Sequence[Prompt], tokens: int) -> Iterator[tuple[int, Sequence[Prompt]]]:
    """(Place of the first, prompts in a row) of at most ``tokens`` tokens, longest first."""
    first = 0
    while first < len(prompts):
        count = max(tokens // len(prompts[first]), 1)
        yield first, prompts[first : first + count]
        first += count


@contextmanager
def _intra_op_threads(count: int) -> Iterator[None]:
    """torch's threads within an operation, of the threads that start meanwhile too."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _in_order(
    pool: Executor, work: Callable[[_In], _Out], items: Iterable[_In], ahead: int
) -> Iterator[_Out]:
    """``work`` of each item, in order; up to ``ahead`` more are under way than were asked for."""
    running: deque[Future[_Out]] = deque()
    for item in items:
        running.append(pool.submit(work, item))
        if len(running) > ahead:
            yield running.popleft().result()
    while running:
        yield running.popleft().result()
