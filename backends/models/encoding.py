"""From a request (text and pictures) to what a Qwen2.5-VL model reads: ids, patches, positions."""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from PIL import Image
from torch import Tensor

from backends.base.engine import Request
from backends.models.folders import ModelError, pad_token_id
from backends.models.pictures import read_picture
from backends.models.prompt import Prompt

if TYPE_CHECKING:
    from transformers import ProcessorMixin

# Private-use characters that hold the places of the two texts while the chat template is rendered.
_SYSTEM, _USER = "\ue000", "\ue001"


class EncodingError(ValueError):
    """A request that cannot be encoded. The message names the request."""


class Encoder:
    """Encodes requests with a model's own processor and chat template.

    A prompt of more than ``max_prompt_tokens`` tokens (pictures included) is never cut, which
    would tear picture tokens from their features: ``encode`` returns None and its caller drops
    and counts it. Threads may share an encoder.
    """

    def __init__(self, processor: ProcessorMixin, max_prompt_tokens: int) -> None:
        self.processor = processor
        self.tokenizer: Any = processor.tokenizer
        self.max_prompt_tokens = max_prompt_tokens
        self.image_token_id: int = processor.image_token_id
        self.merge_size: int = processor.image_processor.merge_size
        self.pad_id = pad_token_id(processor)
        self._frames: dict[tuple[tuple[bool, ...], bool], list[str | list[int]]] = {}
        self._tokenizing = threading.RLock()  # a tokenizer holds the options of the latest call

    def encode(self, request: Request) -> Prompt | None:
        """Encode one request; None where it is too long.

        Raises :class:`EncodingError` for a picture that cannot be read.
        """
        return self.encode_all([request])[0]

    def encode_all(self, requests: Sequence[Request]) -> list[Prompt | None]:
        """As :meth:`encode`, with the pictures of all requests prepared in one call."""
        read = [self._read(request) for request in requests]
        images = [image for images, _ in read for image in images]
        if not images:
            return [self._prompt(request, None, None, ()) for request in requests]
        features = self.processor.image_processor(images=images, return_tensors="pt")
        grids: Tensor = features["image_grid_thw"]
        patches = iter(features["pixel_values"].split(grids.prod(-1).tolist()))
        prompts: list[Prompt | None] = []
        at = 0
        for request, (images, hashes) in zip(requests, read, strict=True):
            grid = grids[at : at + len(images)] if images else None
            pixels = torch.cat([next(patches) for _ in images]) if images else None
            at += len(images)
            prompts.append(self._prompt(request, pixels, grid, hashes))
        return prompts

    def _prompt(
        self,
        request: Request,
        pixels: Tensor | None,
        grid: Tensor | None,
        pictures: tuple[str, ...],
    ) -> Prompt | None:
        counts = [] if grid is None else [int(g.prod()) // self.merge_size**2 for g in grid]
        with self._tokenizing:
            ids = self._ids(request, counts)
        if len(ids) > self.max_prompt_tokens:
            return None
        input_ids = torch.tensor(ids)
        found = int((input_ids == self.image_token_id).sum())
        if found != sum(counts):
            raise EncodingError(
                f"request {request.id!r} has {found} picture tokens for {sum(counts)} features of "
                f"its {len(request.images)} pictures: does the chat template place each one once?"
            )
        positions, next_position = mrope_positions(
            input_ids, grid, self.image_token_id, self.merge_size
        )
        return Prompt(input_ids, positions, next_position, pixels, grid, pictures)

    def response(self, text: str) -> list[int]:
        """Ids of a response's text and the end of turn, as a target of supervised training."""
        with self._tokenizing:
            return [*self._text_ids(text), self.tokenizer.eos_token_id]

    def decode(self, ids: Sequence[int]) -> str:
        """The text of response ids, without special tokens."""
        with self._tokenizing:
            return self.tokenizer.decode(
                list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False
            )

    def _ids(self, request: Request, counts: Sequence[int]) -> list[int]:
        """Ids of the rendered chat, each picture's placeholder repeated ``counts`` times."""
        content = request.content
        remaining = iter(counts)
        texts = (part for part in content if isinstance(part, str))
        ids: list[int] = []
        for piece in self._frame(
            tuple(not isinstance(part, str) for part in content), bool(request.system)
        ):
            if isinstance(piece, str):
                ids += self._text_ids(request.system if piece == _SYSTEM else next(texts))
                continue
            for token in piece:
                ids += [token] * (next(remaining, 1) if token == self.image_token_id else 1)
        return ids

    def _text_ids(self, text: str) -> list[int]:
        """Ids of text from outside: a literal ``<|image_pad|>`` in it stays ordinary characters."""
        return self.tokenizer(text, add_special_tokens=False, split_special_tokens=True)[
            "input_ids"
        ]

    def _frame(self, pictures: tuple[bool, ...], system: bool) -> list[str | list[int]]:
        """The chat template cut at the places of the texts: these places, and ids in between.
        ``pictures`` says of each part of the user's content whether it is a picture."""
        key = (pictures, system)
        if key not in self._frames:
            content = [
                {"type": "image"} if picture else {"type": "text", "text": _USER}
                for picture in pictures
            ]
            messages: list[dict[str, Any]] = (
                [{"role": "system", "content": _SYSTEM}] if system else []
            )
            messages.append({"role": "user", "content": content})
            chat = self.processor.apply_chat_template(
                messages, tokenize=False, add_generation_prompt=True
            )
            if chat.count(_USER) != pictures.count(False) or chat.count(_SYSTEM) != system:
                raise ModelError("the chat template drops or repeats the text of a message.")
            pieces = [p for p in re.split(f"({_SYSTEM}|{_USER})", chat) if p]
            self._frames[key] = [
                p
                if p in (_SYSTEM, _USER)
                else self.tokenizer(p, add_special_tokens=False)["input_ids"]
                for p in pieces
            ]
        return self._frames[key]

    def _read(self, request: Request) -> tuple[list[Image.Image], tuple[str, ...]]:
        """The pictures of a request, and their content hashes."""
        images, hashes = [], []
        for picture in request.images:
            try:
                data = picture.read_bytes() if isinstance(picture, Path) else picture
                images.append(read_picture(data))
            except (OSError, ValueError, Image.DecompressionBombError) as error:
                name = str(picture) if isinstance(picture, Path) else f"{len(picture)} bytes"
                raise EncodingError(
                    f"request {request.id!r}: the picture ({name}) cannot be read: {error}"
                ) from error
            hashes.append(hashlib.sha256(data).hexdigest())
        return images, tuple(hashes)


def mrope_positions(
    input_ids: Tensor, grid: Tensor | None, image_token_id: int, merge_size: int
) -> tuple[Tensor, int]:
    """Multimodal RoPE positions [3, P] of a prompt [P], and the position that follows it.

    Text counts up on all three axes. A picture of t x h x w merged patches keeps its start on
    every axis and counts within it; the text after it goes on at start + max(h, w) (Qwen2-VL,
    arXiv 2409.12191 section 2.1; ``get_rope_index`` of the Hugging Face model, which the tests
    compare with).
    """
    spans: list[Tensor] = []
    is_image = input_ids == image_token_id
    start, at = 0, 0
    for t, h, w in [] if grid is None else grid.tolist():
        h, w = h // merge_size, w // merge_size
        text = int(is_image[at:].int().argmax())
        spans.append(torch.arange(start, start + text).expand(3, -1))
        start += text
        axes = torch.meshgrid(torch.arange(t), torch.arange(h), torch.arange(w), indexing="ij")
        spans.append(torch.stack(axes).reshape(3, -1) + start)
        start += max(h, w)
        at += text + t * h * w
    spans.append(torch.arange(start, start + len(input_ids) - at).expand(3, -1))
    return torch.cat(spans, dim=1), start + len(input_ids) - at
