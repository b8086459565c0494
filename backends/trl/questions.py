"""The questions of a training as TRL's rows: row ``step * per_step + place``, in our order."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from backends.base import Stage
from backends.deepspeed.samples import Drawn, QuestionOrder, request
from backends.encoding import Encoder, EncodingError, Prompt, read_picture
from benchmarks.base import Item

if TYPE_CHECKING:
    from datasets import Dataset


class Questions:
    """What each row asks. Rows are encoded when they are asked for; two steps' are kept."""

    def __init__(self, items: Sequence[Item], stage: Stage, seed: int, encoder: Encoder) -> None:
        self.stage, self.encoder = stage, encoder
        self._order = QuestionOrder(items, stage.questions_per_step, seed)
        self._rows: OrderedDict[int, tuple[Drawn, Prompt | None, dict[str, Any]]] = OrderedDict()

    def __len__(self) -> int:
        return self.stage.steps * self.stage.questions_per_step

    def drawn(self, row: int) -> Drawn:
        """The question of a row."""
        step, place = divmod(row, self.stage.questions_per_step)
        return self._order.at(step)[place]

    def step(self, row: int) -> int:
        """The step of a row, counted from 0."""
        return row // self.stage.questions_per_step

    def prompt(self, row: int) -> Prompt | None:
        """The encoded question of a row; None where it is too long."""
        return self._row(row)[1]

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
                "prompt": [self._row(row)[2]["prompt"] for row in batch["row"]],
                "images": [self._row(row)[2]["images"] for row in batch["row"]],
            }
        )

    def _row(self, row: int) -> tuple[Drawn, Prompt | None, dict[str, Any]]:
        if row not in self._rows:
            drawn = self.drawn(row)
            asked = request(drawn, self.stage.template)
            prompt = self.encoder.encode(asked)
            self._check(drawn, asked.system + asked.text)
            messages: list[dict[str, str]] = []
            if prompt is not None and asked.system:
                messages.append({"role": "system", "content": asked.system})
            messages.append({"role": "user", "content": asked.text if prompt is not None else ""})
            images = []
            if prompt is not None:
                for picture in asked.images:
                    data = picture if isinstance(picture, bytes) else picture.read_bytes()
                    images.append(read_picture(data))
            self._rows[row] = drawn, prompt, {"prompt": messages, "images": images}
            while len(self._rows) > 2 * self.stage.questions_per_step:
                self._rows.popitem(last=False)
        return self._rows[row]

    def _check(self, drawn: Drawn, text: str) -> None:
        """TRL tokenizes the whole conversation at once, where a special token in a question's text
        would be one: a picture that is not there, or the end of the turn."""
        for token in self.encoder.tokenizer.all_special_tokens:
            if token in text:
                raise EncodingError(
                    f"question {drawn.item.id!r} contains {token!r}, which TRL would read as the "
                    "special token: change its text, or train it with the deepspeed backend"
                )
