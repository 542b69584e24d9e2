"""From the bytes of an image file to grey or colour pixels, or an error that names the file."""

from __future__ import annotations

import io
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from PIL import Image, UnidentifiedImageError
from PIL.ImageFile import ImageFile

from spikesight.data.errors import CorruptImageError, DataError
from spikesight.files.limits import IMAGE_BYTES, IMAGE_PIXELS
from spikesight.files.names import show
from spikesight.files.opening import read_bytes

IMAGE_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".ppm", ".pgm", ".tif", ".tiff"}
)
# Pillow knows many more, some of which start other programs or read other files.
_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "PPM", "TIFF")
_PLAIN_MODES = frozenset({"1", "L", "RGB", "CMYK", "YCbCr"})
_ALPHA_MODES = frozenset({"PA", "LA", "La", "RGBA", "RGBa"})
_ORIENTATION = 0x0112
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_SKIPPING = (
    "replace or remove it, or pass --on-corrupt skip (data.on_corrupt: skip) to leave such images "
    "out"
)
_pillows_limit = threading.Lock()


def read_image_file(path: str | os.PathLike[str]) -> bytes:
    """The content of an image file.

    Raises:
        CorruptImageError: It cannot be opened, is no regular file, or is larger than the limit.
    """
    return read_bytes(path, IMAGE_BYTES, CorruptImageError)


@contextmanager
def _readable(name: str, kind: str, remedy: str) -> Iterator[None]:
    """Turns whatever Pillow raises into an error that names the file."""
    try:
        yield
    except DataError:
        raise
    # Pillow's many decoders raise whatever their format's parser ran into.
    except Exception as error:
        reason = str(error)
        if isinstance(error, UnidentifiedImageError):
            reason = f"its content is none of {', '.join(_FORMATS)}"
        raise CorruptImageError(
            f"{show(name)}: not a readable {kind} ({show(reason)}); {remedy}"
        ) from error


def read_head(encoded: bytes, name: str, kind: str = "image", remedy: str = _SKIPPING) -> ImageFile:
    """Reads what an image file says of itself, without its pixels.

    Args:
        encoded: Content of the file.
        name: What error messages call it.
        kind: What it should be, for the message.
        remedy: What helps if it is none, for the message.

    Returns:
        An image whose pixels are decoded when they are asked for.

    Raises:
        CorruptImageError: The bytes are no JPEG, PNG, WebP, BMP, GIF, PPM or TIFF image, or one
            with more pixels than the limit.
    """
    with _readable(name, kind, remedy):
        return _open(encoded, name)


def open_image(
    encoded: bytes,
    name: str,
    kind: str = "image",
    remedy: str = _SKIPPING,
    check: Callable[[ImageFile], None] | None = None,
) -> Image.Image:
    """Decodes one image wholly, without changing a value; of an animation the first picture.

    Args:
        encoded: Content of the file.
        name: What error messages call it.
        kind: What it should be, for the message.
        remedy: What helps if it is none, for the message.
        check: Looks at the image before its pixels are decoded; may raise DataError.

    Returns:
        An image of any of Pillow's modes.

    Raises:
        CorruptImageError: As for `read_head`, or the image is truncated or damaged.
    """
    with _readable(name, kind, remedy):
        image = _open(encoded, name)
        if check is not None:
            check(image)
        image.load()
        # Some formats find out here how large they are.
        IMAGE_PIXELS.check(image.width * image.height, show(name), CorruptImageError)
        return image


def to_plain_opened(image: Image.Image, name: str, channels: int) -> Image.Image:
    """As `to_plain`, of an image whose file may not be decoded yet; with `decode`'s errors."""
    if not image.width * image.height:
        raise DataError(f"{show(name)}: has no pixel; pass an image that has some")
    with _readable(name, "image", "pass another"):
        IMAGE_PIXELS.check(image.width * image.height, show(name), CorruptImageError)
        image.load()  # some formats keep the orientation mark behind the pixels
    return to_plain(image, name, channels)


def _open(encoded: bytes, name: str) -> ImageFile:
    """Reads the head alone and checks the size that it states."""
    webp = size_of_webp(encoded)
    if webp is not None:
        # Older versions of Pillow make room for its pixels at once.
        IMAGE_PIXELS.check(webp[0] * webp[1], show(name), CorruptImageError)
    try:
        image = Image.open(io.BytesIO(encoded), formats=_FORMATS)
    except Image.DecompressionBombError as error:
        assert Image.MAX_IMAGE_PIXELS is not None
        if IMAGE_PIXELS.value <= 2 * Image.MAX_IMAGE_PIXELS:
            raise CorruptImageError(IMAGE_PIXELS.message(show(name))) from error
        with _pillows_limit:
            before, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
            try:
                image = Image.open(io.BytesIO(encoded), formats=_FORMATS)
            finally:
                Image.MAX_IMAGE_PIXELS = before
    IMAGE_PIXELS.check(image.width * image.height, show(name), CorruptImageError)
    return image


def size_of_webp(encoded: bytes) -> tuple[int, int] | None:
    """Width and height that the head of a WebP file states; None of another file."""
    if encoded[:4] != b"RIFF" or encoded[8:12] != b"WEBP" or len(encoded) < 30:
        return None
    match encoded[12:16]:
        case b"VP8X":
            return (
                1 + int.from_bytes(encoded[24:27], "little"),
                1 + int.from_bytes(encoded[27:30], "little"),
            )
        case b"VP8L":
            bits = int.from_bytes(encoded[21:25], "little")
            return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
        case b"VP8 ":
            return (
                int.from_bytes(encoded[26:28], "little") & 0x3FFF,
                int.from_bytes(encoded[28:30], "little") & 0x3FFF,
            )
        case _:
            return None


def is_lossy(encoded: bytes, image: Image.Image) -> bool:
    """Whether an image file is compressed so that pixels change: a JPEG, or like one inside."""
    if image.format == "WEBP":
        start = 12
        while start + 8 <= len(encoded):
            if encoded[start : start + 4] == b"ANMF":  # a picture of an animation
                start += 24
                continue
            if encoded[start : start + 4] == b"VP8 ":
                return True
            size = int.from_bytes(encoded[start + 4 : start + 8], "little")
            start += 8 + size + size % 2
        return False
    if image.format == "TIFF":
        return str(image.info.get("compression")) in ("jpeg", "tiff_jpeg", "webp")
    return image.format in ("JPEG", "MPO")


def decode(encoded: bytes, name: str, channels: int) -> Image.Image:
    """Decodes one image wholly and converts it to grey or colour.

    Grey becomes colour by repeating it, colour becomes grey as ITU-R 601 luma, palettes, CMYK
    and YCbCr become RGB, transparency is dropped where no pixel is transparent, and a camera's
    orientation mark is applied. Of an animation the first picture is taken.

    Args:
        encoded: Content of the file.
        name: What error messages call it.
        channels: 1 (mode L) or 3 (mode RGB).

    Returns:
        An image of mode L or RGB.

    Raises:
        CorruptImageError: The bytes are no image, or a truncated or damaged one, or one with more
            pixels than the limit.
        DataError: Transparent pixels, or more than 8 bits per channel.
    """
    return to_plain(open_image(encoded, name), name, channels)


def to_plain(image: Image.Image, name: str, channels: int) -> Image.Image:
    """Converts an image of any kind to grey or colour, upright, as `decode` does.

    Args:
        image: One of Pillow's.
        name: What error messages call it.
        channels: 1 (mode L) or 3 (mode RGB).

    Raises:
        DataError: Transparent pixels, or more than 8 bits per channel.
    """
    image = _upright(image)
    target = "L" if channels == 1 else "RGB"
    if image.mode in _ALPHA_MODES or (
        "transparency" in image.info and image.mode in _PLAIN_MODES | {"P"}
    ):
        opaque = _opaque(image, name)
        image = image if image.mode == target else opaque.convert("RGB")
    elif image.mode == "P":
        image = image.convert("RGB")
    elif image.mode not in _PLAIN_MODES:
        raise DataError(
            f"{show(name)}: pixels of type {image.mode!r} have no safe conversion to 8 bits; "
            "convert the file to 8-bit grey or RGB"
        )
    return image if image.mode == target else image.convert(target)


def _upright(image: Image.Image) -> Image.Image:
    """Turns a photo as its camera's orientation mark says, whatever else its EXIF block holds."""
    if "exif" not in image.info:
        return image
    try:
        orientation = image.getexif().get(_ORIENTATION)
    except Exception:  # a block that is no EXIF turns nothing
        return image
    turn = _TURNS.get(orientation) if isinstance(orientation, int) else None
    return image if turn is None else image.transpose(turn)


def _opaque(image: Image.Image, name: str) -> Image.Image:
    """The image as RGBA without a transparent pixel."""
    try:
        rgba = image if image.mode == "RGBA" else image.convert("RGBA")
    except Exception as error:  # a transparent colour of another kind than the pixels
        raise CorruptImageError(
            f"{show(name)}: not a readable image ({show(str(error))}); {_SKIPPING}"
        ) from error
    lowest, _ = rgba.getchannel("A").getextrema()
    assert isinstance(lowest, int)
    if lowest < 255:
        raise DataError(
            f"{show(name)}: has transparent pixels, and no background is given for them; "
            "flatten it to RGB on the background that you mean"
        )
    return rgba
