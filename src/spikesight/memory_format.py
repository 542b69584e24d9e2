"""In which order the memory of a map lies."""

from __future__ import annotations

import torch
from torch import Tensor


def is_channels_last(x: Tensor) -> bool:
    """Whether the memory of x [N, C, H, W] is [N, H, W, C]; not where both orders are the same."""
    return x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous()
