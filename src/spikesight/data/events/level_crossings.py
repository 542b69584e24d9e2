"""What an event camera sees in a film: crossings of levels of the logarithm of brightness.

A pixel fires whenever the logarithm of its brightness has moved by a threshold since it fired last,
at the time of the crossing, between two pictures of the film by their straight line.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from spikesight.data.events.recording import Events

_DARK = 0.1


def level_crossings(
    brightness: Tensor, times: NDArray[np.floating[Any]], threshold: float
) -> Events:
    """Turns a film into events; the same ones every time.

    Args:
        brightness: Pictures in 0..1, floating point `[M, H, W]`.
        times: Of each picture, ascending, in microseconds `[M]`.
        threshold: Step of the logarithm of (brightness plus 0.1) that makes an event.

    Returns:
        The events, sorted by time.
    """
    height, width = brightness.shape[1:]
    levels = (brightness + _DARK).log().flatten(1).numpy()
    # In thresholds from the first moment; a pixel's reference is a whole number of them.
    moved = (levels - levels[0]) / threshold
    floors, ceilings = np.floor(moved), np.ceil(moved)
    references = np.zeros_like(moved)
    for moment in range(1, len(moved)):
        np.maximum(references[moment - 1], floors[moment], out=references[moment])
        np.minimum(references[moment], ceilings[moment], out=references[moment])
    crossed = np.diff(references, axis=0).astype(np.int64)
    moments, active = np.nonzero(crossed)
    repeats = np.abs(crossed[moments, active])
    # 1, 2, ... within each pixel's run of crossings between two moments.
    ordinals = np.arange(repeats.sum()) - np.repeat(np.cumsum(repeats) - repeats, repeats) + 1
    moments, pixels = np.repeat(moments, repeats), np.repeat(active, repeats)
    signs = np.sign(crossed[moments, pixels])
    before, after = moved[moments, pixels], moved[moments + 1, pixels]
    share = (references[moments, pixels] + signs * ordinals - before) / (after - before)
    t = (times[moments] + share.clip(0, 1) * np.diff(times)[moments]).astype(np.int64)
    order = np.argsort(t, kind="stable")
    pixels, positive = pixels[order], signs[order] > 0
    rows, columns = (v.astype(np.int32) for v in np.divmod(pixels, width))
    return Events(t[order], columns, rows, positive, width, height)
