"""Areas, enclosing boxes and other sizes of masks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor


def mask_areas(masks: Tensor) -> Tensor:
    """Pixels of each mask, int64 [N].

    Args:
        masks: bool [N, H, W].
    """
    # PyTorch sums bool, and its rows, fifty times slower.
    return torch.tensor([np.count_nonzero(mask) for mask in masks.numpy()], dtype=torch.int64)


def mask_boxes(masks: Tensor) -> Tensor:
    """The box around each mask, float32 [N, 4]; of an empty one without an area.

    Args:
        masks: bool [N, H, W].
    """
    edges = []
    for axis in (1, 2):
        used = masks.view(torch.uint8).amax(axis)
        first, last = used.argmax(1), used.shape[1] - used.flip(1).argmax(1)
        some = used.amax(1)
        edges.append((first * some, last * some))
    (left, right), (top, bottom) = edges
    return torch.stack([left, top, right, bottom], 1).float()


def nearest(old: int, new: int) -> Tensor:
    """The old pixel below the centre of each new one, where a side of pixels is resized; int64."""
    return (2 * torch.arange(new) + 1) * old // (2 * new)


def sampled_masks(masks: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """The pixels of some rows and columns.

    Args:
        masks: bool [N, H, W].
        rows: int64 [h].
        columns: int64 [w].

    Returns:
        bool [N, h, w].
    """
    return torch.from_numpy(masks.numpy().take(rows.numpy(), 1).take(columns.numpy(), 2))


def resized_masks(masks: Tensor, size: Sequence[int]) -> Tensor:
    """Masks at another size: each new pixel is the old one below its centre.

    Args:
        masks: bool [N, H, W].
        size: Height and width.
    """
    height, width = masks.shape[1:]
    if (height, width) == tuple(size):
        return masks
    return sampled_masks(masks.cpu(), nearest(height, size[0]), nearest(width, size[1])).to(
        masks.device
    )
