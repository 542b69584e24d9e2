"""scikit-learn's digits in colour: what a trunk can learn before it segments scenes of them."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from spikesight.data.photos.digits import read_digits
from spikesight.data.sampling import derive_seed
from spikesight.data.sources import ArraySource
from spikesight.data.stratification import split_stratified

HELD_OUT = 0.2
"""Share of the digits of each class that is only ever seen in validation."""
_SIZE = 32
_COPIES = 4
_SMALLEST, _LARGEST = 0.55, 1.0


def dark_ground(random: np.random.Generator) -> NDArray[np.float32]:
    """A random dark colour [3], 0 to 1."""
    return random.uniform(0.0, 0.3, 3).astype(np.float32)


def light_ink(random: np.random.Generator) -> NDArray[np.float32]:
    """A random colour [3], 0 to 1, that is lighter in every channel than a dark ground."""
    return random.uniform(0.4, 1.0, 3).astype(np.float32)


def digit_alpha(digit: Tensor, side: int) -> NDArray[np.float32]:
    """How far a digit's ink covers what is behind it.

    Args:
        digit: uint8 [1, 8, 8], white on black.
        side: Height and width of the result, in pixels.

    Returns:
        [side, side], 0 to 1.
    """
    from torchvision.transforms.v2 import InterpolationMode
    from torchvision.transforms.v2.functional import pad, resize

    framed = pad(digit, [1])  # digits touch the edge of their pixels
    ink = resize(framed, [side, side], InterpolationMode.BICUBIC, antialias=True)
    alpha: NDArray[np.float32] = (ink[0].numpy().astype(np.float32) / 255 * 1.3).clip(0, 1)
    return alpha


def usable_digits(held_out: bool, seed: int) -> tuple[ArraySource, Tensor]:
    """All digits, and the positions of those that train, or of those that are held out."""
    source = read_digits()
    train, validation = split_stratified(source.labels, HELD_OUT, seed)
    return source, validation if held_out else train


def read_painted_digits(part: Literal["train", "validation"]) -> ArraySource:
    """Paints every digit of a part four times.

    Args:
        part: "train", or "validation" for the fifth of the digits that is held out; the same
            digits are in `digit_scenes` of seed 0.

    Returns:
        uint8 `[N, 3, 32, 32]` and the classes "0" to "9".
    """
    source, usable = usable_digits(part == "validation", seed=0)
    positions = usable.repeat_interleave(_COPIES)
    images = torch.empty(len(positions), 3, _SIZE, _SIZE, dtype=torch.uint8)
    for index, position in enumerate(positions.tolist()):
        random = np.random.default_rng(derive_seed(position, index % _COPIES))
        side = round(_SIZE * random.uniform(_SMALLEST, _LARGEST))
        row, column = random.integers(_SIZE - side + 1, size=2)
        ground = dark_ground(random)[:, None, None]
        image = np.broadcast_to(ground, (3, _SIZE, _SIZE)).copy()
        alpha = digit_alpha(source.images[position], side)
        inked = image[:, row : row + side, column : column + side]
        inked += alpha * (light_ink(random)[:, None, None] - ground)
        images[index] = torch.from_numpy((image * 255).round().astype(np.uint8))
    name = f"scikit-learn's digits, painted ({part})"
    return ArraySource(images, source.labels[positions], source.classes, name)
