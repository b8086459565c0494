"""The weights and their optimizer: DeepSpeed, behind three verbs (accumulate, step, gathered)."""

from __future__ import annotations

import math
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from backends.base.resources import Resources
from backends.base.stage import Stage
from backends.deepspeed.policy.packing import PackedBatch
from backends.deepspeed.policy.policy import PackedModel
from backends.training.ranks import Ranks, pick_device


class Learner:
    """A policy or a critic under ZeRO 0 to 3.

    ``accumulate`` adds the gradient of a loss that is a *sum over this rank's part*; the gradient
    of a step is the sum over ranks and micro-batches. DeepSpeed itself averages over ranks, so
    every loss is multiplied by their number.
    """

    def __init__(
        self, model: PackedModel, stage: Stage, resources: Resources, ranks: Ranks
    ) -> None:
        deepspeed = _import_deepspeed()
        parameters = [p for p in model.parameters() if p.requires_grad]
        settings: dict[str, Any] = {
            "lr": stage.lr,
            "betas": stage.betas,
            "weight_decay": stage.weight_decay,
        }
        if resources.offload != "none":
            settings["fused"] = True  # the processor steps, in one pass over its memory
        self._clips_itself = resources.zero_stage == 0
        self.optimizer: torch.optim.Optimizer = (
            ClippedAdamW(parameters, max_norm=stage.max_grad_norm, **settings)
            if self._clips_itself
            else torch.optim.AdamW(parameters, **settings)
        )
        self.model = model
        self.ranks = ranks
        with _unwarned(), _uncompiled():
            self.engine: Any = deepspeed.initialize(
                model=model, optimizer=self.optimizer, config=_config(model, stage, resources)
            )[0]
        self._sharded = resources.zero_stage == 3
        self._whole = len(parameters) == len(list(model.parameters()))

    def per_token(self, batch: PackedBatch, temperature: float) -> Tensor:
        """The model's numbers [N] for the batch's response tokens (log-probabilities of a policy,
        values of a critic), with their graph."""
        values: Tensor = self.engine(batch, temperature)
        return values

    def accumulate(self, loss: Tensor) -> None:
        """Add the gradient of this loss (a scalar) to the step."""
        self.engine.backward(loss * self.ranks.world)

    def step(self, lr: float) -> tuple[bool, float]:
        """Clip and apply the gradient: whether it was applied, and its norm before clipping.

        A gradient that is not finite is dropped on every rank and leaves weights and moments alone.
        """
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        self.engine.step()
        norm = self.engine.get_global_grad_norm()
        return bool(self.engine.was_step_applied()), math.nan if norm is None else float(norm)

    @property
    def updates(self) -> int:
        """Optimizer steps applied so far, those before a resume included."""
        return int(self.engine.global_steps - self.engine.skipped_steps)

    @contextmanager
    def gathered(self, part: nn.Module | None = None) -> Iterator[None]:
        """The whole weights (or those of a part of the model) on every rank, for sampling and
        saving.

        ZeRO-3's module hooks are lifted meanwhile: they would give each weight back after its first
        use and make ranks wait for each other in every decoding step.
        """
        if not self._sharded:
            yield
            return
        from deepspeed.runtime.zero import GatheredParameters

        module = part or self.model
        with GatheredParameters(list(module.parameters())), _without_hooks(module):
            yield

    def save(self, folder: Path, tag: str) -> None:
        """Write what is trained and the optimizer's state; every rank calls it. Frozen weights are
        in the checkpoint that training started from."""
        self.engine.save_checkpoint(
            str(folder), tag=tag, save_latest=False, exclude_frozen_parameters=not self._whole
        )

    def load(self, folder: Path, tag: str) -> None:
        """Go back to what :meth:`save` wrote; every rank calls it. No code that a file names is
        run."""
        with tensors_only():
            path, _ = self.engine.load_checkpoint(
                str(folder), tag=tag, load_module_strict=self._whole
            )
        if path is None:
            raise FileNotFoundError(f"{folder / tag} is not a checkpoint of this training")

    def close(self) -> None:
        """Release hooks and buffers."""
        self.engine.destroy()


class ClippedAdamW(torch.optim.AdamW):
    """AdamW that clips and refuses a gradient that is not finite, as DeepSpeed's own wrappers do.

    DeepSpeed wraps nothing around the optimizer at ZeRO 0, where it neither records the norm nor
    guards the step; it reads the two attributes set here. All ranks hold the same gradient by then.
    """

    def __init__(self, params: list[nn.Parameter], max_norm: float, **settings: Any) -> None:
        super().__init__(params, **settings)
        self.max_norm = max_norm
        self.overflow = False
        self._global_grad_norm = math.nan

    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        params = [p for group in self.param_groups for p in group["params"]]
        self._global_grad_norm = float(nn.utils.clip_grad_norm_(params, self.max_norm))
        self.overflow = not math.isfinite(self._global_grad_norm)
        if not self.overflow:
            super().step(closure)


def _config(model: PackedModel, stage: Stage, resources: Resources) -> dict[str, Any]:
    hidden = model.model.config.get_text_config().hidden_size
    bucket = min(sum(p.numel() for p in model.parameters()), 500_000_000)
    bf16 = resources.dtype == "bfloat16"
    return {
        # Counts of examples mean nothing here: micro-batches are filled by tokens, and each calls
        # backward() until step() says that the update is complete.
        "train_micro_batch_size_per_gpu": 1,
        "managed_gradient_accumulation": False,
        "gradient_clipping": 0.0 if resources.zero_stage == 0 else stage.max_grad_norm,
        "bf16": {"enabled": bf16},
        **({"data_types": {"grad_accum_dtype": "fp32"}} if bf16 else {}),
        "zero_optimization": {
            "stage": resources.zero_stage,
            "overlap_comm": False,
            "contiguous_gradients": True,
            "reduce_bucket_size": bucket,
            "allgather_bucket_size": bucket,
            "stage3_prefetch_bucket_size": int(0.9 * hidden * hidden),
            "stage3_param_persistence_threshold": 10 * hidden,
            **_offload(resources),
        },
        "zero_force_ds_cpu_optimizer": False,  # the same AdamW wherever it runs
        "zero_allow_untested_optimizer": True,  # torch's own AdamW: nothing to compile
        "steps_per_print": 2**31,
    }


def _offload(resources: Resources) -> dict[str, Any]:
    """ZeRO-Offload (arXiv 2101.06840): the optimizer and its state in main memory, stepped by the
    processor; with ``weights``, ZeRO-3's partitions too, brought to the GPU layer by layer."""
    memory = {"device": "cpu", "pin_memory": pick_device(resources.device).type == "cuda"}
    parts = {"none": (), "optimizer": ("optimizer",), "weights": ("optimizer", "param")}
    return {f"offload_{part}": memory for part in parts[resources.offload]}


def _import_deepspeed() -> ModuleType:
    """Import DeepSpeed without what this trainer does not use of it.

    Its autotuner imports mlflow (seconds, and a tracking client in the trainer), so mlflow is
    hidden while it is imported; and its shared-memory collectives for CPU would be compiled with
    g++ at the first use.
    """
    hidden = "mlflow" not in sys.modules
    if hidden:
        sys.modules["mlflow"] = None  # type: ignore[assignment]
    try:
        with _unwarned():
            import deepspeed
            from deepspeed.utils import logger
    finally:
        if hidden:
            del sys.modules["mlflow"]
    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    logger.setLevel("ERROR")
    return deepspeed


@contextmanager
def tensors_only() -> Iterator[None]:
    """Whatever torch loads meanwhile holds tensors, plain values and DeepSpeed's own settings: a
    pickle that names anything else is refused. DeepSpeed itself would load it."""
    from deepspeed.runtime.fp16.loss_scaler import DynamicLossScaler, LossScaler
    from deepspeed.runtime.zero.config import ZeroStageEnum
    from deepspeed.utils.tensor_fragment import fragment_address

    allowed = [DynamicLossScaler, LossScaler, ZeroStageEnum, fragment_address]
    with _switched_on("TORCH_FORCE_WEIGHTS_ONLY_LOAD"), torch.serialization.safe_globals(allowed):
        yield


@contextmanager
def _uncompiled() -> Iterator[None]:
    """Setting up, DeepSpeed imports its Muon optimizer, whose decorators load torch's compiler:
    seconds of start-up for something this trainer does not use."""
    with _switched_on("TORCHDYNAMO_DISABLE"):
        yield


@contextmanager
def _switched_on(name: str) -> Iterator[None]:
    """Meanwhile this variable of the environment is 1."""
    before = os.environ.get(name)
    os.environ[name] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


@contextmanager
def _unwarned() -> Iterator[None]:
    """What DeepSpeed still uses of older torch is not for the reader of our logs to mend."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        warnings.simplefilter("ignore", FutureWarning)
        warnings.simplefilter("ignore", UserWarning)
        yield


@contextmanager
def _without_hooks(module: nn.Module) -> Iterator[None]:
    kept = [(m, m._forward_hooks, m._forward_pre_hooks) for m in module.modules()]
    for m, after, before in kept:
        m._forward_hooks, m._forward_pre_hooks = type(after)(), type(before)()
    try:
        yield
    finally:
        for m, after, before in kept:
            m._forward_hooks, m._forward_pre_hooks = after, before
