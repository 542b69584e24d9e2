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
        return current * self.rounded().view(1, -1, 1, 1)

    def rounded(self) -> Tensor:
        """The factors [C] that are multiplied by."""
        return self.factor


class PowerOfTwoLayerScale(LayerScale):
    """A layer scale rounded to powers of two, straight through.

    It scales a kernel whose steps are powers of two and leaves them powers of two.

    Args:
        scale: The layer scale that it replaces; the parameter is shared.
    """

    def __init__(self, scale: LayerScale) -> None:
        super().__init__(len(scale.factor), 1.0)
        self.factor = scale.factor

    def rounded(self) -> Tensor:
        """The factors [C]: plus or minus a power of two."""
        magnitude = self.factor.detach().abs().clamp_min(torch.finfo(self.factor.dtype).tiny)
        power = torch.exp2(torch.log2(magnitude).round())
        nearest = torch.where(self.factor < 0, -power, power)
        return self.factor + (nearest - self.factor).detach()


class SharedScale(LayerScale):
    """Multiplies all channels by one learnable factor (w_s of Spike2Former eq. 14).

    Args:
        channels: Channels of the current.
        initial: Value of the factor at the start.
    """

    def __init__(self, channels: int, initial: float) -> None:
        super().__init__(1, initial)
        self.channels = channels

    def rounded(self) -> Tensor:
        """The factor, once per channel [C]."""
        return self.factor.expand(self.channels)
