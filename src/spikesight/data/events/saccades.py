"""Photos as an event camera sees them that makes three small saccades before each.

As for N-MNIST (Orchard et al., 2015) the camera moves along the sides of an isosceles triangle, a
tenth of a second each.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import grid_sample

from spikesight.data.errors import DataError
from spikesight.data.events.level_crossings import level_crossings
from spikesight.data.events.recording import Events
from spikesight.data.photos.preprocessing import fit

SACCADE_MICROSECONDS = 100_000
_STEPS = 24
_AMPLITUDE = 1 / 8
_CORNERS = ((-0.5, -0.5), (0.0, 0.5), (0.5, -0.5), (-0.5, -0.5))


def saccade_events(photo: Tensor, size: int = 34, threshold: float = 0.25) -> Events:
    """Turns a photo into the events of three saccades, 0.3 s in all; the same ones every time.

    The photo is fitted to the sensor; beyond its border the border's brightness goes on. Speed
    rises and falls smoothly along each side. The path spans an eighth of the sensor.

    Args:
        photo: uint8 `[1 or 3, H, W]`; colour becomes luma.
        size: Height and width of the sensor, in pixels.
        threshold: Step of the logarithm of (brightness in 0..1, plus 0.1) that makes an event.

    Returns:
        The events, sorted by time.

    Raises:
        DataError: If the photo has another shape, or size or threshold are not positive.
    """
    if photo.ndim != 3 or photo.shape[0] not in (1, 3) or photo.dtype != torch.uint8:
        raise DataError(
            f"a photo of shape {tuple(photo.shape)} and type {photo.dtype} cannot be moved; pass "
            "uint8 [1 or 3, H, W]"
        )
    if size < 2 or threshold <= 0:
        raise DataError(f"size is {size} and threshold {threshold}; pass 2 pixels or more, and > 0")
    from torchvision.transforms.functional import rgb_to_grayscale

    grey = rgb_to_grayscale(photo) if photo.shape[0] == 3 else photo
    brightness = fit(grey, size)[0].double() / 255
    times = np.arange(3 * _STEPS + 1) * (SACCADE_MICROSECONDS / _STEPS)
    return level_crossings(_shifted(brightness), times, threshold)


def _shifted(brightness: Tensor) -> Tensor:
    """The view at each of the 3 x _STEPS + 1 moments, [moments, size, size]."""
    size = brightness.shape[0]
    share = torch.arange(1, _STEPS + 1, dtype=torch.float64) / _STEPS
    smooth = (3 * share**2 - 2 * share**3)[:, None]
    corners = torch.tensor(_CORNERS, dtype=torch.float64)
    sides = [start + (stop - start) * smooth for start, stop in pairwise(corners)]
    # Grid coordinates run from -1 to 1, so the sensor's side is 2.
    offsets = torch.cat([corners[:1], *sides]) * (2 * _AMPLITUDE)
    centres = (torch.arange(size, dtype=torch.float64) + 0.5) * (2 / size) - 1
    columns = (centres + offsets[:, :1])[:, None, :].expand(-1, size, -1)
    rows = (centres + offsets[:, 1:])[:, :, None].expand(-1, -1, size)
    views = grid_sample(
        brightness.expand(len(offsets), 1, -1, -1),
        torch.stack([columns, rows], -1),
        padding_mode="border",
        align_corners=False,
    )
    return views[:, 0]
