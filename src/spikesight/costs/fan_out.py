"""Fan-out: how many accumulations spikes really cause."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def accumulations(
    counts: Tensor, weight: Tensor, stride: int = 1, padding: int = 0, groups: int = 1
) -> float:
    """Accumulations that counts cause: each spike times the outputs that it really reaches.

    A spike at the border reaches fewer outputs than one inside, and a stride skips some.

    Args:
        counts: Spike counts [N, C, H, W], or [N, C] for a matrix.
        weight: Kernel [C_out, C / groups, k_h, k_w] or matrix [C_out, C].
        stride: Step of the kernel in pixels.
        padding: Border in pixels.
        groups: Groups of the convolution.

    Returns:
        The number over all N.
    """
    if weight.ndim == 2:
        return float(counts.sum().double()) * len(weight)
    per_group = counts.double().unflatten(1, (groups, -1)).sum((0, 1, 2))
    ones = per_group.new_ones(1, 1, *weight.shape[-2:])
    windows = F.conv2d(per_group[None, None], ones, stride=stride, padding=padding)
    return float(windows.sum()) * len(weight) / groups
