"""The ``trl`` backend: what the harness calls. Importing it loads neither torch nor TRL."""

from __future__ import annotations

from pathlib import Path

from backends.base.backend import Inputs, TrainingError
from backends.base.resources import Resources
from backends.base.stage import Stage
from backends.training.workers import Job
from backends.trl.mapping import problems


class TRLBackend:
    """TRL 1.16's ``GRPOTrainer`` and ``SFTTrainer``, in one process of their own.

    A stage is trained exactly as it is written or refused at plan time
    (:func:`backends.trl.mapping.problems`). Questions, their order, prompts, rewards, optimizer,
    schedule, which groups count and what is logged are those of our own trainer; sampling,
    log-probabilities, advantages, loss and the update are TRL's. What stays different of a stage
    that both train:

    * TRL samples with generators of its own, so the same seed gives the same questions at the same
      step and other responses;
    * tokens that are never sampled (picture placeholders) are kept out of TRL's sampling, which
      renormalises the rest; TRL's log-probabilities do not;
    * TRL's k3 is not cut where the log-ratio passes 20, ours is;
    * rewards become float32, so the advantages of a group that agrees are 0 up to rounding (below
      1e-3 where the reward is no binary fraction);
    * ``bfloat16`` keeps float32 weights under autocast and samples in float32; ours keeps bfloat16
      weights beside float32 master weights.

    A killed training goes on from its last saved step with TRL's weights, optimizer and generators:
    each step samples its own responses, so nothing of a buffer is lost, and on one CPU the weights
    are those of an undisturbed run.
    """

    name = "trl"
    version = 1

    def problems(self, stage: Stage, resources: Resources) -> list[str]:
        """Why TRL cannot train the stage as it is written; empty where it can."""
        return problems(stage, resources)

    def train(self, stage: Stage, inputs: Inputs, resources: Resources, workdir: Path) -> Path:
        """Train the stage and return ``workdir/checkpoint``; go on where a killed call stopped.

        A workdir that holds a finished checkpoint is not trained again. Raises TrainingError.
        """
        if found := problems(stage, resources):
            raise TrainingError("; ".join(found))
        checkpoint = workdir / "checkpoint"
        if not checkpoint.is_dir():
            from backends.trl.worker import run

            workdir.mkdir(parents=True, exist_ok=True)
            run(Job(stage, inputs, resources, workdir))
        return checkpoint
