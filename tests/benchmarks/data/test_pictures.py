"""Pictures are read one way: upright, in 8-bit RGB, or refused with a reason."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageOps

from benchmarks.base import DataError, Item
from benchmarks.data.pictures import (
    PictureError,
    as_seen,
    as_sent,
    broken,
    read_picture,
    refuse_broken,
)


def file_of(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def photograph(orientation: int | None = None, kind: str = "JPEG") -> bytes:
    """A picture of four colours, so that no turn of it is another, as a camera would save it."""
    image = Image.new("RGB", (64, 32), "red")
    for colour, box in (("lime", (32, 0, 64, 16)), ("blue", (0, 16, 32, 32))):
        image.paste(colour, box)
    if orientation is None:
        return file_of(image, kind, quality=95)
    exif = Image.Exif()
    exif[0x0112] = orientation
    return file_of(image, kind, exif=exif, quality=95)


def pixels(data: bytes) -> Any:
    return np.asarray(read_picture(data))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_picture_is_upright(orientation: int, kind: str) -> None:
    """As Pillow itself turns it, which is what vLLM's server does."""
    data = photograph(orientation, kind)
    upright = ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB")
    assert np.array_equal(pixels(data), np.asarray(upright))
    assert read_picture(data).size == ((32, 64) if orientation > 4 else (64, 32))


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
def test_notes_of_a_camera_that_cannot_be_read_turn_nothing() -> None:
    image = Image.new("RGB", (4, 2))
    data = file_of(image, "JPEG", exif=b"Exif\0\0MM\0*\xff\xff\xff\xff")
    assert read_picture(data).size == (4, 2)


def test_16_bit_grey_keeps_its_shades() -> None:
    ramp = np.arange(0, 65536, 257, dtype=np.uint16).reshape(16, 16)
    found = pixels(file_of(Image.fromarray(ramp)))
    assert np.array_equal(found[..., 0].ravel(), np.arange(256))
    assert np.array_equal(found[..., 0], found[..., 2])
    big_endian = Image.frombytes("I;16B", (16, 16), ramp.astype(">u2").tobytes())
    assert np.array_equal(pixels(file_of(big_endian, "TIFF")), found)
    turned = file_of(Image.fromarray(ramp[:8]), "PNG", exif=Image.Exif().tobytes())
    assert read_picture(turned).size == (16, 8)


def test_a_clear_shade_of_16_bit_grey_is_white() -> None:
    grey = Image.fromarray(np.array([[0, 65535, 300]], dtype=np.uint16))
    assert pixels(file_of(grey, transparency=300))[0, :, 0].tolist() == [0, 255, 255]


@pytest.mark.parametrize(
    ("values", "shades"),
    [
        ([0.0, 0.5, 1.0], [0, 128, 255]),
        ([0.0, 127.6, 255.0], [0, 128, 255]),
        ([0.0, 32896.0, 65535.0], [0, 128, 255]),
        ([-1.0, 0.0, 1.0], [0, 128, 255]),
        ([0.0, 5e5, 1e6], [0, 128, 255]),
        ([0.0, 0.25, 0.5], [0, 64, 128]),
        ([float("nan"), 0.0, float("inf")], [0, 0, 255]),
        ([float("nan")] * 3, [0, 0, 0]),
        ([7e30, 7e30, 7e30], [0, 0, 0]),
    ],
)
def test_floating_point_values_are_scaled(values: list[float], shades: list[int]) -> None:
    image = Image.fromarray(np.array([values], dtype=np.float32))
    found = pixels(file_of(image, "TIFF"))[0, :, 0].tolist()
    assert found == shades
    assert np.asarray(as_seen(image))[0, :, 0].tolist() == shades


def test_whole_numbers_of_32_bits_are_scaled() -> None:
    for values in ([0, 1, 1], [0, 255, 200], [0, 65535, 40000], [-5, 5, 0], [0, 10**6, 10**5]):
        found = pixels(file_of(Image.fromarray(np.array([values], dtype=np.int32)), "TIFF"))
        assert found[0, :2, 0].tolist() == [0, 255], values


def test_cmyk_palettes_and_transparency_as_pillow_has_them() -> None:
    cmyk = Image.new("CMYK", (3, 2), (255, 0, 0, 0))
    assert pixels(file_of(cmyk, "JPEG", quality=100))[0, 0].tolist() == pytest.approx(
        [0, 255, 255], abs=3
    )
    palette = Image.new("P", (2, 1), 0)
    palette.putpalette([9, 9, 9, 200, 0, 0])
    palette.putpixel((1, 0), 1)
    assert pixels(file_of(palette)).tolist() == [[[9, 9, 9], [200, 0, 0]]]
    assert pixels(file_of(palette, transparency=0)).tolist() == [[[255] * 3, [200, 0, 0]]]
    half = file_of(Image.new("LA", (1, 1), (0, 0)))
    assert pixels(half).tolist() == [[[255] * 3]]


BROKEN = {
    "cut.jpg": (
        file_of(Image.effect_noise((99, 99), 50), "JPEG")[:-999],
        "truncated.*; fetch or save the file again",
    ),
    "cut.png": (file_of(Image.effect_noise((99, 99), 50))[:-999], "fetch or save the file again"),
    "long.png": (file_of(Image.new("L", (2010, 10))), "2010 x 10 pixels, .* 200 times the shorter"),
    "high.png": (file_of(Image.new("L", (1, 201))), "1 x 201 pixels, .* 200 times the shorter"),
    "none.ppm": (b"P6 0 5 255\n", r"not an image, or one without pixels \(11 bytes\)"),
    "page.html": (b"<html>404</html>", r"not an image, .* \(16 bytes\)"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_cannot_be_shown_is_refused_with_its_reason(name: str, tmp_path: Path) -> None:
    data, message = BROKEN[name]
    with pytest.raises(PictureError, match=message):
        read_picture(data)
    with pytest.raises(PictureError, match=message):
        as_sent(data)
    path = tmp_path / name
    path.write_bytes(data)
    with pytest.raises(PictureError, match=message):
        read_picture(path)
    path.unlink()
    with pytest.raises(PictureError, match="No such file"):
        read_picture(path)


def test_a_colour_mode_that_cannot_be_rgb_is_refused() -> None:
    with pytest.raises(PictureError, match=r"of colour mode La .*; save it as RGB"):
        as_seen(Image.new("La", (2, 2)))


def test_the_longest_picture_is_200_times_as_long_as_wide() -> None:
    assert read_picture(file_of(Image.new("L", (2000, 10)))).size == (2000, 10)


def test_every_row_with_a_broken_picture_is_named_with_the_file(tmp_path: Path) -> None:
    path = tmp_path / "7.jpg"
    path.write_bytes(BROKEN["cut.jpg"][0])
    good = photograph()
    items = [Item("a", "?", images=(good, path)), Item("b", "?", images=(good,)), Item("c", "?")]
    items += [Item(f"d{n}", "?", images=(BROKEN["high.png"][0],)) for n in range(6)]
    found = broken(items)
    assert list(found) == ["a", *(f"d{n}" for n in range(6))]
    assert found["a"].startswith("7.jpg: image file is truncated")
    with pytest.raises(DataError) as error:
        refuse_broken(items)
    said = str(error.value)
    assert said.startswith("7 rows have pictures that cannot be shown to a model: 'a' (7.jpg: ")
    assert said.endswith("; and 2 more.")
    refuse_broken(items[1:3])


@pytest.mark.parametrize(
    "data",
    [
        photograph(),
        photograph(1),
        file_of(Image.new("RGB", (3, 3), "red")),
        file_of(Image.new("L", (3, 3), 7)),
        file_of(Image.new("P", (3, 3))),
        file_of(Image.new("1", (3, 3))),
    ],
)
def test_a_server_gets_the_file_itself_where_all_see_the_same_in_it(data: bytes) -> None:
    kind, sent = as_sent(data)
    assert sent == data
    assert kind == ("image/jpeg" if data.startswith(b"\xff\xd8") else "image/png")


@pytest.mark.parametrize(
    "data",
    [
        *(photograph(n) for n in range(2, 9)),
        file_of(Image.fromarray(np.full((3, 3), 999, np.uint16))),
        file_of(Image.fromarray(np.full((3, 3), 0.5, np.float32)), "TIFF"),
        file_of(Image.new("CMYK", (3, 3), (9, 0, 0, 0)), "JPEG"),
        file_of(Image.new("RGBA", (3, 3), (9, 0, 0, 99))),
        file_of(Image.new("P", (3, 3)), transparency=0),
        file_of(Image.new("RGB", (3, 3), "red"), "BMP"),
        file_of(Image.new("RGB", (3, 3), "red"), "WEBP"),
    ],
)
def test_else_a_server_gets_the_pixels_that_the_other_engines_see(data: bytes) -> None:
    """What a server makes of the PNG is what is in it: no orientation, no alpha, 8 bits."""
    kind, sent = as_sent(data)
    assert kind == "image/png"
    opened = Image.open(io.BytesIO(sent))
    assert (opened.format, opened.mode) == ("PNG", "RGB")
    assert dict(opened.getexif()) == {}
    assert np.array_equal(np.asarray(opened), pixels(data))
