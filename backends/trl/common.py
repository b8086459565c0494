"""What both of TRL's trainers are here: timed, without a model card, and able to resume."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from backends.models.folders import load_model
from backends.trl.progress import Ledger

if TYPE_CHECKING:
    from transformers import Trainer
else:
    Trainer = object


class Common(Trainer):
    """Comes before TRL's class among the bases, and is given the ledger before that is set up."""

    ledger: Ledger

    def get_batch_samples(self, *args: Any, **kwargs: Any) -> Any:
        with self.ledger.timed("rollout"):
            return super().get_batch_samples(*args, **kwargs)

    def create_model_card(self, *_: Any, **__: Any) -> None:
        """None: what is saved here is a state to resume from."""

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        """Put the saved weights into the model.

        Transformers 5.19 writes Qwen2.5-VL's weights by their older names, which Trainer's own
        method then does not find in the model: it warns, and goes on from the base model.
        """
        there: Any = self.model if model is None else model
        saved = load_model(resume_from_checkpoint, there.dtype, there.device)
        there.load_state_dict(saved.state_dict())
