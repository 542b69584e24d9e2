"""Pictures to try a model on, where its data come along."""

from __future__ import annotations

from PIL import Image

from spikesight.app.viewers import Viewer
from spikesight.data.photos.digits import read_digits
from spikesight.data.segmentation import read_scenes
from spikesight.reports.pictures import as_image

_SCENES = 16
_SIDE = 112  # pixels of an enlarged digit
_SCENES_OF_DIGITS = "digit_scenes"
_WITH_DIGITS = ("digits", "drawn_digits")


def has_examples(viewer: Viewer) -> bool:
    """Whether there are pictures to try a model on: those of digits."""
    return _form(viewer) in (_SCENES_OF_DIGITS, *_WITH_DIGITS)


def example(viewer: Viewer, number: int) -> Image.Image:
    """A picture like those that a model learned from, RGB.

    Args:
        viewer: Of the model, of which `has_examples` is true.
        number: Which; any.
    """
    if _form(viewer) in _WITH_DIGITS:
        digits = read_digits()
        picture = as_image(digits.images[number * 97 % len(digits.images)]).convert("RGB")
        return picture.resize((_SIDE, _SIDE), Image.Resampling.BICUBIC)
    card = viewer.card.with_data({"validation_scenes": _SCENES, "workers": 0})
    return as_image(read_scenes(card.data, "val").read(number % _SCENES).image)


def _form(viewer: Viewer) -> str:
    return str(getattr(viewer.card.data, "format", ""))
