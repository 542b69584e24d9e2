"""Layer scale: one learnable factor per channel of a residual branch."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class LayerScale(nn.Module):
    """Multiplies each channel by a learnable factor (CaiT; QSD-Transformer's residuals).

    Args:
        channels: Channels of the current.
        initial: Value of every factor at the start.
    """

    def __init__(self, channels: int, initial: float) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.full((channels,), initial))

    def forward(self, current: Tensor) -> Tensor:
        """Scales current [T*B, C, H, W] channel by channel."""
        return current * self.factor.view(1, -1, 1, 1)
