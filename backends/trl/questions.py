"""The questions of a training as TRL's rows: row ``step * per_step + place``, in our order."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from PIL.Image import Image

from backends.base.stage import Stage
from backends.models.encoding import Encoder, EncodingError
from backends.models.prompt import Prompt
from backends.training.objectives import objective
from backends.training.samples import Drawn, QuestionOrder, request
from benchmarks.base import Item
from benchmarks.data.pictures import read_picture

if TYPE_CHECKING:
    from datasets import Dataset


@dataclass(frozen=True)
class Row:
    """A question as both sides read it: encoded by us (None: too long), and as TRL's messages."""

    prompt: Prompt | None
    messages: list[dict[str, Any]]
    images: list[Image]


class Questions:
    """What each row asks. Rows are encoded when they are asked for; two steps' are kept."""

    def __init__(self, items: Sequence[Item], stage: Stage, seed: int, encoder: Encoder) -> None:
        """Raises :class:`backends.models.encoding.EncodingError` for a text that TRL would
        misread."""
        self.stage, self.encoder = stage, encoder
        self._order = QuestionOrder(items, stage.questions_per_step, seed)
        self._step: tuple[int, list[Drawn]] = (-1, [])
        self._rows: OrderedDict[int, Row] = OrderedDict()
        if objective(stage).has_rollouts:
            for item in items:
                self._check(item)

    def __len__(self) -> int:
        return self.stage.steps * self.stage.questions_per_step

    def step(self, row: int) -> int:
        """The step of a row, counted from 0."""
        return row // self.stage.questions_per_step

    def drawn(self, row: int) -> Drawn:
        """The question of a row."""
        step, place = divmod(row, self.stage.questions_per_step)
        if self._step[0] != step:
            self._step = step, self._order.at(step)
        return self._step[1][place]

    def prompt(self, row: int) -> Prompt | None:
        """The encoded question of a row; None where it is too long."""
        return self._row(row).prompt

    def longest(self, step: int) -> int:
        """Tokens of the longest prompt of a step that is not too long."""
        first = step * self.stage.questions_per_step
        prompts = [self.prompt(first + place) for place in range(self.stage.questions_per_step)]
        return max((len(p) for p in prompts if p is not None), default=1)

    def dataset(self) -> Dataset:
        """The rows by number alone, as SFT's collator takes them."""
        from datasets import Dataset

        return Dataset.from_dict({"row": list(range(len(self)))})

    def conversations(self) -> Dataset:
        """The rows with their number, messages and pictures, as GRPO takes them.

        In the place of a prompt that is too long stands an empty one without picture, for TRL's
        batches have one size; it counts for nothing.
        """
        return self.dataset().with_transform(
            lambda batch: {
                "row": batch["row"],
                "prompt": [self._row(row).messages for row in batch["row"]],
                "images": [self._row(row).images for row in batch["row"]],
            }
        )

    def _row(self, row: int) -> Row:
        if row not in self._rows:
            self._rows[row] = self._made(self.drawn(row))
            while len(self._rows) > 2 * self.stage.questions_per_step:
                self._rows.popitem(last=False)
        return self._rows[row]

    def _made(self, drawn: Drawn) -> Row:
        asked = request(drawn, self.stage.template)
        prompt = self.encoder.encode(asked)
        if prompt is None:
            return Row(None, [{"role": "user", "content": ""}], [])
        system = [{"role": "system", "content": asked.system}] if asked.system else []
        content = [
            {"type": "text", "text": part} if isinstance(part, str) else {"type": "image"}
            for part in asked.content
        ]
        return Row(
            prompt,
            [*system, {"role": "user", "content": content}],
            [read_picture(picture) for picture in asked.images],
        )

    def _check(self, item: Item) -> None:
        """TRL tokenizes the whole conversation at once, where a special token in a question's text
        would be one: a picture that is not there, or the end of the turn."""
        asked = request(Drawn(0, item.id, item), self.stage.template)
        for token in self.encoder.tokenizer.all_special_tokens:
            if token in asked.system + asked.text:
                raise EncodingError(
                    f"question {item.id!r} contains {token!r}, which TRL would read as the "
                    "special token: change its text, or train it with the deepspeed backend"
                )
