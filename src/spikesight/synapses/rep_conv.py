"""RepConv: a 3x3 convolution trained as three factors and folded into one kernel."""

from __future__ import annotations

from collections import OrderedDict

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from spikesight.synapses.membrane_rectifier import MembraneRectifier
from spikesight.synapses.synapse import Synapse


class BorderNorm(nn.Module):
    """Batch normalisation whose image of zero pads the border.

    Padding after the normalisation with the value that a zero input would have there makes the
    chain 1x1 -> norm -> pad -> 3x3 equal to one zero-padded 3x3 convolution. In training the
    border uses the running statistics just updated, and no gradient flows through it.

    Args:
        channels: Channels of the current.
        padding: Width of the border in pixels.
    """

    def __init__(self, channels: int, padding: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels)
        self.padding = padding

    def border(self) -> Tensor:
        """The normalised value of a zero input, [C]."""
        norm = self.norm
        assert norm.running_mean is not None
        assert norm.running_var is not None
        gain = norm.weight.detach() * (norm.running_var + norm.eps).rsqrt()
        return norm.bias.detach() - norm.running_mean * gain

    def forward(self, current: Tensor) -> Tensor:
        """Normalises current [N, C, H, W] and pads it to [N, C, H + 2p, W + 2p]."""
        padded = F.pad(self.norm(current), (self.padding,) * 4)
        with torch.no_grad():
            self._fill_border(padded)
        return padded

    def _fill_border(self, padded: Tensor) -> None:
        border, width = self.border().view(-1, 1, 1).to(padded.dtype), self.padding
        height, length = padded.shape[-2:]
        for rows, columns in (
            (slice(width), slice(length)),
            (slice(height - width, height), slice(length)),
            (slice(width, height - width), slice(width)),
            (slice(width, height - width), slice(length - width, length)),
        ):
            padded[..., rows, columns] = border


class RepConv(Synapse):
    """Meta-SpikeFormer's re-parameterised convolution of the attention's projections.

    1x1 -> norm -> pad with the norm's image of zero -> depthwise 3x3 -> 1x1 -> norm -> norm.
    In evaluation mode it equals one dense, zero-padded 3x3 convolution.

    Args:
        in_channels: Channels of the spikes.
        out_channels: Channels of the current.
        outer_norm: Whether the second normalisation follows, as everywhere in the network.
        rectified: Whether QSD-Transformer's MPRF comes last, before the neuron.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        outer_norm: bool = True,
        rectified: bool = False,
    ) -> None:
        super().__init__(
            OrderedDict(
                reduce=nn.Conv2d(in_channels, in_channels, 1, bias=False),
                border=BorderNorm(in_channels, padding=1),
                depthwise=nn.Conv2d(in_channels, in_channels, 3, groups=in_channels, bias=False),
                expand=nn.Conv2d(in_channels, out_channels, 1, bias=False),
                inner_norm=nn.BatchNorm2d(out_channels),
            )
        )
        if outer_norm:
            self.add_module("outer_norm", nn.BatchNorm2d(out_channels))
        if rectified:
            self.add_module("rectifier", MembraneRectifier(out_channels))
