"""Label maps at another size."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def resize_labels(labels: Tensor, size: Sequence[int]) -> Tensor:
    """Gives each new pixel the label that weighs most in bilinear interpolation at its centre.

    Photos are resized around the centres of pixels too, so that labels stay where their photo is.
    The usual nearest pixel lies up to half an old pixel away, right and below or left and above:
    at half the size the four pixels around the centre are equally near. Of labels that weigh the
    same, the smaller and the larger one win in turns, as the fields of a chessboard.

    Args:
        labels: Whole numbers [H, W].
        size: Height and width.

    Returns:
        [*size] of the same type.
    """
    height, width = size
    if (height, width) == tuple(labels.shape):
        return labels
    (top, bottom), down = _neighbours(labels.shape[0], height, labels.device)
    (left, right), across = _neighbours(labels.shape[1], width, labels.device)
    upper, lower = labels[top], labels[bottom]
    corners = torch.stack((upper[:, left], upper[:, right], lower[:, left], lower[:, right]))
    resized = corners[0].clone()
    rows, columns = (corners != corners[0]).any(0).nonzero(as_tuple=True)
    if len(rows):
        shares = [
            vertical[rows] * horizontal[columns]
            for vertical in (2 * height - down, down)
            for horizontal in (2 * width - across, across)
        ]
        larger_wins = ((rows + columns) % 2).bool()
        resized[rows, columns] = _heaviest(corners[:, rows, columns], shares, larger_wins)
    return resized


def _neighbours(old: int, new: int, device: torch.device) -> tuple[tuple[Tensor, Tensor], Tensor]:
    """The two old pixels around each new one's centre, and the second's weight of 2 * new."""
    places = (2 * torch.arange(new, device=device) + 1) * old - new
    first = places.div(2 * new, rounding_mode="floor")
    around = (first.clamp(0, old - 1), (first + 1).clamp(0, old - 1))
    return around, places - 2 * new * first


def _heaviest(labels: Tensor, shares: Sequence[Tensor], larger_wins: Tensor) -> Tensor:
    """Of labels [4, P] with shares, those that weigh most [P]."""
    winner, most = labels[0], torch.full_like(shares[0], -1)
    for label in labels:
        equal = labels == label
        weight = torch.stack([share * same for share, same in zip(shares, equal, strict=True)])
        weight = weight.sum(0)
        preferred = torch.where(larger_wins, label > winner, label < winner)
        better = (weight > most) | ((weight == most) & preferred)
        winner, most = torch.where(better, label, winner), torch.where(better, weight, most)
    return winner
