"""The engine that samples the policy in training, over its weights as they are."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from torch import nn

from backends.base import Inputs, Resources, Stage, TrainingError
from backends.encoding import Encoder, Prompt
from backends.engines.base import EngineError, Response, Sampling
from backends.engines.hf import HFEngine

log = logging.getLogger(__name__)

#: Of the GPU, where it also holds the trainer.
GPU_SHARE = 0.35


class PolicySampler:
    """``hf`` samples with the trained module itself. ``vllm`` holds a copy of its weights, which is
    renewed before each step; it is started again once where it dies, and the second time the
    training ends with its reason.

    What vLLM samples is a function of (seed, step, question) but for rounding: a step that is
    sampled again after a kill is asked in the same batches, and gives the same.
    """

    def __init__(
        self,
        stage: Stage,
        inputs: Inputs,
        resources: Resources,
        model: Any,
        encoder: Encoder,
        device: str,
    ) -> None:
        self.stage, self.inputs, self.resources = stage, inputs, resources
        self.model, self.encoder, self.device = model, encoder, device
        self.restarted = False
        self.engine: Any = None
        if stage.objective == "grpo":
            self.engine = self._start()

    def _start(self) -> Any:
        if self.stage.rollout_engine == "hf":
            batch = max(self.resources.tokens_per_micro_batch, 65536)
            return HFEngine(self.model, self.encoder, batch)
        from backends.engines.vllm import VLLMEngine

        try:
            return VLLMEngine(
                self.inputs.model,
                self.encoder,
                dtype=self.resources.dtype,
                device=self.device,
                max_tokens=self.stage.max_response_tokens,
                gpu_memory_utilization=GPU_SHARE,
            )
        except EngineError as error:
            raise TrainingError(str(error)) from error

    def sample(
        self, asked: Sequence[tuple[Any, Prompt]], sampling: Sampling
    ) -> list[tuple[int, list[Response]]]:
        """(Index of the question, its responses with log-probabilities) for (drawn question,
        prompt) pairs. The whole weights must be on this rank."""
        prompts, ids = [prompt for _, prompt in asked], [drawn.id for drawn, _ in asked]
        while True:
            try:
                return list(self.engine.generate_encoded(prompts, ids, sampling, logp=True))
            except EngineError as error:
                if self.restarted:
                    raise TrainingError(f"the rollout engine died twice: {error}") from error
                log.warning("the rollout engine died and is started again: %s", error)
                self.restarted = True
                self.close()
                self.engine = self._start()
                self.renew(self.model)

    def renew(self, model: nn.Module) -> None:
        """Let the engine sample ``model``'s weights as they are now."""
        if hasattr(self.engine, "update_weights"):
            self.engine.wake()
            self.engine.update_weights(model.named_parameters())

    def rest(self) -> None:
        """Leave the GPU's memory to the update."""
        if hasattr(self.engine, "sleep"):
            self.engine.sleep()

    def close(self) -> None:
        """Free what the engine holds beside the policy."""
        if hasattr(self.engine, "close"):
            self.engine.close()
        self.engine = None
