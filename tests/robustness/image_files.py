"""Damaged image files of every format, read as a photo and as a mask."""

from __future__ import annotations

import io
import struct
import zlib
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from spikesight.data.photos.decoding import decode
from spikesight.data.photos.preprocessing import Preprocessing
from spikesight.data.segmentation.files import (
    read_colour_mask,
    read_index_mask,
    read_mask,
    read_photo,
)
from tests.robustness.damage import INTEGERS, Damage
from tests.robustness.guard import Trial, UnsoundError

PREPROCESSING = Preprocessing(16, 3, (0.5,) * 3, (0.5,) * 3)
GREY = Preprocessing(16, 1, (0.5,), (0.5,))
# Format, mode, suffix, and options of Pillow.
_KINDS: list[tuple[str, str, str, dict[str, Any]]] = [
    *(("PNG", mode, ".png", {}) for mode in ("1", "L", "P", "RGB", "RGBA", "LA", "I;16")),
    ("PNG", "P", ".png", {"transparency": 3}),
    *(("JPEG", mode, ".jpg", {}) for mode in ("L", "RGB", "CMYK")),
    ("JPEG", "RGB", ".jpeg", {"progressive": True}),
    ("WEBP", "RGB", ".webp", {}),
    ("WEBP", "RGBA", ".webp", {"lossless": True}),
    *(("BMP", mode, ".bmp", {}) for mode in ("1", "L", "P", "RGB")),
    ("GIF", "P", ".gif", {}),
    ("GIF", "P", ".gif", {"save_all": True}),
    ("PPM", "RGB", ".ppm", {}),
    ("PPM", "L", ".pgm", {}),
    *(("TIFF", mode, ".tif", {}) for mode in ("1", "L", "P", "RGB", "CMYK", "I;16", "F")),
    ("TIFF", "RGB", ".tiff", {"compression": "tiff_lzw"}),
    ("TIFF", "RGB", ".tiff", {"compression": "tiff_adobe_deflate"}),
    ("TIFF", "L", ".tif", {"compression": "packbits"}),
    # Formats that no reader promises, under names of some that are.
    *((kind, "RGB", ".png", {}) for kind in ("EPS", "PDF", "TGA", "PCX", "SGI", "ICO", "DDS")),
    *((kind, "RGB", ".jpg", {}) for kind in ("IM", "MSP", "JPEG2000", "SPIDER", "XBM", "AVIF")),
]

Image.init()
_KINDS = [kind for kind in _KINDS if kind[0] in Image.SAVE]


@cache
def sound_image(kind: int, size: tuple[int, int] = (20, 18)) -> bytes:
    """An image file of a kind."""
    name, mode, _, options = _KINDS[kind]
    pixels = np.random.default_rng(kind).integers(0, 256, (size[1], size[0], 3), np.uint8)
    image = Image.fromarray(pixels)
    if mode == "I;16":
        image = Image.fromarray(pixels[..., 0].astype(np.uint16) * 200)
    elif mode == "F" or name == "SPIDER":
        image = Image.fromarray(pixels[..., 0].astype(np.float32))
    elif mode == "RGBA":
        image.putalpha(255)
    elif mode == "LA":
        image = Image.merge("LA", (image.convert("L"), Image.new("L", size, 255)))
    else:
        image = image.convert("1" if name in ("MSP", "XBM") else mode)
    if options.get("save_all"):
        options = options | {"append_images": [image.transpose(Image.Transpose.ROTATE_180)]}
    stream = io.BytesIO()
    image.save(stream, name, **options)
    return stream.getvalue()


def damaged_image(damage: Damage, kind: int | None = None) -> tuple[bytes, str]:
    """The content of an image file, and its suffix."""
    if damage.none:
        return sound_image(3), ".png"
    random = damage.random
    kind = random.randrange(len(_KINDS)) if kind is None else kind
    name, _, suffix, _ = _KINDS[kind]
    content = sound_image(kind)
    damage.note(f"{name} {_KINDS[kind][1]}")
    if random.random() < 0.05:
        return content, suffix
    if random.random() < 0.08:
        return random.choice(_FOREIGN), suffix
    structured = {"PNG": _png, "TIFF": _tiff, "BMP": _bmp, "PPM": _ppm, "JPEG": _jpeg, "GIF": _gif}
    if name in structured and random.random() < 0.6:
        return structured[name](content, damage), suffix
    return damage.bytes(content), suffix


_FOREIGN = [
    b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 20 20\n%%EndComments\n{} loop\n%%EOF\n",
    b"<?xml version='1.0'?><svg xmlns='http://www.w3.org/2000/svg' width='9' height='9'/>",
    b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 12345\n",
    b"<!DOCTYPE html><html><body>404</body></html>",
    b"MZ" + bytes(100),
    b"PK\3\4" + bytes(100),
    b"\x1f\x8b\x08" + bytes(100),
    b"",
    b"\0" * 5000,
]


def _chunk(kind: bytes, body: bytes) -> bytes:
    checksum = zlib.crc32(kind + body)
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", checksum)


def _png(content: bytes, damage: Damage) -> bytes:
    """PNG with right checksums around wrong content."""
    random = damage.random
    chunks: list[tuple[bytes, bytes]] = []
    at = 8
    while at < len(content):
        length = int.from_bytes(content[at : at + 4], "big")
        chunks.append((content[at + 4 : at + 8], content[at + 8 : at + 8 + length]))
        at += 12 + length
    zeros = zlib.compress(bytes(1 << 22), 9) * 1

    def head() -> None:
        fields = list(struct.unpack(">IIBBBBB", chunks[0][1]))
        place = random.randrange(7)
        fields[place] = random.choice(INTEGERS) % (2**32 if place < 2 else 256)
        damage.note(f"field {place} = {fields[place]}")
        chunks[0] = (chunks[0][0], struct.pack(">IIBBBBB", *fields))

    def more(kind: bytes, body: bytes) -> None:
        chunks.insert(random.randrange(1, len(chunks)), (kind, body))

    def inside() -> None:
        place = random.randrange(len(chunks))
        chunks[place] = (chunks[place][0], damage.bytes(chunks[place][1]))

    damage.one_of(
        head=head,
        huge=lambda: chunks.__setitem__(
            0, (b"IHDR", struct.pack(">IIBBBBB", 60_000, 60_000, *chunks[0][1][8:]))
        ),
        inside=inside,
        text=lambda: more(b"zTXt", b"a\0\0" + zeros),
        profile=lambda: more(b"iCCP", b"a\0\0" + zeros),
        exif=lambda: more(b"eXIf", damage.bytes(_exif(random.choice([0, 1, 6, 9, 65_535])))),
        animation=lambda: more(b"acTL", struct.pack(">II", random.choice(INTEGERS), 0)),
        lost=lambda: chunks.pop(random.randrange(len(chunks))),
        twice=lambda: chunks.insert(1, random.choice(chunks)),
        unknown=lambda: more(random.choice([b"abcd", b"ABCD", b"\0\0\0\0"]), b"x" * 10),
        transparency=lambda: more(b"tRNS", random.randbytes(random.choice([0, 1, 2, 6, 300]))),
        palette=lambda: more(b"PLTE", random.randbytes(random.choice([0, 1, 3, 768, 771]))),
    )
    return content[:8] + b"".join(_chunk(kind, body) for kind, body in chunks)


def _exif(orientation: int) -> bytes:
    entry = struct.pack("<HHIHH", 0x0112, 3, 1, orientation, 0)
    return b"II*\0\x08\0\0\0" + struct.pack("<H", 1) + entry + bytes(4)


def _tiff(content: bytes, damage: Damage) -> bytes:
    """One tag gets another type, count or value."""
    data = bytearray(content)
    at = int.from_bytes(data[4:8], "little")
    entries = int.from_bytes(data[at : at + 2], "little")
    entry = at + 2 + 12 * damage.random.randrange(max(entries, 1))
    place, size = damage.random.choice([(0, 2), (2, 2), (4, 4), (8, 4), (8, 4), (8, 2)])
    value = damage.random.choice([*INTEGERS, 3, 4, 5, 8, 12, 273, 279]) % (1 << 8 * size)
    damage.note(f"tag {data[entry : entry + 2].hex()} at {place} = {value}")
    data[entry + place : entry + place + size] = value.to_bytes(size, "little")
    if damage.hits(0.1):
        data[4:8] = damage.random.choice([8, at, 2**31]).to_bytes(4, "little")
    return bytes(data)


def _bmp(content: bytes, damage: Damage) -> bytes:
    data = bytearray(content)
    place, size = damage.random.choice(
        [(2, 4), (10, 4), (14, 4), (18, 4), (22, 4), (26, 2), (28, 2), (30, 4), (34, 4), (46, 4)]
    )
    value = damage.random.choice(INTEGERS) % (1 << 8 * size)
    damage.note(f"bytes {place} = {value}")
    data[place : place + size] = value.to_bytes(size, "little")
    return bytes(data)


def _ppm(content: bytes, damage: Damage) -> bytes:
    odd = [b"0", b"-1", b"99999", b"60000", b"x", b"1e3", b"9" * 5000, b"# a\n3", b"65536", b"\xb2"]
    head, pixels = content.split(b"\n", 3)[:3], content.split(b"\n", 3)[3]
    words = b" ".join(head).split()
    for place in range(len(words)):
        if damage.hits(0.4):
            kinds = [b"P1", b"P2", b"P3", b"P4", b"P7", b"Pf", b"PyP"] if place == 0 else odd
            words[place] = damage.random.choice(kinds)
            damage.note(f"{place} = {words[place][:20]!r}")
    return b"\n".join(words) + b"\n" + pixels


def _jpeg(content: bytes, damage: Damage) -> bytes:
    """One segment's length, place or content."""
    random = damage.random
    data = bytearray(content)
    marks = [at for at in range(len(data) - 4) if data[at] == 0xFF and 0xC0 <= data[at + 1] < 0xFF]
    at = random.choice(marks[:12])
    exif = b"Exif\0\0" + damage.bytes(_exif(random.choice([0, 6, 9])))
    damage.note(f"segment {data[at + 1]:#x}")

    def size() -> None:
        data[at + 2 : at + 4] = random.choice([0, 1, 2, 60_000, 65_535]).to_bytes(2, "big")

    def frame() -> None:
        start = next((m for m in marks if data[m + 1] in (0xC0, 0xC2)), at)
        data[start + 5 : start + 9] = random.choice([bytes(4), b"\xff" * 4, b"\0\1\0\0"])

    damage.one_of(
        size=size,
        frame=frame,
        kind=lambda: data.__setitem__(at + 1, random.randrange(0xC0, 0xFF)),
        exif=lambda: data.__setitem__(
            slice(2, 2), b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif
        ),
        pictures=lambda: data.__setitem__(
            slice(2, 2), b"\xff\xe2\0\x20MPF\0II*\0\x08\0\0\0" + random.randbytes(18)
        ),
        twice=lambda: data.extend(content),
    )
    return bytes(data)


def _gif(content: bytes, damage: Damage) -> bytes:
    data = bytearray(content)
    descriptor = data.find(b",", 13)
    place = damage.random.choice([6, 8, 10, 11, descriptor + 1, descriptor + 5, descriptor + 9])
    value = damage.random.choice([0, 1, 0xFF, 0xFFFF])
    damage.note(f"bytes {place} = {value}")
    data[place : place + 2] = value.to_bytes(2, "little")
    return bytes(data)


def _photo(damage: Damage, folder: Path) -> Trial:
    content, suffix = damaged_image(damage)
    path = folder / f"photo{suffix}"
    path.write_bytes(content)
    use = damage.random.randrange(5)

    def read() -> object:
        if use == 0:
            return check_pixels(GREY.read_file(path), (1, 16, 16))
        if use == 1:
            return check_pixels(read_photo(path), (3, None, None))
        if use == 2:
            image = decode(content, str(path), 3)
            if image.mode != "RGB" or min(image.size) < 1:
                raise UnsoundError(f"{image}")
            return image
        return check_pixels(PREPROCESSING.read_file(path), (3, 16, 16))

    return Trial(read, (path.name,), "; ".join(damage.notes))


def _mask(damage: Damage, folder: Path) -> Trial:
    # Grey and palette PNGs are what masks are.
    kind = damage.random.choice([0, 1, 2, 2, 6, 7, None])
    content, suffix = damaged_image(damage, None if damage.none else kind)
    path = folder / f"mask{suffix}"
    path.write_bytes(content)
    use = damage.random.randrange(3)

    def read() -> object:
        if use == 0 and not damage.none:
            return read_index_mask(path)
        if use == 1:
            colours = read_colour_mask(path)
            if colours.ndim != 3 or colours.shape[2] != 3:
                raise UnsoundError(f"colours of shape {colours.shape}")
            return colours
        return read_mask(path)

    return Trial(read, (path.name,), "; ".join(damage.notes))


def check_pixels(image: Tensor, shape: tuple[int | None, ...]) -> Tensor:
    """Refuses what is no image of bytes of a shape."""
    fits = all(w is None or w == n for w, n in zip(shape, image.shape, strict=True))
    if image.dtype != torch.uint8 or not fits or not image.numel():
        raise UnsoundError(f"pixels {image.dtype} {tuple(image.shape)}")
    return image


READERS = [("photos", _photo, 160), ("masks", _mask, 80)]
