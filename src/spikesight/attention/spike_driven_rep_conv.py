"""RepConv with a neuron between each two of its factors."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from spikesight.synapses import ConvNorm, MembraneRectifier


class SpikeDrivenRepConv(nn.Module):
    """1x1, neuron, depthwise 3x3, neuron, 1x1: RepConv whose every factor reads spikes.

    Folding the official RepConv gives one dense kernel of 9 C^2 multiply-accumulates per pixel;
    not folding it leaves two factors that multiply real values; and its factors' low-bit weights
    multiply to a kernel that is not low-bit. With neurons between there is nothing to fold: three
    kernels of 2 C^2 + 9 C, each low-bit, each reading spikes, as Spike2Former's ESC (its eqs. 1-3)
    does it for SepConv.

    Args:
        in_channels: Channels of the spikes.
        out_channels: Channels of the current.
        neuron: Builds a neuron.
        rectified: Whether QSD-Transformer's MPRF comes last, before the next neuron.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        neuron: Callable[[], nn.Module],
        *,
        rectified: bool = False,
    ) -> None:
        super().__init__()
        self.reduce = ConvNorm(in_channels, in_channels, 1)
        self.reduce_neuron = neuron()
        self.depthwise = ConvNorm(in_channels, in_channels, 3, groups=in_channels)
        self.depthwise_neuron = neuron()
        self.expand = ConvNorm(in_channels, out_channels, 1)
        if rectified:
            self.expand.add_module("rectifier", MembraneRectifier(out_channels))

    def forward(self, spikes: Tensor) -> Tensor:
        """Current [T*B, C_out, H, W] from spikes [T*B, C_in, H, W]."""
        spikes = self.reduce_neuron(self.reduce(spikes))
        spikes = self.depthwise_neuron(self.depthwise(spikes))
        current: Tensor = self.expand(spikes)
        return current
