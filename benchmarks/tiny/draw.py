"""Pixels: a canvas of 28-pixel cells, filled by masks. One cell is one image token of Qwen2.5-VL.

Shapes are drawn by numpy arithmetic rather than by a drawing library, so that a picture does not
change with that library's version; only letters and digits come from Pillow's built-in bitmap font.
"""

from __future__ import annotations

import io
import math
from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

CELL = 28
Colour = tuple[int, int, int]
Mask = NDArray[np.bool_]

INK: Colour = (30, 30, 30)
WHITE: Colour = (255, 255, 255)
COLOURS: tuple[Colour, ...] = (
    (200, 40, 40), (40, 140, 60), (40, 80, 200), (190, 110, 20), (130, 50, 160), (20, 130, 150),
)  # fmt: skip
PAPERS: tuple[Colour, ...] = (
    (255, 255, 255), (250, 246, 232), (234, 244, 250), (240, 250, 236), (250, 238, 242),
    (240, 240, 240),
)  # fmt: skip
_FONT = ImageFont.load_default_imagefont()


class Canvas:
    """A picture of ``rows`` x ``columns`` cells; ``pixels`` is uint8 [28 rows, 28 columns, 3].

    Coordinates are (x, y) pixels from the top left corner.
    """

    def __init__(self, rows: int, columns: int, paper: Colour) -> None:
        self.pixels = np.empty((CELL * rows, CELL * columns, 3), np.uint8)
        self.pixels[:] = paper
        self.y, self.x = _coordinates(CELL * rows, CELL * columns)

    def fill(self, mask: Mask, colour: Colour) -> None:
        self.pixels[mask] = colour

    def rectangle(self, left: float, top: float, right: float, bottom: float) -> Mask:
        return (self.x >= left) & (self.x <= right) & (self.y >= top) & (self.y <= bottom)

    def disc(self, x: float, y: float, radius: float) -> Mask:
        return (self.x - x) ** 2 + (self.y - y) ** 2 <= radius**2

    def segment(self, x0: float, y0: float, x1: float, y1: float, width: float) -> Mask:
        """Pixels at most ``width`` / 2 away from the segment."""
        dx, dy = x1 - x0, y1 - y0
        t = np.clip(((self.x - x0) * dx + (self.y - y0) * dy) / (dx * dx + dy * dy), 0, 1)
        near = (self.x - x0 - t * dx) ** 2 + (self.y - y0 - t * dy) ** 2 <= (width / 2) ** 2
        return np.asarray(near)

    def wedge(self, x: float, y: float, size: float) -> Mask:
        """An upright triangle of half-width ``size`` around (x, y)."""
        down = self.y - (y - size)
        return (down >= 0) & (down <= 2 * size) & (np.abs(self.x - x) <= down / 2)

    def text(self, x: float, y: float, text: str, colour: Colour = INK, scale: int = 2) -> None:
        """Write ``text`` centred on (x, y)."""
        glyphs = _glyphs(text, scale)
        height, width = glyphs.shape
        left, top = round(x - width / 2), round(y - height / 2)
        box = self.pixels[max(top, 0) : top + height, max(left, 0) : left + width]
        box[glyphs[max(-top, 0) :, max(-left, 0) :][: box.shape[0], : box.shape[1]]] = colour


@cache
def _coordinates(height: int, width: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The y and x of every pixel, as a column [height, 1] and a row [1, width]."""
    return np.arange(height, dtype=np.float64)[:, None], np.arange(width, dtype=np.float64)[None, :]


@cache
def _glyphs(text: str, scale: int) -> Mask:
    """The text's ink, cropped to it: a mask [height, width]."""
    left, top, right, bottom = _FONT.getbbox(text)
    picture = Image.new("1", (math.ceil(right - left), math.ceil(bottom - top)))
    ImageDraw.Draw(picture).text((-left, -top), text, fill=1, font=_FONT)
    ink = np.asarray(picture)
    rows, columns = np.flatnonzero(ink.any(1)), np.flatnonzero(ink.any(0))
    ink = ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    return np.kron(ink, np.ones((scale, scale), bool))


def png(pixels: NDArray[np.uint8]) -> bytes:
    """The picture as the bytes of a PNG file."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", optimize=False)
    return buffer.getvalue()
