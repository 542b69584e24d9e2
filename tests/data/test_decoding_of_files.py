from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from spikesight.data import CorruptImageError, DataError
from spikesight.data.photos.decoding import decode

from .image_files import encode


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "BMP", "GIF", "PPM", "TIFF"])
def test_formats(kind: str) -> None:
    image = decode(encode(kind=kind), "x", 3)
    assert (image.mode, image.size) == ("RGB", (12, 10))
    assert np.abs(np.asarray(image)[5, 5].astype(int) - (200, 30, 30)).max() < 8


def test_grey_is_repeated_and_colour_becomes_luma() -> None:
    assert decode(encode(77, mode="L"), "x", 3).getpixel((0, 0)) == (77, 77, 77)
    luma = 0.299 * 200 + 0.587 * 30 + 0.114 * 30
    pixel = decode(encode(), "x", 1).getpixel((0, 0))
    assert isinstance(pixel, int)
    assert abs(pixel - luma) <= 1


@pytest.mark.parametrize(("mode", "kind"), [("1", "PNG"), ("P", "PNG"), ("CMYK", "JPEG")])
@pytest.mark.parametrize("channels", [1, 3])
def test_safe_conversions(mode: str, kind: str, channels: int) -> None:
    image = decode(encode(seed=1, mode=mode, kind=kind), "x", channels)
    assert image.mode == ("L" if channels == 1 else "RGB")


def test_an_opaque_alpha_channel_is_dropped() -> None:
    assert decode(encode((1, 2, 3, 255), mode="RGBA"), "x", 3).getpixel((0, 0)) == (1, 2, 3)


@pytest.mark.parametrize(
    ("mode", "colour"), [("RGBA", (1, 2, 3, 100)), ("LA", (9, 0)), ("I;16", 9000)]
)
def test_unsafe_conversions_are_errors_with_a_remedy(mode: str, colour: object) -> None:
    with pytest.raises(DataError, match=r"odd\.png: .*(flatten|convert)") as caught:
        decode(encode(colour, mode=mode), "odd.png", 3)
    assert not isinstance(caught.value, CorruptImageError)


def test_a_transparent_palette_is_an_error() -> None:
    stream = io.BytesIO()
    image = Image.new("P", (4, 4), 0)
    image.putpalette([1, 2, 3, 4, 5, 6])
    image.save(stream, "PNG", transparency=0)
    with pytest.raises(DataError, match=r"p\.png: has transparent pixels"):
        decode(stream.getvalue(), "p.png", 3)


def test_the_orientation_mark_is_applied() -> None:
    stream = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (12, 10)).save(stream, "JPEG", exif=exif)
    assert decode(stream.getvalue(), "x", 3).size == (10, 12)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "BMP"])
def test_truncated_files_are_named(kind: str) -> None:
    content = encode(seed=1, size=(40, 40), kind=kind)
    with pytest.raises(CorruptImageError, match=r"a/cut\.img: not a readable image.*on-corrupt"):
        decode(content[: len(content) * 2 // 3], "a/cut.img", 3)


@pytest.mark.parametrize("content", [b"", b"hello", b"\xff\xd8\xff"])
def test_no_images_at_all(content: bytes) -> None:
    with pytest.raises(CorruptImageError, match="nothing"):
        decode(content, "nothing", 3)
