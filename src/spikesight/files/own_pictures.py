"""A mark in the pictures that predict writes, so that it does not take them for photos."""

from __future__ import annotations

import warnings
from pathlib import Path

OWN_MARK = "spikesight predict"
"""Text of a PNG's "Software" and of the comment of a GIF, JPEG or video."""

MARKED = frozenset({".png", ".gif", ".jpg", ".jpeg"})
"""Endings of pictures that bear it."""


def is_own_picture(path: Path) -> bool:
    """Whether a PNG, GIF or JPEG is marked as written by predict; only its header is read."""
    from PIL import Image

    if path.suffix.lower() not in MARKED or not path.is_file():
        return False
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with Image.open(path, formats=("PNG", "GIF", "JPEG")) as image:
                marks = (image.info.get("Software"), image.info.get("comment"))
        except Exception:  # whoever reads it says what is wrong with it
            return False
    return OWN_MARK in marks or OWN_MARK.encode() in marks
