"""From the bytes of an image file to grey or colour pixels, or an error that names the file."""

from __future__ import annotations

import io

from PIL import Image, ImageOps

from spikesight.data.errors import CorruptImageError, DataError

IMAGE_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".ppm", ".pgm", ".tif", ".tiff"}
)
_PLAIN_MODES = frozenset({"1", "L", "RGB", "CMYK", "YCbCr"})


def decode(encoded: bytes, name: str, channels: int) -> Image.Image:
    """Decodes one image wholly and converts it to grey or colour.

    Grey becomes colour by repeating it, colour becomes grey as ITU-R 601 luma, palettes, CMYK
    and YCbCr become RGB, an alpha channel is dropped where it is opaque everywhere, and a
    camera's orientation mark is applied. Of an animation the first picture is taken.

    Args:
        encoded: Content of the file.
        name: What error messages call it.
        channels: 1 (mode L) or 3 (mode RGB).

    Returns:
        An image of mode L or RGB.

    Raises:
        CorruptImageError: The bytes are no image, or a truncated or damaged one.
        DataError: Transparent pixels, or more than 8 bits per channel.
    """
    try:
        image: Image.Image = Image.open(io.BytesIO(encoded))
        image.load()
        if "exif" in image.info:
            image = ImageOps.exif_transpose(image)
    # Pillow's many decoders raise whatever their format's parser ran into.
    except Exception as error:
        raise CorruptImageError(
            f"{name}: not a readable image ({error}); replace or remove it, or pass "
            "--on-corrupt skip (data.on_corrupt: skip) to leave such images out"
        ) from error
    target = "L" if channels == 1 else "RGB"
    if image.mode == target:
        return image
    if image.mode == "P" and "transparency" not in image.info:
        image = image.convert("RGB")
    elif image.mode in ("P", "PA", "LA", "La", "RGBA", "RGBa") or "transparency" in image.info:
        image = _without_alpha(image.convert("RGBA"), name)
    elif image.mode not in _PLAIN_MODES:
        raise DataError(
            f"{name}: pixels of type {image.mode!r} have no safe conversion to 8 bits; "
            "convert the file to 8-bit grey or RGB"
        )
    return image.convert(target)


def _without_alpha(image: Image.Image, name: str) -> Image.Image:
    lowest, _ = image.getchannel("A").getextrema()
    assert isinstance(lowest, int)
    if lowest < 255:
        raise DataError(
            f"{name}: has transparent pixels, and no background is given for them; "
            "flatten it to RGB on the background that you mean"
        )
    return image.convert("RGB")
