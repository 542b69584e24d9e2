"""Bilinear interpolation in integers: at twice the size, and at displaced points of a kernel."""

from __future__ import annotations

import torch
from torch import Tensor

from spikesight.graph import integer_vocabulary as integer
from spikesight.synapses.resizing import check_doubling, sixteen_times_doubled


def resize(node: integer.Resize, x: Tensor, size: tuple[int, ...]) -> Tensor:
    """Doubles a map of integers, or leaves one that has the size already.

    Weights are sixteenths (1, 3 and 9), so the sum is exact before it is rounded half up.

    Raises:
        UserError: If the size is neither the map's nor twice that.
    """
    own = tuple(x.shape[-2:])
    check_doubling(node.name, own, size)
    return x if size == own else ((sixteen_times_doubled(x) + 8) / 16).floor()


def interpolate(node: integer.Sample, value: Tensor, offset: Tensor) -> Tensor:
    """Values between pixels, with positions and weights on a grid of 2^-position_bits pixels.

    Positions and interpolated values are rounded half up; outside the map values are zero.

    Args:
        node: The sampling node.
        value: [N, C, H, W].
        offset: [N, groups * K * 2, H, W].

    Returns:
        [N, groups, C / groups, K, H, W].
    """
    samples, _, height, width = value.shape
    grid = 2.0**node.position_bits
    moved = (offset * 2.0 ** (node.position_bits - node.offset_shift) + 0.5).floor()
    moved = moved.reshape(samples, node.groups, node.side**2, 2, height, width)
    steps = torch.arange(node.side, dtype=value.dtype, device=value.device) - node.side // 2
    column_steps = steps.repeat_interleave(node.side).view(-1, 1, 1)
    row_steps = steps.repeat(node.side).view(-1, 1, 1)
    columns = torch.arange(width, dtype=value.dtype, device=value.device)
    rows = torch.arange(height, dtype=value.dtype, device=value.device).view(-1, 1)
    x = (columns + column_steps) * grid + moved[:, :, :, 0]
    y = (rows + row_steps) * grid + moved[:, :, :, 1]
    left, top = (x / grid).floor(), (y / grid).floor()
    right_weight, lower_weight = x - left * grid, y - top * grid
    by_group = value.unflatten(1, (node.groups, -1)).flatten(3)
    total = value.new_zeros(())
    for row, row_weight in ((top, grid - lower_weight), (top + 1, lower_weight)):
        for column, column_weight in ((left, grid - right_weight), (left + 1, right_weight)):
            weight = (row_weight * column_weight).unsqueeze(2)
            total = total + weight * _gather(by_group, row, column, (height, width))
    return (total / grid**2 + 0.5).floor()


def _gather(values: Tensor, row: Tensor, column: Tensor, size: tuple[int, int]) -> Tensor:
    """Pixels [N, G, C / G, K, H, W] of maps [N, G, C / G, H * W]; zero outside."""
    height, width = size
    inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
    index = row.clamp(0, height - 1) * width + column.clamp(0, width - 1)
    flat = index.long().flatten(2).unsqueeze(2).expand(-1, -1, values.shape[2], -1)
    picked: Tensor = values.gather(3, flat).unflatten(3, index.shape[2:])
    return picked * inside.unsqueeze(2)


def weigh(interpolated: Tensor, weight: Tensor) -> Tensor:
    """Sums interpolated values [N, G, C / G, K, H, W] times counts [N, G * K, H, W] over K."""
    groups, points = interpolated.shape[1], interpolated.shape[3]
    counts: Tensor = weight.unflatten(1, (groups, points)).unsqueeze(2)
    return (interpolated * counts).sum(3).flatten(1, 2)
