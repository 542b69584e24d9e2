"""Pictures of what a segmenter has learned: its queries and where it looks."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

_REFERENCES = ((0.3, 0.25), (0.3, 0.75), (0.5, 0.5), (0.75, 0.3), (0.75, 0.7))
_COLUMNS = 10


def draw_query_masks(means: Tensor, path: Path) -> None:
    """The mean mask of every query over a set of photos (Spike2Former's fig. 3).

    Args:
        means: Mean probability of each pixel, [Q, h, w].
        path: Picture to write; its ending says the format.
    """
    from matplotlib.figure import Figure

    columns = min(_COLUMNS, len(means))
    rows = -(-len(means) // columns)
    figure = Figure(figsize=(1.2 * columns, 1.3 * rows), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False)
    for axis in grid.flat:
        axis.axis("off")
    for number, mean in enumerate(means):
        axis = grid[number // columns, number % columns]
        axis.imshow(mean.numpy(), vmin=0, vmax=1, cmap="magma", aspect="auto")
        axis.set_title(f"{number}  {float(mean.mean()):.2f}", fontsize=7)
    figure.savefig(path, dpi=120)


def draw_sampling_points(
    photo: Tensor,
    offset: Tensor,
    weight: Tensor,
    groups: int,
    side: int,
    cell: tuple[float, float],
    path: Path,
) -> None:
    """Where deformable attention samples, seen from a few pixels (Spike2Former's fig. 2).

    Args:
        photo: uint8 [3, H, W].
        offset: Displacements of one photo [groups * K * 2, h, w] in the map's pixels, x before y.
        weight: Attention weights [groups * K, h, w]; points without spikes are hollow.
        groups: Groups of the attention.
        side: Side of its kernel; K = side x side points, in columns, the left one first.
        cell: Height and width of one of the map's pixels, in pixels of the photo.
        path: Picture to write; its ending says the format.
    """
    from matplotlib.figure import Figure

    height, width = offset.shape[-2:]
    moves = offset.view(groups, side * side, 2, height, width)
    weights = weight.view(groups, side * side, height, width)
    steps = torch.arange(side) - side // 2
    start_x, start_y = steps.repeat_interleave(side), steps.repeat(side)
    scale_y, scale_x = cell
    seen_y, seen_x = photo.shape[1] / scale_y, photo.shape[2] / scale_x
    figure = Figure(figsize=(8, 8 * photo.shape[1] / photo.shape[2]), layout="constrained")
    axis = figure.subplots()
    axis.imshow(photo.permute(1, 2, 0).numpy())
    axis.axis("off")
    largest = float(weights.max()) or 1.0
    for number, (share_y, share_x) in enumerate(_REFERENCES):
        row, column = int(share_y * seen_y), int(share_x * seen_x)
        x = (column + start_x + moves[:, :, 0, row, column] + 0.5) * scale_x
        y = (row + start_y + moves[:, :, 1, row, column] + 0.5) * scale_y
        strength = weights[:, :, row, column] / largest
        colour = f"C{number}"
        silent = strength <= 0
        axis.scatter(x[silent], y[silent], s=14, facecolors="none", edgecolors=colour, lw=0.5)
        axis.scatter(x[~silent], y[~silent], s=14 + 40 * strength[~silent], color=colour, alpha=0.7)
        axis.plot(
            (column + 0.5) * scale_x, (row + 0.5) * scale_y, "x", color="white", markersize=9, mew=2
        )
    axis.set_xlim(0, photo.shape[2])
    axis.set_ylim(photo.shape[1], 0)
    figure.savefig(path, dpi=120)
