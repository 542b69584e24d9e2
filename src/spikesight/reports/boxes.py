"""Boxes drawn over a photo, with masks where there are any, names and scores."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from spikesight.files.names import show
from spikesight.objects import Detections, Objects

Colour = tuple[int, int, int]
Rectangle = tuple[float, float, float, float]

# Bright and far apart; further classes take them again, in other shades.
_COLOURS: tuple[Colour, ...] = (
    (255, 99, 71),
    (64, 160, 255),
    (60, 205, 110),
    (255, 200, 40),
    (200, 110, 255),
    (0, 215, 215),
    (255, 130, 200),
    (165, 215, 60),
    (255, 150, 50),
    (135, 145, 255),
)
_LEAST_SIDE = 416  # pixels of the shorter side; labels are unreadable on smaller pictures
_LONGEST_SIDE = 4096  # pixels of an enlarged photo
_OPACITY = 0.4
_PADDING = 2


@dataclass(frozen=True)
class Marks:
    """How objects are drawn.

    Attributes:
        colours: Colour of each object.
        labels: What stands at each; empty for nothing.
        dashed: Whether outlines are dashed.
    """

    colours: Sequence[Colour]
    labels: Sequence[str]
    dashed: bool = False


def class_colour(number: int) -> Colour:
    """Colour of a class.

    Args:
        number: 0 or more.
    """
    turn, place = divmod(number, len(_COLOURS))
    shade = 1 / (1 + 0.35 * turn)
    red, green, blue = _COLOURS[place]
    return round(red * shade), round(green * shade), round(blue * shade)


def marks_of(objects: Objects | Detections, names: Sequence[str]) -> Marks:
    """Colours of the classes; names, and scores where there are some.

    Args:
        objects: What is drawn.
        names: Names of the classes.
    """
    classes = objects.classes.tolist()
    labels = [show(names[number]) for number in classes]
    if isinstance(objects, Detections):
        scored = zip(labels, objects.scores.tolist(), strict=True)
        labels = [f"{label} {score:.2f}" for label, score in scored]
    return Marks([class_colour(number) for number in classes], labels)


def draw_objects(
    photo: Tensor,
    objects: Objects | Detections,
    names: Sequence[str],
    *,
    size: Literal["legible", "own"] = "legible",
) -> Image.Image:
    """A photo with boxes, and masks where there are any, in the colours of their classes.

    Args:
        photo: uint8 [3, H, W].
        objects: What there is or was found, in pixels of the photo; the first are on top.
        names: Names of the classes.
        size: "legible" enlarges a small photo, so that labels can be read; or its "own".
    """
    picture, factor = enlarged_photo(photo, objects.masks, objects, size)
    draw_marks(picture, objects.boxes * factor, marks_of(objects, names))
    return picture


def enlarged_photo(
    photo: Tensor,
    masks: Tensor | None,
    objects: Objects | Detections,
    size: Literal["legible", "own"] = "legible",
) -> tuple[Image.Image, int]:
    """A photo with the masks of objects as a picture, and by which factor it was enlarged."""
    if masks is not None and len(masks):
        photo = _tinted(photo, masks, [class_colour(n) for n in objects.classes.tolist()])
    picture = Image.fromarray(photo.permute(1, 2, 0).contiguous().numpy())
    factor = min(-(-_LEAST_SIDE // min(picture.size)), _LONGEST_SIDE // max(picture.size))
    factor = 1 if size == "own" else max(1, factor)
    if factor > 1:
        sides = (picture.width * factor, picture.height * factor)
        picture = picture.resize(sides, Image.Resampling.NEAREST)
    return picture, factor


def draw_marks(picture: Image.Image, boxes: Tensor, marks: Marks) -> None:
    """Draws boxes and what stands at them; labels keep out of each other's way where they can.

    Args:
        picture: RGB; is drawn on.
        boxes: [N, 4] in its pixels; the first are on top.
        marks: Of each box.
    """
    draw = ImageDraw.Draw(picture)
    shorter = min(picture.size)
    width = max(1, round(shorter / 220))
    font = ImageFont.load_default(size=max(11, round(shorter / 40)))
    corners = [_corners(box, picture.size) for box in boxes.tolist()]
    for place, colour in reversed(list(zip(corners, marks.colours, strict=True))):
        if marks.dashed:
            _draw_dashed(draw, place, colour, width)
        else:
            draw.rectangle(place, outline=colour, width=width)
    taken: list[Rectangle] = []
    for place, colour, label in zip(corners, marks.colours, marks.labels, strict=True):
        if label:
            frame = _place_label(draw, font, label, place, picture.size, taken)
            taken.append(frame)
            draw.rectangle(frame, fill=colour)
            ink = "black" if _brightness(colour) > 120 else "white"
            draw.text((frame[0] + _PADDING, frame[1] + _PADDING), label, ink, font, anchor="lt")


def _tinted(photo: Tensor, masks: Tensor, colours: Sequence[Colour]) -> Tensor:
    """The photo with masks in colours, the first on top, and their outlines in full colour."""
    tinted = photo.float()
    for mask, colour in reversed(list(zip(masks, colours, strict=True))):
        full = torch.tensor(colour, dtype=torch.float32).view(3, 1, 1)
        tinted = torch.where(mask, (1 - _OPACITY) * photo + _OPACITY * full, tinted)
        tinted = torch.where(_outline(mask), full, tinted)
    return tinted.round().byte()


def _outline(mask: Tensor) -> Tensor:
    """Pixels of a mask with a neighbour outside it."""
    padded = torch.zeros(mask.shape[0] + 2, mask.shape[1] + 2, dtype=torch.bool)
    padded[1:-1, 1:-1] = mask
    inside = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return mask & ~inside


def _corners(box: Sequence[float], size: tuple[int, int]) -> Rectangle:
    """The pixels of a box's corners, within the picture."""
    left, top, right, bottom = box
    left, top = (min(max(round(v), 0), side - 1) for v, side in zip((left, top), size, strict=True))
    right = min(max(round(right) - 1, left), size[0] - 1)
    bottom = min(max(round(bottom) - 1, top), size[1] - 1)
    return left, top, right, bottom


def _draw_dashed(draw: ImageDraw.ImageDraw, place: Rectangle, colour: Colour, width: int) -> None:
    left, top, right, bottom = place
    dash = 4 * width
    for near in _steps(left, right, 2 * dash):
        far = min(near + dash, right)
        for y in (top, bottom):
            draw.line((near, y, far, y), fill=colour, width=width)
    for near in _steps(top, bottom, 2 * dash):
        far = min(near + dash, bottom)
        for x in (left, right):
            draw.line((x, near, x, far), fill=colour, width=width)


def _steps(first: float, last: float, step: int) -> Iterator[float]:
    while first <= last:
        yield first
        first += step


def _place_label(
    draw: ImageDraw.ImageDraw,
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
    label: str,
    place: Rectangle,
    size: tuple[int, int],
    taken: Sequence[Rectangle],
) -> Rectangle:
    """Above the box, below it, or within it, where no label is yet and the picture reaches."""
    _, _, width, height = draw.textbbox((0, 0), label, font=font, anchor="lt")
    width, height = width + 2 * _PADDING, height + 2 * _PADDING
    left, top, right, bottom = place
    starts = [
        (left, top - height),
        (right - width, top - height),
        (left, bottom),
        (right - width, bottom),
        (left, top),
        (left, bottom - height),
    ]
    frames = [_within((x, y, x + width, y + height), size) for x, y in starts]
    covered = [sum(_overlap(frame, other) for other in taken) for frame in frames]
    return frames[covered.index(min(covered))]


def _within(frame: Rectangle, size: tuple[int, int]) -> Rectangle:
    """The frame, moved into the picture."""
    left = max(0.0, min(frame[0], size[0] - (frame[2] - frame[0])))
    top = max(0.0, min(frame[1], size[1] - (frame[3] - frame[1])))
    return left, top, left + frame[2] - frame[0], top + frame[3] - frame[1]


def _overlap(one: Rectangle, other: Rectangle) -> float:
    across = min(one[2], other[2]) - max(one[0], other[0])
    down = min(one[3], other[3]) - max(one[1], other[1])
    return max(across, 0.0) * max(down, 0.0)


def _brightness(colour: Colour) -> float:
    red, green, blue = colour
    return 0.299 * red + 0.587 * green + 0.114 * blue
