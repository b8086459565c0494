"""From a request (text and pictures) to what a model reads: ids, positions, pictures."""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from backends.base.engine import Request
from backends.base.family import ModelFamily
from backends.models.families import ModelError, family_at
from backends.models.folders import (
    load_processor,
    pad_token_id,
    suppressed_token_ids,
    tokenizer_of,
)
from backends.models.pictures import EncodedPicture
from backends.models.prompt import Prompt
from benchmarks.base import DataError
from benchmarks.data.pictures import PictureError, content, read_picture

if TYPE_CHECKING:
    from PIL import Image
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

    def __init__(
        self, family: ModelFamily, processor: ProcessorMixin, max_prompt_tokens: int
    ) -> None:
        self.family = family
        self.processor = processor
        self.tokenizer: Any = tokenizer_of(processor)
        self.max_prompt_tokens = max_prompt_tokens
        self.placeholder = family.placeholder(processor)
        self.suppressed = suppressed_token_ids(family, processor)
        self.pad_id = pad_token_id(processor)
        self._frames: dict[tuple[tuple[bool, ...], bool], list[str | list[int]]] = {}
        self._tokenizing = threading.RLock()  # a tokenizer holds the options of the latest call

    @classmethod
    def at(cls, folder: str | Path, max_prompt_tokens: int) -> Encoder:
        """The encoder of a model folder. Raises :class:`ModelError`."""
        processor = load_processor(folder)
        return cls(family_at(Path(folder)), processor, max_prompt_tokens)

    def encode(self, request: Request) -> Prompt | None:
        """Encode one request; None where it is too long.

        Raises :class:`EncodingError` for a picture that cannot be read, and for a text that marks
        the places of another number of pictures.
        """
        return self.encode_all([request])[0]

    def encode_all(self, requests: Sequence[Request]) -> list[Prompt | None]:
        """As :meth:`encode`, with the pictures of all requests prepared in one call."""
        read = [self._read(request) for request in requests]
        images = [image for images, _ in read for image in images]
        prepared = iter(self.family.pictures(self.processor, images) if images else ())
        return [
            self._prompt(request, [EncodedPicture(name, next(prepared)) for name in names])
            for request, (_, names) in zip(requests, read, strict=True)
        ]

    def _prompt(self, request: Request, pictures: Sequence[EncodedPicture]) -> Prompt | None:
        tensors = [picture.tensors for picture in pictures]
        counts = [self.family.tokens(self.processor, each) for each in tensors]
        with self._tokenizing:
            ids = self._ids(request, counts)
        if len(ids) > self.max_prompt_tokens:
            return None
        input_ids = torch.tensor(ids)
        placed = ids.count(self.placeholder) if self.placeholder is not None else 0
        if placed != sum(counts):
            raise EncodingError(
                f"request {request.id!r} has {placed} picture tokens for {sum(counts)} features of "
                f"its {len(pictures)} pictures: does the chat template place each one once?"
            )
        positions, following = self.family.positions(input_ids, tensors, self.processor)
        return Prompt(input_ids, positions, following, tuple(pictures), self.placeholder)

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
        try:
            parts = request.content
        except DataError as error:
            raise EncodingError(f"request {request.id!r}: {error}") from None
        remaining = iter(counts)
        texts = (part for part in parts if isinstance(part, str))
        ids: list[int] = []
        for piece in self._frame(
            tuple(not isinstance(part, str) for part in parts), bool(request.system)
        ):
            if isinstance(piece, str):
                ids += self._text_ids(request.system if piece == _SYSTEM else next(texts))
                continue
            for token in piece:
                ids += [token] * (next(remaining, 1) if token == self.placeholder else 1)
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
            parts = [
                {"type": "image"} if picture else {"type": "text", "text": _USER}
                for picture in pictures
            ]
            messages: list[dict[str, Any]] = (
                [{"role": "system", "content": _SYSTEM}] if system else []
            )
            # Templates of text models take a plain string only.
            content = parts if self.family.reads_pictures else _USER * len(parts)
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
        if request.images and not self.family.reads_pictures:
            raise EncodingError(
                f"request {request.id!r} has a picture, and {self.family.model_type} models read "
                "text only"
            )
        for picture in request.images:
            try:
                data = content(picture)
                images.append(read_picture(data))
            except PictureError as error:
                name = str(picture) if isinstance(picture, Path) else f"{len(picture)} bytes"
                raise EncodingError(
                    f"request {request.id!r}: the picture ({name}) cannot be read: {error}"
                ) from error
            hashes.append(hashlib.sha256(data).hexdigest())
        return images, tuple(hashes)
