"""Photos with what a model guesses, as one picture: for TensorBoard."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

from spikesight.files.names import show
from spikesight.reports.pictures import Guess, as_image

_SIDE, _LINE, _COLUMNS = 112, 18, 4
_RIGHT, _WRONG = (0, 120, 90), (179, 38, 30)


def draw_guesses(guesses: Sequence[Guess]) -> Image.Image:
    """A sheet of photos; below each the guess, and where it is wrong the truth.

    Args:
        guesses: At least one.
    """
    columns = min(_COLUMNS, len(guesses))
    rows = -(-len(guesses) // columns)
    cell = _SIDE + 2 * _LINE + 6
    sheet = Image.new("RGB", (columns * (_SIDE + 6), rows * cell), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=12)
    for place, guess in enumerate(guesses):
        row, column = divmod(place, columns)
        left, top = column * (_SIDE + 6) + 3, row * cell + 3
        sheet.paste(_fitted(as_image(guess.image)), (left, top))
        colour = _RIGHT if guess.right else _WRONG
        lines = [f"{show(guess.guess)} {guess.confidence:.0%}"]
        lines += [] if guess.right else [f"is {show(guess.truth)}"]
        for number, line in enumerate(lines):
            draw.text((left, top + _SIDE + 2 + number * _LINE), line[:18], colour, font)
    return sheet


def _fitted(image: Image.Image) -> Image.Image:
    small = max(image.size) < _SIDE
    how = Image.Resampling.NEAREST if small else Image.Resampling.BILINEAR
    return image.convert("RGB").resize((_SIDE, _SIDE), how)
