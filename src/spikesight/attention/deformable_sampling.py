"""Sampling a map at learned positions: the operation inside deformable attention."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from spikesight.errors import UserError


class DeformableSampling(nn.Module):
    """Weighted sum of values at K displaced points around every pixel, group by group.

    y_g(p) = sum_k A_gk(p) * x_g(p + p_k + dp_gk(p)), Spike2Former eq. 4 without its projections;
    the points p_k are those of a K = side x side kernel, values between pixels are bilinear, and
    outside the map they are zero (DCNv3).

    Args:
        groups: Groups of channels with positions of their own.
        side: Side of the kernel in pixels.
        single_precision_grid: Whether pixel positions are rounded to float32 fractions of the
            padded map, as in the authors' code, which moves samples by about 1e-6 pixels.
        offset_bits: Bits after the binary point that an offset in pixels is rounded to; gradients
            pass straight through. With 2, bilinear weights are sixteenths that shifts and
            additions make. None for real-valued offsets.
    """

    def __init__(
        self,
        groups: int,
        side: int = 3,
        *,
        single_precision_grid: bool = False,
        offset_bits: int | None = None,
    ) -> None:
        super().__init__()
        if offset_bits is not None and not 0 <= offset_bits <= 8:
            raise UserError(f"offset_bits={offset_bits}; pass 0 to 8, or None")
        self.groups = groups
        self.side = side
        self.single_precision_grid = single_precision_grid
        self.offset_bits = offset_bits

    @property
    def points(self) -> int:
        """Points per group, K."""
        return self.side**2

    def forward(self, value: Tensor, offset: Tensor, weight: Tensor) -> Tensor:
        """Samples.

        Args:
            value: [N, C, H, W].
            offset: [N, groups * K * 2, H, W] in pixels, x before y; the points of a group in
                columns, the left one first.
            weight: [N, groups * K, H, W].

        Returns:
            [N, C, H, W].
        """
        return deformable_sample(
            value,
            offset,
            weight,
            self.groups,
            self.side,
            single_precision_grid=self.single_precision_grid,
            offset_bits=self.offset_bits,
        )

    def extra_repr(self) -> str:
        """Groups, side and grid."""
        return f"groups={self.groups}, side={self.side}, offset_bits={self.offset_bits}"


def deformable_sample(
    value: Tensor,
    offset: Tensor,
    weight: Tensor,
    groups: int,
    side: int,
    *,
    single_precision_grid: bool = False,
    offset_bits: int | None = None,
) -> Tensor:
    """What `DeformableSampling` computes; shapes as there, positions in float32 or more."""
    dtype = value.dtype
    value, offset, weight = (
        x.to(torch.promote_types(x.dtype, torch.float32)) for x in (value, offset, weight)
    )
    if offset_bits is not None:
        offset = round_offset(offset, offset_bits)
    samples, channels, height, width = value.shape
    points = side**2
    displaced = offset.reshape(samples, groups, points, 2, height, width)
    axes = []
    for axis, size in enumerate((width, height)):
        start = _grid(offset, size, side, axis, single_precision_grid)
        axes.append((2 * (start + displaced[:, :, :, axis]) + 1) / size - 1)
    sampled: Tensor = F.grid_sample(
        value.reshape(samples * groups, channels // groups, height, width),
        torch.stack(axes, -1).reshape(samples * groups, points * height, width, 2),
        align_corners=False,
    ).unflatten(2, (points, height))
    weights = weight.reshape(samples * groups, 1, points, height, width)
    summed: Tensor = (sampled * weights).sum(2)
    return summed.reshape(value.shape).to(dtype)


def round_offset(offset: Tensor, bits: int) -> Tensor:
    """Rounds to `bits` bits after the binary point, half up; gradients pass straight through."""
    rounded = (offset * 2.0**bits + 0.5).floor() / 2.0**bits
    return offset + (rounded - offset).detach() if offset.requires_grad else rounded


def _grid(like: Tensor, size: int, side: int, axis: int, single_precision: bool) -> Tensor:
    """Undisplaced points in pixels along an axis (0 is x): [K, 1, W] or [K, H, 1]."""
    dtype = torch.float32 if single_precision else like.dtype
    pixels = torch.arange(size, dtype=dtype, device=like.device)
    steps = torch.arange(side, dtype=dtype, device=like.device) - side // 2
    steps = steps.repeat_interleave(side) if axis == 0 else steps.repeat(side)
    if single_precision:
        border = side // 2
        padded = size + 2 * border
        fractions = (pixels + (border + 0.5)) / padded + (steps / padded).unsqueeze(1)
        points = fractions.to(like.dtype) * padded - (border + 0.5)
    else:
        points = pixels + steps.unsqueeze(1)
    return points.unsqueeze(1 if axis == 0 else 2)
