"""Images that are no images, lie about themselves, or are odd but sound."""

from __future__ import annotations

import io
import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from spikesight.data import CorruptImageError, DataError
from spikesight.data.photos.decoding import decode, is_lossy, open_image, size_of_webp
from spikesight.data.photos.preprocessing import Preprocessing, cut_thin, fit
from spikesight.data.prediction import find_images
from spikesight.files.limits import IMAGE_BYTES, IMAGE_PIXELS

from .image_files import encode

POSTSCRIPT = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 20 20\n%%EndComments\n{} loop\n%%EOF\n"


def reader() -> Preprocessing:
    return Preprocessing(16, 3, (0.5,) * 3, (0.5,) * 3)


@pytest.mark.parametrize(
    "content",
    [
        POSTSCRIPT,
        b"/* XPM */\nstatic char * x[] = {\n",
        b"#FIG 3.2\n",
        b"\0\0\1\0\1\0\x10\x10\0\0\1\0\x20\0\x68\4\0\0\x16\0\0\0",  # an icon
        b"qoif\0\0\0\1\0\0\0\1\3\0",
        b"8BPS\0\1\0\0\0\0\0\0\0\3\0\0\0\1\0\0\0\1\0\x08\0\3",  # Photoshop
    ],
)
def test_other_formats_are_refused_whatever_their_name(
    tmp_path: Path, content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Pillow gives PostScript to Ghostscript.
    ghostscript = tmp_path / "gs"
    ghostscript.write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\n")
    ghostscript.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    (tmp_path / "cat.png").write_bytes(content)
    with pytest.raises(CorruptImageError, match=r"cat\.png: not a readable image.*none of JPEG"):
        reader().read_file(tmp_path / "cat.png")
    assert not (tmp_path / "ran").exists()


def png_of(width: int, height: int) -> bytes:
    """The head of a PNG that states a size."""
    content = bytearray(encode())
    content[16:24] = struct.pack(">II", width, height)
    content[29:33] = struct.pack(">I", zlib.crc32(bytes(content[12:29])))
    return bytes(content)


@pytest.mark.parametrize("size", [(1 << 15, 1 << 13), (100_000, 100_000)])
def test_stated_sizes_are_limited_before_decoding(
    size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(CorruptImageError, match=rf"b\.png: .*{IMAGE_PIXELS.variable}"):
        decode(png_of(*size), "b.png", 3)
    monkeypatch.setenv(IMAGE_PIXELS.variable, str(10**11))
    # The pixels are missing, but the size is no obstacle any more.
    with pytest.raises(CorruptImageError, match=r"b\.png: not a readable image"):
        open_image(png_of(1 << 14, 20_000), "b.png")
    assert Image.MAX_IMAGE_PIXELS is not None


def test_limits_hold_for_the_pixels_and_bytes_of_sound_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(IMAGE_PIXELS.variable, "119")
    for kind in ("PNG", "WEBP", "GIF", "PPM"):
        with pytest.raises(CorruptImageError, match="x: 120 pixels are more than the 119"):
            decode(encode(kind=kind), "x", 3)
    monkeypatch.setenv(IMAGE_BYTES.variable, "10")
    (tmp_path / "x.png").write_bytes(encode())
    with pytest.raises(CorruptImageError, match=rf"x\.png: .*{IMAGE_BYTES.variable}"):
        reader().read_file(tmp_path / "x.png")


def test_webp_states_its_size_and_losses() -> None:
    image = Image.new("RGB", (120, 75), (9, 99, 200))
    for options, lossy in (({"lossless": True}, False), ({"quality": 70}, True)):
        for more in ({}, {"exif": b"Exif\0\0II*\0\x08\0\0\0\0\0\0\0\0\0"}):
            stream = io.BytesIO()
            image.save(stream, "WEBP", **options, **more)
            assert size_of_webp(stream.getvalue()) == (120, 75)
            assert is_lossy(stream.getvalue(), open_image(stream.getvalue(), "x")) == lossy
    assert size_of_webp(encode()) is None
    stream = io.BytesIO()
    image.save(stream, "WEBP", save_all=True, append_images=[image.rotate(90)], quality=70)
    assert is_lossy(stream.getvalue(), open_image(stream.getvalue(), "x"))


def exif_block(*entries: tuple[int, int, int, bytes]) -> bytes:
    body, extra = b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<H", len(entries)), b""
    place = 8 + 2 + 12 * len(entries) + 4
    for tag, kind, count, value in entries:
        inline = value.ljust(4, b"\0")
        if len(value) > 4:
            inline, extra = struct.pack("<I", place + len(extra)), extra + value
        body += struct.pack("<HHI", tag, kind, count) + inline
    return body + struct.pack("<I", 0) + extra


TURNED = (0x0112, 3, 1, struct.pack("<H", 6))


@pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow's of damaged EXIF blocks
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize(
    ("exif", "size"),
    [
        (exif_block(TURNED, (0x011A, 10, 1, struct.pack("<ii", -1, 0))), (4, 8)),
        (exif_block((0x0111, 9, 1, struct.pack("<i", -5)), TURNED), (4, 8)),
        (exif_block(TURNED, (0x9003, 2, 9, b"\xff\xfe\0no date")), (4, 8)),
        (exif_block(TURNED, (0x8769, 4, 1, struct.pack("<I", 1 << 31))), (4, 8)),
        (exif_block((0x0112, 2, 3, b"six")), (8, 4)),
        (exif_block((0x0112, 3, 1, struct.pack("<H", 99))), (8, 4)),
        (exif_block((0x0112, 12, 1, struct.pack("<d", float("nan")))), (8, 4)),
        (b"Exif\0\0no tags at all", (8, 4)),
        (b"Exif\0\0II*\0\xff\xff\xff\xff", (8, 4)),
    ],
)
def test_odd_exif_blocks_leave_the_photo(kind: str, exif: bytes, size: tuple[int, int]) -> None:
    stream = io.BytesIO()
    Image.new("RGB", (8, 4)).save(stream, kind, exif=exif)
    assert decode(stream.getvalue(), "photo", 3).size == size


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    ("mode", "clear", "other"),
    [("RGB", (9, 9, 9), (8, 9, 9)), ("L", 9, 8), ("P", 0, 1), ("1", 0, 1)],
)
def test_one_rule_for_one_transparent_colour(
    mode: str, clear: object, other: object, channels: int
) -> None:
    def png(colour: object) -> bytes:
        image = Image.new(mode, (4, 4), colour)  # type: ignore[arg-type]
        if mode == "P":
            image.putpalette([1, 2, 3, 4, 5, 6])
        stream = io.BytesIO()
        image.save(stream, "PNG", transparency=clear)
        return stream.getvalue()

    with pytest.raises(DataError, match="x: has transparent pixels"):
        decode(png(clear), "x", channels)
    assert decode(png(other), "x", channels).mode == ("L" if channels == 1 else "RGB")


def test_a_transparent_colour_of_16_bits_is_named() -> None:
    stream = io.BytesIO()
    Image.new("I;16", (4, 4), 900).save(stream, "PNG", transparency=900)
    with pytest.raises(DataError, match="x: pixels of type"):
        decode(stream.getvalue(), "x", 3)


@pytest.mark.parametrize("size", [(30_000, 1), (1, 30_000), (20_001, 2)])
def test_thin_images_lose_their_ends_first(size: tuple[int, int]) -> None:
    image = Image.new("RGB", size)
    assert max(cut_thin(image).size) <= 33
    assert fit(image, 32).size == (32, 32)
    tensor = torch.arange(size[0] * size[1]).view(1, *size)
    middle = cut_thin(tensor)
    # As much is lost at one end as at the other.
    assert int(middle.flatten()[0]) + int(middle.flatten()[-1]) == int(tensor.numel()) - 1
    assert cut_thin(torch.empty(3, 160, 10)).shape == (3, 160, 10)


def test_wide_images_are_fitted_as_before() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (10, 160, 3), np.uint8)
    image = Image.fromarray(pixels)
    left = (16 * 20 - 20) // 2
    whole = image.resize((16 * 20, 20), Image.Resampling.BICUBIC)
    assert fit(image, 20).tobytes() == whole.crop((left, 0, left + 20, 20)).tobytes()


@pytest.mark.skipif(os.name == "nt", reason="Windows has neither")
def test_prediction_names_what_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "gone.png").symlink_to("nothing")
    assert [path.name for path in find_images(tmp_path)] == ["gone.png", "pipe.png"]
    for name, kind in (("pipe", "named pipe"), ("gone", "No such file")):
        (path,) = find_images(tmp_path / f"{name}.png")
        with pytest.raises(CorruptImageError, match=kind):
            reader().read_file(path)
