"""The engine that samples the policy in training, over its weights as they are."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from transformers import PreTrainedModel

from backends.base.backend import Inputs, TrainingError
from backends.base.engine import (
    EngineError,
    PolicySettings,
    RequestError,
    Response,
    RolloutEngine,
    Sampling,
)
from backends.base.resources import Resources
from backends.base.stage import Stage
from backends.deepspeed.policy.lora import merged
from backends.engines.registry import factory
from backends.models.encoding import Encoder
from backends.models.prompt import Prompt
from backends.training.ranks import Ranks

log = logging.getLogger(__name__)

T = TypeVar("T")

#: Of the GPU, where it also holds the trainer.
GPU_SHARE = 0.35


class PolicySampler:
    """``hf`` samples with the trained module itself. ``vllm`` holds a copy of its weights on each
    rank, which is renewed before each step; where one dies they are started again once, and the
    second time the training ends with its reason.

    What vLLM samples is a function of (seed, step, question) but for rounding, which may differ
    with what is sampled beside it, hence with the number of ranks: a step that is sampled again
    after a kill is asked in the same batches, and gives the same.
    """

    def __init__(
        self,
        stage: Stage,
        inputs: Inputs,
        resources: Resources,
        model: PreTrainedModel,
        encoder: Encoder,
        ranks: Ranks,
    ) -> None:
        self.stage, self.inputs, self.resources = stage, inputs, resources
        self.model, self.encoder, self.ranks = model, encoder, ranks
        self.restarted = False
        self.engine = self._start()

    def _start(self) -> RolloutEngine[Prompt]:
        settings = PolicySettings(
            model=self.inputs.model,
            module=self.model,
            encoder=self.encoder,
            dtype=self.resources.dtype,
            device=self.ranks.device.type,
            max_tokens=self.stage.max_response_tokens,
            tokens_per_batch=max(self.resources.tokens_per_micro_batch, 65536),
            gpu_share=GPU_SHARE,
        )
        try:
            return factory(self.stage.rollout_engine).open_policy(settings)
        except EngineError as error:
            raise TrainingError(str(error)) from error

    def over_the_weights(self, ask: Callable[[], T]) -> T:
        """What ``ask`` gives, which calls :meth:`sample`, over the model's weights as they are.

        Every rank calls it, with the whole weights: vLLM's engines start together or not at all,
        so where one dies the others are started again with it, and only those ask again whose own
        has died.
        """
        given: list[T] = []
        while True:
            self.engine.wake()
            self.engine.update_weights(merged(self.model))
            died, refused = "", False
            try:
                if not given:
                    given.append(ask())
            except EngineError as error:
                died, refused = str(error), isinstance(error, RequestError)
            everywhere = self.ranks.gather((died, refused))
            reasons = [reason for reason, _ in everywhere if reason]
            if not reasons:
                self.engine.sleep()
                return given[0]
            if final := [reason for reason, refused in everywhere if refused]:
                raise TrainingError(f"the rollout engine cannot be asked that: {final[0]}")
            if self.restarted:
                raise TrainingError(f"the rollout engine died twice: {reasons[0]}")
            log.warning("the rollout engine died and is started again: %s", reasons[0])
            self.restarted = True
            self.engine.close()
            self.engine = self._start()

    def sample(
        self, asked: Sequence[tuple[Any, Prompt]], sampling: Sampling
    ) -> list[tuple[int, list[Response]]]:
        """(Index of the question, its responses with log-probabilities) for (drawn question,
        prompt) pairs. Raises EngineError."""
        prompts, ids = [prompt for _, prompt in asked], [drawn.id for drawn, _ in asked]
        return list(self.engine.generate_encoded(prompts, ids, sampling, logp=True))

    def close(self) -> None:
        """Free what the engine holds beside the policy."""
        self.engine.close()
