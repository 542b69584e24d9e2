"""Frames of events as pictures: brighter orange, darker blue."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from spikesight.data.errors import DataError
from spikesight.files.own_pictures import OWN_MARK

_BACKGROUND = (18, 20, 26)
_POSITIVE = (255, 158, 66)
_NEGATIVE = (80, 150, 255)
_SMALLEST_SIDE = 192
_GAP = 4  # pixels between the frames of a film
_FRAME_LINE = (128, 128, 128)
_PEAK_QUANTILE = 0.98


def draw_frames(frames: Tensor) -> list[Image.Image]:
    """Draws frames of events, all with one scale of brightness.

    Args:
        frames: Counts `[T, C, H, W]`, with 2 channels (negative, positive) or 3 (positive,
            negative, all), as `event_frames` makes them.

    Returns:
        T pictures of mode RGB; small frames are enlarged by a whole factor.

    Raises:
        DataError: If the frames have another shape.
    """
    if frames.ndim != 4 or frames.shape[1] not in (2, 3):
        raise DataError(
            f"frames have shape {tuple(frames.shape)}; pass [T, 2 or 3, H, W], as event_frames "
            "returns"
        )
    pixels = colour_frames(frames).movedim(1, -1).numpy()
    factor = max(1, _SMALLEST_SIDE // max(frames.shape[-2:]))
    return [
        Image.fromarray(frame).resize(
            (frame.shape[1] * factor, frame.shape[0] * factor), Image.Resampling.NEAREST
        )
        for frame in pixels
    ]


def draw_film(frames: Tensor) -> Image.Image:
    """Draws frames of events in one picture, in the order of reading.

    Args:
        frames: Counts `[T, C, H, W]`; see `draw_frames`.

    Returns:
        The frames in rows of equal length, as nearly square as T can be divided, with a gap
        between them.
    """
    drawn = draw_frames(frames)
    columns = next(n for n in range(math.isqrt(len(drawn) - 1) + 1, len(drawn) + 1)
                   if len(drawn) % n == 0)  # fmt: skip
    width, height = (side + _GAP for side in drawn[0].size)
    rows = len(drawn) // columns
    film = Image.new("RGB", (columns * width - _GAP, rows * height - _GAP), _FRAME_LINE)
    for number, picture in enumerate(drawn):
        film.paste(picture, (number % columns * width, number // columns * height))
    return film


def colour_frames(frames: Tensor) -> Tensor:
    """The colours of frames of events, all with one scale of brightness.

    Args:
        frames: Counts `[T, C, H, W]`, with 2 channels (negative, positive) or 3 (positive,
            negative, all).

    Returns:
        uint8 `[T, 3, H, W]`.
    """
    order = (1, 0) if frames.shape[1] == 2 else (0, 1)
    counts = frames[:, order].to(torch.float32)
    shown = counts[counts > 0]
    peak = float(np.quantile(shown.numpy(), _PEAK_QUANTILE)) if len(shown) else 1.0
    share = (counts / max(peak, 1.0)).clamp(max=1).sqrt()
    background = torch.tensor(_BACKGROUND, dtype=torch.float32)
    colours = torch.tensor([_POSITIVE, _NEGATIVE], dtype=torch.float32)
    # Where both polarities came, they share the pixel by their counts.
    both = share.sum(1, keepdim=True).clamp(min=1)
    mixed = torch.einsum("tphw,pc->thwc", share / both, colours - background) + background
    return mixed.round().clamp(0, 255).to(torch.uint8).movedim(-1, 1)


def save_gif(frames: Tensor, path: str | Path, milliseconds: int = 100) -> Path:
    """Writes frames of events as an animation.

    Args:
        frames: Counts `[T, C, H, W]`; see `draw_frames`.
        path: A file ending in .gif; its folder is made if it does not exist.
        milliseconds: How long each frame is shown, at least 20.

    Returns:
        The file.

    Raises:
        DataError: If the frames or the path cannot be used.
    """
    path = Path(path)
    if path.suffix.lower() != ".gif":
        raise DataError(f"{path}: pass a file ending in .gif")
    if milliseconds < 20:
        raise DataError(f"milliseconds is {milliseconds}; pass 20 or more, as GIF viewers need")
    first, *rest = draw_frames(frames)
    path.parent.mkdir(parents=True, exist_ok=True)
    first.save(
        path,
        save_all=True,
        append_images=rest,
        duration=milliseconds,
        loop=0,
        comment=OWN_MARK.encode(),
    )
    return path
