"""scikit-learn's digits as pens of many widths draw them, tilted, anywhere, dark on light too."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from spikesight.data.photos.painted_digits import usable_digits
from spikesight.data.sources import ArraySource

_SIZE = 28
_FINER = 2  # the lines are drawn at so many times the resolution
_COPIES = {"train": 16, "validation": 4}
_SEED = {"train": 0, "validation": 1}
_CHUNK = 512
_TURN, _SHEAR = math.radians(15), 0.25
_HEIGHT, _WIDTH = (0.45, 0.95), (0.7, 1.3)  # of the image; of the height
_REACH = 1.25  # how far from a line its brightest point is looked for, in pixels of 8 x 8
_FAINTEST = 0.3  # brightest point of what is a line at all


def read_drawn_digits(part: Literal["train", "validation"]) -> ArraySource:
    """Draws every digit of a part 16 times, or 4 times to validate; always the same drawings.

    Args:
        part: "train", or "validation" for the fifth of the digits that is held out; the same
            digits as in `painted_digits`.

    Returns:
        uint8 `[N, 1, 28, 28]`, half of them light on dark and half dark on light, and the classes
        "0" to "9".
    """
    source, usable = usable_digits(part == "validation", seed=0)
    positions = usable.repeat_interleave(_COPIES[part])
    random = torch.Generator().manual_seed(_SEED[part])
    drawn = [_draw(source.images[some], random) for some in positions.split(_CHUNK)]
    name = f"scikit-learn's digits, drawn ({part})"
    return ArraySource(torch.cat(drawn), source.labels[positions], source.classes, name)


def _draw(digits: Tensor, random: torch.Generator) -> Tensor:
    """Drawings uint8 [N, 1, 28, 28] of digits uint8 [N, 1, 8, 8]."""

    def between(low: float, high: float) -> Tensor:
        return torch.rand(len(digits), 1, 1, 1, generator=random) * (high - low) + low

    side = _SIZE * _FINER
    grid = functional.affine_grid(_placements(between), [len(digits), 1, side, side], False)
    framed = functional.pad(digits.float() / 255, [1] * 4)  # digits touch the edge of their pixels
    light = functional.grid_sample(framed, grid, "bicubic", "zeros", False).clamp(0, 1)
    # Lines are not equally bright: what counts is how bright a point is beside its line's middle.
    reach = 2 * round(_REACH * side * _HEIGHT[0] / 8) + 1
    middle = functional.max_pool2d(light, (reach, 1), 1, (reach // 2, 0))
    middle = functional.max_pool2d(middle, (1, reach), 1, (0, reach // 2)).clamp(min=_FAINTEST)
    edge = between(2, 10)
    ink = ((light / middle - between(0.3, 0.75)) * edge + 0.5).clamp(0, 1)
    ink = functional.avg_pool2d(ink, _FINER)
    ground, pen = between(0, 0.25), between(0.6, 1)
    image = ground + ink * (pen - ground)
    image = torch.where(between(0, 1) < 0.5, image, 1 - image)
    return (image * 255).round().to(torch.uint8)


def _placements(between: Callable[[float, float], Tensor]) -> Tensor:
    """Maps [N, 2, 3] from places of the drawing to places of a digit framed to 10 x 10 pixels."""
    angle, shear = between(-_TURN, _TURN), between(-_SHEAR, _SHEAR)
    height = between(*_HEIGHT)
    width = (height * between(*_WIDTH)).clamp(max=_HEIGHT[1])
    cosine, sine = angle.cos(), angle.sin()
    first = torch.cat([cosine, shear * cosine - sine], -1)
    second = torch.cat([sine, shear * sine + cosine], -1)
    turn = torch.cat([first, second], -2).squeeze(1)
    scale = torch.cat([width, height], -2).squeeze(1) * 10 / 8
    free = torch.cat([1 - width, 1 - height], -2).squeeze(1)
    place = free * torch.cat([between(-1, 1), between(-1, 1)], -2).squeeze(1)
    back = torch.linalg.inv(turn * scale.mT)
    return torch.cat([back, -back @ place], -1)
