"""Pictures as models see them: one way to read a file, for every engine, trainer and check."""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

from benchmarks.base import DataError, Item, Picture

#: The longer side of a picture, in shorter sides: what Qwen's processor takes.
MAX_RATIO = 200
#: How to turn a picture upright, by its EXIF orientation (Exif 3.0, section 4.6.5).
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_WITH_ALPHA = ("RGBA", "LA", "PA", "RGBa", "La")
#: Formats and colour modes in which every reader sees the same.
_PLAIN = {"PNG": "image/png", "JPEG": "image/jpeg"}
_PLAIN_MODES = ("1", "L", "P", "RGB")


class PictureError(DataError):
    """A picture that cannot be shown to a model. The message says why and what would be right, not
    which picture it is."""


def content(given: Picture) -> bytes:
    """The file of a picture. Raises :class:`PictureError` where it cannot be read."""
    try:
        return given.read_bytes() if isinstance(given, Path) else given
    except OSError as error:
        raise PictureError(f"{error.strerror}; is it still there?") from None


def read_picture(given: Picture) -> Image.Image:
    """The first picture of a file as 8-bit RGB, upright by its EXIF orientation.

    Transparent parts become white, as in Qwen's own reader (``to_rgb`` of qwen_vl_utils): dropping
    alpha instead would turn many diagrams into black squares. Grey values of more than 8 bits are
    scaled to them, see :func:`as_seen`. Raises :class:`PictureError` for what is no image or is cut
    off, has no pixels, or is more than ``MAX_RATIO`` times as long as wide.
    """
    return as_seen(_opened(content(given)))


def as_sent(given: Picture) -> tuple[str, bytes]:
    """(media type, file) of a picture for a server: as it is where every reader sees in it what
    :func:`read_picture` does, else these pixels as PNG. Raises :class:`PictureError`."""
    data = content(given)
    image = _opened(data)
    kind = _PLAIN.get(image.format or "")
    plain = image.mode in _PLAIN_MODES and "transparency" not in image.info
    if kind is not None and plain and not is_turned(image):
        return kind, data
    out = io.BytesIO()
    as_seen(image).save(out, "PNG")
    return "image/png", out.getvalue()


def as_seen(image: Image.Image) -> Image.Image:
    """An open picture as :func:`read_picture` gives it.

    16-bit grey is scaled from 0 to 65535. Whole numbers of 32 bits and floating-point values do not
    say their range: it is from 0 to the smallest of 1, 255 and 65535 that holds them all, and where
    there are negative or larger ones from the least to the greatest.
    """
    try:
        rgb = _grey(image) if image.mode[0] in "IF" else _coloured(image)
    except ValueError as error:
        raise PictureError(f"of colour mode {image.mode} ({error}); save it as RGB") from None
    turn = _turn(image)
    return rgb if turn is None else rgb.transpose(turn)


def is_turned(image: Image.Image) -> bool:
    """Whether the EXIF orientation of a picture says that it is to be turned."""
    return _turn(image) is not None


def broken(items: Sequence[Item]) -> dict[str, str]:
    """Why pictures cannot be shown to a model, by the id of their item. Each picture is read as it
    is going to be, to its last row."""
    distinct = list(dict.fromkeys(picture for item in items for picture in item.images))
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        reasons = dict(zip(distinct, pool.map(_reason, distinct), strict=True))
    found: dict[str, str] = {}
    for item in items:
        said = [reasons[picture] for picture in item.images if reasons[picture]]
        if said:
            found[item.id] = said[0]
    return found


def refuse_broken(items: Sequence[Item]) -> None:
    """Raises :class:`DataError` naming the rows whose pictures cannot be shown to a model: one of
    them would stop the work midway."""
    if found := broken(items):
        raise DataError(f"{told(found)}.")


def told(found: dict[str, str]) -> str:
    """What :func:`broken` found, for people: the number of rows, and the first with their
    reasons."""
    shown = "; ".join(f"{row!r} ({why})" for row, why in list(found.items())[:5])
    more = f"; and {len(found) - 5} more" if len(found) > 5 else ""
    rows = "1 row has a picture" if len(found) == 1 else f"{len(found)} rows have pictures"
    return f"{rows} that cannot be shown to a model: {shown}{more}"


def _reason(given: Picture) -> str:
    try:
        read_picture(given)
    except PictureError as error:
        return f"{given.name}: {error}" if isinstance(given, Path) else str(error)
    return ""


def _opened(data: bytes) -> Image.Image:
    try:
        image = Image.open(io.BytesIO(data))
        _refuse_ratio(*image.size)
        image.load()
    except PictureError:
        raise
    except UnidentifiedImageError:
        raise PictureError(f"not an image, or one without pixels ({len(data)} bytes)") from None
    except Exception as error:  # decoders raise of every kind
        said = " ".join(str(error).split()) or type(error).__name__
        raise PictureError(f"{said[:200]}; fetch or save the file again") from None
    return image


def _refuse_ratio(width: int, height: int) -> None:
    if max(width, height) > MAX_RATIO * min(width, height):
        raise PictureError(
            f"{width} x {height} pixels, of which the longer side may be {MAX_RATIO} times the "
            "shorter at most; crop or pad it"
        )


def _turn(image: Image.Image) -> Image.Transpose | None:
    try:
        return _UPRIGHT.get(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # notes of a camera that cannot be read turn nothing
        return None


def _coloured(image: Image.Image) -> Image.Image:
    if image.mode in _WITH_ALPHA or "transparency" in image.info:
        image = image if image.mode == "RGBA" else image.convert("RGBA")
        if image.getchannel("A").getextrema()[0] == 255:  # nothing shows through: skip the work
            return image.convert("RGB")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    return image.convert("RGB")


def _grey(image: Image.Image) -> Image.Image:
    values: Any = np.asarray(image)
    deep = values.dtype.itemsize == 2
    values = values.astype(np.float64)
    finite = values[np.isfinite(values)]
    low, high = (finite.min(), finite.max()) if finite.size else (0.0, 0.0)
    if deep:
        low, high = 0.0, 65535.0
    elif low >= 0 and (range_ := next((top for top in (1, 255, 65535) if high <= top), None)):
        low, high = 0.0, float(range_)
    known = np.nan_to_num(values, nan=low, posinf=high, neginf=low)
    scaled = (known - low) * (255 / max(high - low, 1e-300))
    clear = image.info.get("transparency")
    if isinstance(clear, int):
        scaled[values == clear] = 255
    return Image.fromarray(np.rint(scaled).clip(0, 255).astype(np.uint8)).convert("RGB")
