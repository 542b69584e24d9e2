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
    return float(reached(counts.sum(0, keepdim=True), weight, stride, padding, groups))


def reached(
    counts: Tensor, weight: Tensor, stride: int = 1, padding: int = 0, groups: int = 1
) -> Tensor:
    """As `accumulations`, of each of N: [N], float64."""
    if weight.ndim == 2:
        return counts.double().flatten(1).sum(1) * len(weight)
    summed = counts.double().sum(1, keepdim=True)
    ones = summed.new_ones(1, 1, *weight.shape[-2:])
    windows = F.conv2d(summed, ones, stride=stride, padding=padding)
    return windows.flatten(1).sum(1) * len(weight) / groups
