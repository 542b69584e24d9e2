"""Frames of events: how many came where, slice by slice of time."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from spikesight.data.errors import DataError
from spikesight.data.events.config import Slicing as Slicing
from spikesight.data.events.recording import Events
from spikesight.files.limits import FRAME_CELLS
from spikesight.options import check_arguments, check_range


def event_frames(
    events: Events,
    frames: int = 8,
    slicing: Slicing = "count",
    channels: int = 2,
    size: int | tuple[int, int] | None = None,
    span: tuple[int, int] | None = None,
) -> Tensor:
    """Counts events per slice, polarity and pixel; the frames are the time steps of a model.

    Rows are drawn upright, row 0 being the highest, whatever the recording's origin. A sensor
    larger than `size` is shrunk, its aspect kept, by adding up the counts of pixels that fall
    together; a smaller one, and the shorter side, get a border of zeros. No event is lost.

    Args:
        events: The recording.
        frames: Number T of slices.
        slicing: "count" cuts into T slices of equally many events, up to one; "time" into T of
            equal duration between the first and the last event.
        channels: 2 for (negative, positive); 3 for (positive, negative, all).
        size: Height and width of the frames, or one number for both; the sensor's if omitted.
        span: First microsecond and the one after the last, between which "time" cuts, whenever
            the first and the last event come; all events must be within.

    Returns:
        Counts, int32 `[T, C, H, W]`.

    Raises:
        DataError: If `frames` is not positive, `slicing` or `channels` unknown, an event is not
            within `span`, or there are more counts than the limit.
    """
    arguments = {"frames": frames, "slicing": slicing, "channels": channels, "size": size}
    check_arguments(event_frames, arguments, error=DataError)
    check_range("frames", frames, least=1, error=DataError)
    if channels not in (2, 3):
        raise DataError(
            f"channels is {channels}; pass 2 (negative, positive) or 3 (positive, negative, all)"
        )
    columns, rows, height, width = _place(events, size)
    what = f"{frames} frames of {width} x {height} pixels, which size or frames make smaller"
    FRAME_CELLS.check(frames * 2 * height * width, what, DataError)
    number = _slice_numbers(events.t, frames, slicing, span)
    places = ((number * 2 + events.polarity) * height + rows) * width + columns
    counts = np.bincount(places, minlength=frames * 2 * height * width).astype(np.int32)
    both = torch.from_numpy(counts).view(frames, 2, height, width)
    if channels == 2:
        return both
    return torch.cat([both.flip(1), both.sum(1, keepdim=True, dtype=torch.int32)], 1)


def sum_pool(frames: Tensor, factor: int) -> Tensor:
    """Shrinks frames by adding up blocks of pixels.

    Args:
        frames: Counts `[..., H, W]`.
        factor: Side of a block; must divide H and W.

    Returns:
        Counts of the same type, `[..., H/factor, W/factor]`.

    Raises:
        DataError: If the factor does not divide the sides.
    """
    height, width = frames.shape[-2:]
    if factor < 1 or height % factor or width % factor:
        raise DataError(
            f"factor is {factor}, which does not divide frames of {height} x {width} pixels; pass "
            "size to event_frames instead"
        )
    blocks = frames.unflatten(-1, (-1, factor)).unflatten(-3, (-1, factor))
    pooled: Tensor = blocks.sum((-3, -1), dtype=frames.dtype)
    return pooled


def _slice_numbers(
    t: NDArray[np.int64], frames: int, slicing: Slicing, span: tuple[int, int] | None
) -> NDArray[Any]:
    if not len(t):
        return np.zeros(0, np.int64)
    if slicing == "count":
        return np.arange(len(t), dtype=np.int64) * frames // len(t)
    start, stop = span or (int(t[0]), int(t[-1]) + 1)
    if not start <= int(t[0]) <= int(t[-1]) < stop:
        raise DataError(
            f"span is {span} but events come from {int(t[0])} to {int(t[-1])} us; pass "
            "events.between(*span)"
        )
    numbers: NDArray[Any] = (t - start) * frames // (stop - start)
    return numbers


def _place(
    events: Events, size: int | tuple[int, int] | None
) -> tuple[NDArray[Any], NDArray[Any], int, int]:
    """Columns and rows of the events in the frame, and the frame's height and width."""
    columns, rows = events.x.astype(np.int64), events.y.astype(np.int64)
    if events.origin == "lower left":
        rows = events.height - 1 - rows
    if size is None:
        return columns, rows, events.height, events.width
    height, width = (size, size) if isinstance(size, int) else size
    if height < 1 or width < 1:
        raise DataError(f"size is {size}; pass at least 1 pixel")
    # The share by which the sensor shrinks, as a fraction, so that all of this is in integers.
    up, down = 1, 1
    for given, wanted in ((events.height, height), (events.width, width)):
        if wanted * down < given * up:
            up, down = wanted, given
    used_height, used_width = (-(-side * up // down) for side in (events.height, events.width))
    columns = columns * up // down + (width - used_width) // 2
    rows = rows * up // down + (height - used_height) // 2
    return columns, rows, height, width
