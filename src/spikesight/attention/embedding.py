"""What queries and maps are told beside the image: learned embeddings and positions."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from spikesight.errors import UserError


class LearnedEmbedding(nn.Module):
    """Learned currents that depend on no input: the queries, their positions, a map's level.

    Args:
        channels: Channels C.
        count: Number of embeddings, along the width.
    """

    def __init__(self, channels: int, count: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(1, channels, 1, count))

    def forward(self, reference: Tensor) -> Tensor:
        """[N, C, 1, count] for a tensor [N, ...], in the parameter's dtype."""
        return self.weight.expand(reference.shape[0], -1, -1, -1)


class SinePosition(nn.Module):
    """Sine and cosine of a pixel's row and column at C / 4 frequencies each (DETR).

    Args:
        channels: Channels C, a multiple of 4.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        if channels % 4:
            raise UserError(f"positions need a multiple of 4 channels, not {channels}")
        self.channels = channels

    def forward(self, reference: Tensor) -> Tensor:
        """[1, C, H, W] for a map [N, C, H, W], in its dtype."""
        height, width = reference.shape[-2:]
        return sine_position(self.channels, height, width, reference)


def sine_position(
    channels: int,
    height: int,
    width: int,
    like: Tensor,
    *,
    precision: torch.dtype = torch.float32,
) -> Tensor:
    """Positions [1, C, H, W]: rows in the first half of the channels, columns in the second.

    Rows and columns run from 0 to 2 pi over the map.

    Args:
        channels: Channels C.
        height: Rows H.
        width: Columns W.
        like: Gives the dtype and the device.
        precision: In which it is computed, whatever the result's type; the authors' code: float32.
    """
    features = channels // 2
    exponent = torch.arange(features, dtype=precision, device=like.device) // 2 * 2 / features
    frequency = 10_000**exponent

    def axis(size: int) -> Tensor:
        steps = torch.arange(1, size + 1, dtype=precision, device=like.device)
        angle = (steps / (steps[-1] + 1e-6) * (2 * math.pi)).unsqueeze(1) / frequency
        return torch.stack((angle[:, 0::2].sin(), angle[:, 1::2].cos()), 2).flatten(1).t()

    rows = axis(height).unsqueeze(2).expand(-1, -1, width)
    columns = axis(width).unsqueeze(1).expand(-1, height, -1)
    return torch.cat((rows, columns)).unsqueeze(0).to(like.dtype)
