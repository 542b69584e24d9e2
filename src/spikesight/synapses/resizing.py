"""Bilinear maps between resolutions, and doubling by shifts and additions alone."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from spikesight.errors import UserError


class BilinearResize(nn.Module):
    """Resizes a map to the size of another, bilinearly, corners not aligned.

    Args:
        shifts: Whether it doubles by shifts and additions; other sizes are then refused.
    """

    def __init__(self, *, shifts: bool = False) -> None:
        super().__init__()
        self.shifts = shifts

    def forward(self, x: Tensor, like: Tensor) -> Tensor:
        """[N, C, H', W'] from x [N, C, H, W] and like [N, ..., H', W']."""
        return bilinear_resize(x, (like.shape[-2], like.shape[-1]), shifts=self.shifts)

    def extra_repr(self) -> str:
        """Whether it shifts."""
        return f"shifts={self.shifts}"


def bilinear_resize(x: Tensor, size: tuple[int, int], *, shifts: bool = False) -> Tensor:
    """What `BilinearResize` computes.

    Args:
        x: [N, C, H, W].
        size: Height and width of the result.
        shifts: As of `BilinearResize`.

    Raises:
        UserError: If shifts are asked for and the size is neither the map's nor twice that.
    """
    if not shifts:
        return F.interpolate(x, size=size, mode="bilinear", align_corners=False)
    check_doubling("the map", tuple(x.shape[-2:]), size)
    return x if tuple(x.shape[-2:]) == size else sixteen_times_doubled(x) / 16


def check_doubling(name: str, own: tuple[int, ...], size: tuple[int, ...]) -> None:
    """Raises UserError unless a size is a map's own or twice that."""
    if size not in (own, (2 * own[0], 2 * own[1])):
        raise UserError(
            f"{name} is resized from {own} to {size}, but only doubling is a matter of shifts; "
            "take a trunk whose maps double, and inputs that its stride divides"
        )


def sixteen_times_doubled(x: Tensor) -> Tensor:
    """Sixteen times the bilinear map at twice the size, exact on integers.

    A new pixel is 9, 3, 3 and 1 sixteenths of the four next to it, rows and columns one after the
    other: a + b + 2 b, and a border pixel stands beside itself.

    Args:
        x: [N, C, H, W].

    Returns:
        [N, C, 2 H, 2 W].
    """
    return _four_times_doubled(_four_times_doubled(x, 3), 2)


def _four_times_doubled(x: Tensor, axis: int) -> Tensor:
    length = x.shape[axis]
    before = torch.cat((x.narrow(axis, 0, 1), x.narrow(axis, 0, length - 1)), axis)
    after = torch.cat((x.narrow(axis, 1, length - 1), x.narrow(axis, length - 1, 1)), axis)
    thrice = x + 2 * x
    return torch.stack((before + thrice, thrice + after), axis + 1).flatten(axis, axis + 1)
