"""Segments drawn over a photo, with a legend."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from spikesight.data.segmentation import ClassTable, Truth
from spikesight.errors import UserError
from spikesight.files.names import show

_OPACITY = 0.55
_LEAST_HEIGHT = 240
_VOID_INDEX = 255
_VOID_COLOUR = (224, 224, 192)  # Pascal VOC's


def draw_overlay(
    photo: Tensor,
    truth: Truth,
    classes: ClassTable,
    *,
    legend: Literal["none", "fitting", "steady"] = "fitting",
) -> Image.Image:
    """A photo with its segments in colour, white borders around objects, and a legend beside it.

    Args:
        photo: uint8 [3, H, W].
        truth: Segments of the same size; void keeps the photo's colours.
        classes: Names and colours; the legend lists the classes that occur, the largest first.
        legend: Whether there is one, and how wide: "fitting" its words, or "steady", as wide as any
            classes need, for the frames of a video.
    """
    class_map = truth.class_map()
    palette = torch.tensor(classes.colours, dtype=torch.float32)
    known = class_map >= 0
    colours = palette[class_map.clamp_min(0)].permute(2, 0, 1)
    blended = torch.where(known, (1 - _OPACITY) * photo + _OPACITY * colours, photo.float())
    borders = _borders(truth.segment_map) & torch.isin(class_map, torch.tensor(classes.things))
    blended = torch.where(borders, torch.tensor(255.0), blended)
    picture = Image.fromarray(blended.round().byte().permute(1, 2, 0).numpy())
    if picture.height < _LEAST_HEIGHT:
        factor = -(-_LEAST_HEIGHT // picture.height)
        picture = picture.resize(
            (picture.width * factor, picture.height * factor), Image.Resampling.NEAREST
        )
    if legend == "none":
        return picture
    return _with_legend(picture, class_map, classes, steady=legend == "steady")


def _borders(segment_map: Tensor) -> Tensor:
    """Pixels whose right or lower neighbour is of another segment, bool [H, W]."""
    borders = torch.zeros_like(segment_map, dtype=torch.bool)
    borders[:, :-1] |= segment_map[:, :-1] != segment_map[:, 1:]
    borders[:-1] |= segment_map[:-1] != segment_map[1:]
    return borders


def _with_legend(
    picture: Image.Image, class_map: Tensor, classes: ClassTable, *, steady: bool
) -> Image.Image:
    known = class_map[class_map >= 0]
    counts = known.bincount(minlength=len(classes))
    order = [int(n) for n in counts.argsort(descending=True) if counts[n]]
    line = max(picture.height // 26, 14)
    font = ImageFont.load_default(size=line * 0.75)
    room = picture.height // line - 1
    names = [show(name) for name in classes.names]
    texts = [f"{names[n]}  {100 * int(counts[n]) / class_map.numel():.1f} %" for n in order]
    boxes = len(order)
    if len(order) > room:
        boxes = room - 1
        texts = [*texts[:boxes], f"and {len(order) - boxes} more"]
    longest = [f"{name}  100.0 %" for name in names] if steady else texts
    width = 2 * line + max((int(font.getlength(text)) for text in longest), default=0) + line // 2
    sheet = Image.new("RGB", (picture.width + width, picture.height), "white")
    sheet.paste(picture, (0, 0))
    draw = ImageDraw.Draw(sheet)
    for row, text in enumerate(texts):
        left, top = picture.width + line // 2, line // 2 + row * line
        if row < boxes:
            box = (left, top + line * 0.15, left + line * 0.8, top + line * 0.85)
            draw.rectangle(box, fill=classes.colours[order[row]], outline="black")
        draw.text((left + line * 1.2, top), text, fill="black", font=font)
    return sheet


def class_index_image(truth: Truth, classes: ClassTable) -> Image.Image:
    """Class numbers as a palette image, which viewers show in the classes' colours; 255 is void.

    Raises:
        UserError: If there are more classes than a palette holds.
    """
    if len(classes) > _VOID_INDEX:
        raise UserError(f"{len(classes)} classes do not fit into an 8-bit image")
    numbers: NDArray[np.uint8] = (truth.class_map() % 256).byte().numpy()
    image = Image.fromarray(numbers).convert("L")
    # All 256 entries: Pillow stores fewer bits per pixel where the palette is shorter.
    unused = [(0, 0, 0)] * (_VOID_INDEX - len(classes))
    palette = [*classes.colours, *unused, _VOID_COLOUR]
    image.putpalette([value for colour in palette for value in colour])
    return image
