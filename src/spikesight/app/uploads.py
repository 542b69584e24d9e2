"""From an uploaded file or a drawing to pixels or events, or a sentence that says what is wrong."""

from __future__ import annotations

import base64
import binascii
from pathlib import Path

from PIL import Image
from PIL.ImageFile import ImageFile

from spikesight.data.errors import CorruptImageError
from spikesight.data.photos.decoding import IMAGE_SUFFIXES, open_image, to_plain
from spikesight.errors import UserError
from spikesight.files.limits import UPLOAD_BYTES, UPLOAD_PIXELS
from spikesight.files.names import show
from spikesight.files.opening import read_bytes

_ANOTHER = "choose another photo"
_PNG = "data:image/png;base64,"
_LARGEST_DRAWING = 1 << 20  # characters
_INK_SHARE = 0.8  # of the side of a picture that a centred drawing covers
_FAINT = 32  # up to this, ink is the rim of a stroke


def read_photo(path: Path) -> Image.Image:
    """An uploaded photo, RGB and upright; what is transparent is shown on white.

    Args:
        path: The upload, of whose path messages name the last part alone.

    Raises:
        CorruptImageError: It is no image, damaged, or has too many bytes or pixels.
        DataError: Its kind of pixels cannot be converted.
    """
    name = path.name

    def check(image: ImageFile) -> None:
        UPLOAD_PIXELS.check(image.width * image.height, show(name), CorruptImageError)

    try:
        encoded = read_bytes(path, UPLOAD_BYTES, CorruptImageError)
    except UserError as error:
        raise without_folder(error, path) from error
    image = open_image(encoded, name, "photo", _ANOTHER, check)
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        exif = image.info.get("exif")
        ground = Image.new("RGBA", image.size, "white")
        ground.alpha_composite(image.convert("RGBA"))
        image = ground.convert("RGB")
        if exif is not None:
            image.info["exif"] = exif
    return to_plain(image, name, 3)


def read_drawing(address: object) -> Image.Image:
    """A drawing, white on black.

    Args:
        address: A PNG as a data address; ink is what is opaque.

    Returns:
        A picture of mode L, square, its ink centred as in sets of handwriting.

    Raises:
        UserError: It is none, too large, or nothing is drawn.
    """
    if not isinstance(address, str) or not address.startswith(_PNG):
        raise UserError("the drawing did not arrive; draw again")
    if len(address) > _LARGEST_DRAWING:
        raise UserError(f"the drawing has more than {_LARGEST_DRAWING:,} bytes; draw less")
    try:
        encoded = base64.b64decode(address.removeprefix(_PNG), validate=True)
    except (binascii.Error, ValueError) as error:
        raise UserError("the drawing did not arrive whole; draw again") from error

    def check(image: ImageFile) -> None:
        UPLOAD_PIXELS.check(image.width * image.height, "the drawing", CorruptImageError)

    image = open_image(encoded, "the drawing", "drawing", "draw again", check)
    return centred(image.convert("RGBA").getchannel("A"))


def centred(ink: Image.Image) -> Image.Image:
    """Ink in the middle of a square that it nearly fills.

    Args:
        ink: Mode L, white on black.

    Raises:
        UserError: If there is none.
    """
    box = ink.point(lambda value: 255 if value > _FAINT else 0).getbbox()
    if box is None:
        raise UserError("nothing is drawn yet; draw something first")
    cut = ink.crop(box)
    side = round(max(cut.size) / _INK_SHARE)
    square = Image.new("L", (side, side), 0)
    square.paste(cut, ((side - cut.width) // 2, (side - cut.height) // 2))
    return square


def is_photo(path: Path) -> bool:
    """Whether a file's name ends as photos do."""
    return path.suffix.lower() in IMAGE_SUFFIXES


def without_folder(error: UserError, path: Path) -> UserError:
    """The same mistake, without the folder in which uploads are kept."""
    return type(error)(str(error).replace(f"{path.parent}/", ""))
