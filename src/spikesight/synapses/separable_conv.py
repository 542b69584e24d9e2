"""The energy-efficient separable convolution (ESC) of Spike2Former."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from spikesight.synapses.synapse import ConvNorm


class EnergyEfficientSeparableConv(nn.Module):
    """Pointwise, depthwise and pointwise convolution, each behind a neuron (eqs. 1-3).

    The neuron before the second pointwise convolution is what Meta-SpikeFormer's SepConv lacks:
    with it every weight reads spikes.

    Args:
        channels: Channels of the residual stream.
        neuron: Builds a neuron.
        ratio: Width of the depthwise convolution over `channels`.
        kernel_size: Side of the depthwise kernel in pixels.
    """

    def __init__(
        self,
        channels: int,
        neuron: Callable[[], nn.Module],
        *,
        ratio: int = 2,
        kernel_size: int = 3,
    ) -> None:
        super().__init__()
        hidden = ratio * channels
        self.neuron1 = neuron()
        self.expand = ConvNorm(channels, hidden, 1)
        self.neuron2 = neuron()
        self.depthwise = ConvNorm(hidden, hidden, kernel_size, groups=hidden)
        self.neuron3 = neuron()
        self.project = ConvNorm(hidden, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Current [T*B, C, H, W] of the branch from the stream [T*B, C, H, W]."""
        x = self.expand(self.neuron1(x))
        x = self.depthwise(self.neuron2(x))
        current: Tensor = self.project(self.neuron3(x))
        return current
