"""Scenes of real handwritten digits, with exact panoptic masks: a data set without a file."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from spikesight.data.photos.painted_digits import dark_ground, digit_alpha, light_ink, usable_digits
from spikesight.data.segmentation.composition import ComposedScenes, CutOut, compose
from spikesight.data.segmentation.config import LEAST_OBJECT
from spikesight.data.segmentation.scene import ClassTable, Scene, table_of
from spikesight.data.sources import ArraySource

BACKGROUND = 10
Background = Literal["dark", "plain", "textured"]


def digit_classes() -> ClassTable:
    """The ten digits, which are things, and the background."""
    return table_of((*(str(digit) for digit in range(10)), "background"), tuple(range(10)))


@dataclass(frozen=True)
class DigitScenes(ComposedScenes):
    """Scenes of scikit-learn's digits; each one is a function of the seed and its number.

    A fifth of the digits of each class is only ever seen in validation.

    Attributes:
        seed: Seed of the split and of the scenes.
        background: One dark colour under lighter digits, any one colour, or stripes and clouds.
        digits: Smallest and largest number of digits in a scene.
        scale: Smallest and largest side of a digit, as a share of the scene's shorter side.
    """

    kind = "digit"
    seed: int = 0
    background: Background = "textured"
    digits: tuple[int, int] = (3, 8)
    scale: tuple[float, float] = (0.18, 0.5)
    classes: ClassTable = field(default_factory=digit_classes)

    def usable_digits(self) -> Tensor:
        """Positions of this part's digits among scikit-learn's, ascending."""
        return _usable(self.part, self.seed)[1]

    def read(self, index: int) -> Scene:
        """Composes one scene."""
        random = self.random(self.seed, index)
        source, usable = _usable(self.part, self.seed)
        height, width = self.size
        shorter = min(height, width)
        ground = _paint(random, height, width, self.background)
        pasted = []
        for _ in range(int(random.integers(self.digits[0], self.digits[1] + 1))):
            chosen = int(usable[int(random.integers(len(usable)))])
            side = max(round(shorter * random.uniform(*self.scale)), LEAST_OBJECT)
            alpha = digit_alpha(source.images[chosen], side)
            row = int(random.integers(height - side + 1))
            column = int(random.integers(width - side + 1))
            behind = ground[row : row + side, column : column + side].mean((0, 1))
            ink_colour = (
                light_ink(random) if self.background == "dark" else _contrast(random, behind)
            )
            colour = np.broadcast_to(ink_colour, (side, side, 3))
            label = int(source.labels[chosen])
            pasted.append((CutOut(colour.astype(np.float32), alpha, label), row, column))
        return compose(ground, BACKGROUND, pasted, self.describe(index))


@cache
def _usable(part: str, seed: int) -> tuple[ArraySource, Tensor]:
    """The digits and the positions of a part's; read once per process."""
    return usable_digits(part == "val", seed)


def _contrast(random: np.random.Generator, behind: NDArray[np.float32]) -> NDArray[np.float32]:
    """A random colour that is clearly lighter or darker than what is behind."""
    while True:
        colour = random.uniform(0, 1, 3).astype(np.float32)
        if abs(float(colour.mean() - behind.mean())) > 0.3:
            return colour


def _paint(
    random: np.random.Generator, height: int, width: int, kind: Background
) -> NDArray[np.float32]:
    from torchvision.transforms.v2 import InterpolationMode
    from torchvision.transforms.v2.functional import resize

    if kind == "dark":
        return np.broadcast_to(dark_ground(random), (height, width, 3)).copy()
    base = random.uniform(0.1, 0.9, 3).astype(np.float32)
    ground = np.broadcast_to(base, (height, width, 3)).astype(np.float32)
    if kind == "plain":
        return ground.copy()
    rows, columns = np.mgrid[:height, :width].astype(np.float32)
    angle, period = random.uniform(0, np.pi), random.uniform(6, 40)
    stripes = np.sin(2 * np.pi * (rows * np.cos(angle) + columns * np.sin(angle)) / period)
    coarse = torch.from_numpy(random.uniform(-1, 1, (3, 6, 6)).astype(np.float32))
    clouds = resize(coarse, [height, width], InterpolationMode.BICUBIC).numpy()
    grain = random.normal(0, 0.03, (height, width, 3)).astype(np.float32)
    shade = random.uniform(0, 0.08) * stripes[..., None] + 0.12 * clouds.transpose(1, 2, 0)
    painted: NDArray[np.float32] = (ground + shade + grain).clip(0, 1).astype(np.float32)
    return painted
