"""What a picture shows: five families of scenes, each a few small numbers and a look.

Every scene is 3 x 3 cells. ``bars``: the values of A, B, C, one bar a column. ``dial``: a pointer
at 1 to 12. ``triangle``: the angles A and B in degrees. ``line``: f(0), f(1), f(2), one point a
column. ``shapes``: nine cells, row by row, 0 for empty and otherwise 1 + 3 * colour + shape.
"""

from __future__ import annotations

import math
import zlib
from dataclasses import dataclass
from random import Random

import numpy as np
from numpy.typing import NDArray

from benchmarks.tiny.draw import CELL, COLOURS, INK, PAPERS, WHITE, Canvas

FAMILIES = ("bars", "dial", "triangle", "line", "shapes")
SHAPES = ("circle", "square", "triangle")
SHAPE_COLOURS = ("red", "green", "blue")


@dataclass(frozen=True)
class Scene:
    """``look`` is the index of the paper and of each colour that the scene's painter uses, so that
    scenes that differ show different pixels. No question is about it."""

    family: str
    values: tuple[int, ...]
    look: tuple[int, ...]

    @property
    def held_out(self) -> bool:
        """A quarter of all scenes belongs to the benchmarks: never trained on, in any stage."""
        return zlib.crc32(repr((self.family, self.values, self.look)).encode()) % 4 == 0

    def draw(self, header: tuple[str, ...] = (), footer: tuple[str, ...] = ()) -> NDArray[np.uint8]:
        """The picture [84 to 140, 84, 3]: the scene, and a band of three cells above or below it.

        ``header`` is three short strings, large; ``footer`` is up to six, small, two to a cell.
        """
        canvas = Canvas(3 + bool(header) + bool(footer), 3, PAPERS[self.look[0]])
        body = Canvas(3, 3, PAPERS[self.look[0]])
        _PAINTERS[self.family](body, self)
        top = CELL * bool(header)
        canvas.pixels[top : top + 3 * CELL] = body.pixels
        for column, text in enumerate(header):
            canvas.text(CELL * column + CELL / 2, CELL / 2, text)
        for place, text in enumerate(footer):
            column, line = divmod(place, 2)
            x, y = CELL * column + CELL / 2, top + 3 * CELL + 8 + 13 * line
            canvas.text(x, y, text, scale=1)
        return canvas.pixels


def sample(rng: Random, family: str) -> Scene:
    """A random scene of this family."""
    colours = {"bars": 3, "shapes": 0}.get(family, 2)
    look = (rng.randrange(len(PAPERS)), *(rng.randrange(len(COLOURS)) for _ in range(colours)))
    if family == "bars":
        values = tuple(rng.randint(1, 9) for _ in range(3))
    elif family == "dial":
        values = (rng.randint(1, 12),)
    elif family == "triangle":
        values = (10 * rng.randint(2, 9), 10 * rng.randint(2, 9))
        while sum(values) > 150:
            values = (10 * rng.randint(2, 9), 10 * rng.randint(2, 9))
    elif family == "line":
        slope = rng.choice((-3, -2, -1, 0, 1, 2, 3))
        start = rng.randint(max(0, -2 * slope), min(8, 8 - 2 * slope))
        values = (start, start + slope, start + 2 * slope)
    elif family == "shapes":
        values = tuple(0 if rng.random() < 0.2 else rng.randint(1, 9) for _ in range(9))
    else:
        raise ValueError(f"unknown family {family!r}; known: {', '.join(FAMILIES)}")
    return Scene(family, values, look)


def _bars(canvas: Canvas, scene: Scene) -> None:
    for i, value in enumerate(scene.values):
        left = CELL * i + 5
        bar = canvas.rectangle(left, 82 - int(8.8 * value), left + 18, 82)
        canvas.fill(bar, COLOURS[scene.look[1 + i]])
        canvas.text(left + 9, 78, "ABC"[i], WHITE, scale=1)


def _dial(canvas: Canvas, scene: Scene) -> None:
    canvas.fill(canvas.disc(42, 42, 40), COLOURS[scene.look[1]])
    canvas.fill(canvas.disc(42, 42, 36), WHITE)
    for hour in range(1, 13):
        x, y = math.sin(hour * math.pi / 6), -math.cos(hour * math.pi / 6)
        canvas.fill(canvas.segment(42 + 31 * x, 42 + 31 * y, 42 + 35 * x, 42 + 35 * y, 2), INK)
        if hour == scene.values[0]:
            hand = canvas.segment(42, 42, 42 + 28 * x, 42 + 28 * y, 6)
            canvas.fill(hand, COLOURS[scene.look[2]])


def _triangle(canvas: Canvas, scene: Scene) -> None:
    a, b = scene.values
    cot_a, cot_b = (1 / math.tan(math.radians(angle)) for angle in (a, b))
    height = min(44.0, 68 / (cot_a + cot_b))
    foot = height * cot_a
    base = foot + height * cot_b
    left = 42 - base / 2
    corners = ((left, 52.0), (left + base, 52.0), (left + foot, 52 - height))
    for (x0, y0), (x1, y1) in zip(corners, corners[1:] + corners[:1], strict=True):
        canvas.fill(canvas.segment(x0, y0, x1, y1, 3), COLOURS[scene.look[1]])
    for x, name, value in ((14, "A", a), (70, "B", b)):
        canvas.text(x, 61, name, COLOURS[scene.look[2]], scale=1)
        canvas.text(x, 74, str(value))


def _line(canvas: Canvas, scene: Scene) -> None:
    def height(value: float) -> float:
        return 79 - 9.3 * value

    for x in (14, 42, 70):
        canvas.fill(canvas.segment(x, 0, x, 84, 1), (190, 190, 190))
    canvas.fill(canvas.rectangle(0, 79, 84, 80), (120, 120, 120))
    y0, y2 = height(scene.values[0]), height(scene.values[2])
    canvas.fill(canvas.segment(14, y0, 70, y2, 3), COLOURS[scene.look[1]])
    for x, value in zip((14, 42, 70), scene.values, strict=True):
        canvas.fill(canvas.disc(x, height(value), 5), COLOURS[scene.look[2]])


def _shapes(canvas: Canvas, scene: Scene) -> None:
    for place, value in enumerate(scene.values):
        if not value:
            continue
        colour, shape = divmod(value - 1, 3)
        row, column = divmod(place, 3)
        x, y = CELL * column + CELL / 2, CELL * row + CELL / 2
        mask = (
            canvas.disc(x, y, 9),
            canvas.rectangle(x - 8, y - 8, x + 8, y + 8),
            canvas.wedge(x, y, 9),
        )[shape]
        canvas.fill(mask, COLOURS[colour])


_PAINTERS = {"bars": _bars, "dial": _dial, "triangle": _triangle, "line": _line, "shapes": _shapes}
