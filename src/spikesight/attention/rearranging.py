"""Index permutations within a sample, the memory-layout slips of the authors' code among them."""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn

Rearrangement = Literal["read_channels_last", "written_channels_last", "swap_channels_and_width"]


class Rearrange(nn.Module):
    """Permutes the elements of each sample.

    - "read_channels_last": memory of [N, C, H, W] is read as if it were [N, H, W, C];
    - "written_channels_last": the inverse, memory of [N, H, W, C] read as [N, C, H, W];
    - "swap_channels_and_width": [N, C, H, W] to [N, W, H, C].

    Args:
        kind: Which one.
    """

    def __init__(self, kind: Rearrangement) -> None:
        super().__init__()
        self.kind: Rearrangement = kind

    def forward(self, x: Tensor) -> Tensor:
        """Permutes x [N, C, H, W]."""
        return rearrange(x, self.kind)

    def extra_repr(self) -> str:
        """The kind."""
        return self.kind


def rearrange(x: Tensor, kind: Rearrangement) -> Tensor:
    """What `Rearrange` computes."""
    samples, channels, height, width = x.shape
    if kind == "read_channels_last":
        return x.reshape(samples, height, width, channels).permute(0, 3, 1, 2)
    if kind == "written_channels_last":
        return x.permute(0, 2, 3, 1).reshape(samples, channels, height, width)
    return x.transpose(1, 3)
