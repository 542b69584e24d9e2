"""What pipelines are called with: photos as paths, PIL images and arrays, alone or in lists."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from PIL import Image

from spikesight.data.photos.decoding import decode, read_image_file, to_plain_opened
from spikesight.errors import UserError
from spikesight.files.names import show

_ITEMS = "pass a file's path, a PIL image or a uint8 array [H, W] or [H, W, 3], or a list of such"


def listed(inputs: Any) -> tuple[list[Any], bool]:
    """The inputs, and whether it is a single one."""
    alone = not isinstance(inputs, list | tuple)
    return [inputs] if alone else list(inputs), alone


def called(item: Any, number: int) -> str:
    """What messages call an input."""
    if not isinstance(item, str | os.PathLike):
        return f"input {number}"
    text = os.fspath(item)
    if "://" in text:
        raise UserError(f"{show(text)} is an address, and nothing is fetched; pass a file here")
    return text


def photo(item: Any, name: str, channels: int) -> Image.Image:
    """One photo as `spikesight predict` reads it, whatever form it is given in."""
    if isinstance(item, str | os.PathLike):
        return decode(read_image_file(item), name, channels)
    if isinstance(item, np.ndarray):
        if item.dtype != np.uint8 or item.ndim not in (2, 3) or item.shape[2:] not in ((), (3,)):
            raise UserError(
                f"{name} is an array {list(item.shape)} of {item.dtype}; pass uint8 [H, W] (grey) "
                "or [H, W, 3] (RGB), 0 to 255"
            )
        # Pillow takes no array without a row.
        item = Image.fromarray(item) if item.size else Image.new("L", (0, 0))
    if not isinstance(item, Image.Image):
        raise UserError(f"{name} is a {type(item).__name__}; {_ITEMS}")
    return to_plain_opened(item, name, channels)
