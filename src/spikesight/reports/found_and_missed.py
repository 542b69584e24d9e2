"""What is there beside what a detector found of it: right, wrong and missed boxes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from spikesight.files.names import show
from spikesight.objects import Detections, Objects
from spikesight.reports.boxes import Marks, draw_marks, enlarged_photo, marks_of

_RIGHT, _WRONG, _MISSED, _NEITHER = (60, 205, 110), (255, 60, 60), (255, 225, 40), (170, 170, 170)


@dataclass(frozen=True)
class Outcome:
    """How what was found compares with what is there.

    Attributes:
        right: [N] bool, of what was found.
        neither: [N] bool, what lies in crowds, where nothing is wrong.
        missed: [M] bool, of what is there.
    """

    right: Tensor
    neither: Tensor
    missed: Tensor


def draw_found_and_missed(
    photo: Tensor,
    there: Objects,
    found: Detections,
    outcome: Outcome,
    names: Sequence[str],
    name: str,
) -> Image.Image:
    """Two views of a photo: what is there, in the colours of classes, and what was found.

    Right boxes are green, wrong ones red, those in crowds grey, and missed objects dashed yellow.

    Args:
        photo: uint8 [3, H, W].
        there: The truth, in pixels of the photo.
        found: What was found.
        outcome: How they compare.
        names: Names of the classes.
        name: What the photo is called.
    """
    left, factor = enlarged_photo(photo, there.masks, there)
    right, _ = enlarged_photo(photo, found.masks, found)
    draw_marks(left, there.boxes * factor, marks_of(there, names))
    kinds = zip(outcome.right.tolist(), outcome.neither.tolist(), strict=True)
    colours = [_RIGHT if good else _NEITHER if unsure else _WRONG for good, unsure in kinds]
    draw_marks(right, found.boxes * factor, Marks(colours, marks_of(found, names).labels))
    missed = there[outcome.missed]
    labels = [show(names[number]) for number in missed.classes.tolist()]
    draw_marks(right, missed.boxes * factor, Marks([_MISSED] * len(missed), labels, dashed=True))
    return _side_by_side(left, right, _title(there, outcome, name))


def _title(there: Objects, outcome: Outcome, name: str) -> list[tuple[str, tuple[int, int, int]]]:
    good, unsure = int(outcome.right.sum()), int(outcome.neither.sum())
    wrong = len(outcome.right) - good - unsure
    black = (0, 0, 0)
    words = [(f"{show(name)}: {len(there)} objects   ", black)]
    words += [(f"{good} right   ", (0, 130, 50)), (f"{wrong} wrong   ", (200, 0, 0))]
    words += [(f"{int(outcome.missed.sum())} missed   ", (150, 120, 0))]
    return words + ([(f"{unsure} in crowds", (110, 110, 110))] if unsure else [])


def _side_by_side(
    left: Image.Image, right: Image.Image, title: list[tuple[str, tuple[int, int, int]]]
) -> Image.Image:
    gap = 6
    height = max(13, left.width // 45)
    font, line = ImageFont.load_default(size=height), int(height * 1.6)
    sheet = Image.new("RGB", (2 * left.width + gap, left.height + line), "white")
    sheet.paste(left, (0, line))
    sheet.paste(right, (left.width + gap, line))
    draw, x = ImageDraw.Draw(sheet), 4.0
    for text, colour in title:
        draw.text((x, line // 2), text, colour, font, anchor="lm")
        x += draw.textlength(text, font)
    return sheet
