"""Spike-driven deformable attention (SDDA) of Spike2Former."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from torch import Tensor, nn

from spikesight.attention.deformable_sampling import DeformableSampling
from spikesight.attention.product import check_divides
from spikesight.attention.rearranging import Rearrange
from spikesight.synapses import ConvNorm, EnergyEfficientSeparableConv

Spiked = Literal["weights", "query"]


class NeuronConvNorm(nn.Module):
    """Neuron, convolution and batch normalisation.

    Args:
        in_channels: Channels of the stream that it reads.
        out_channels: Channels of the current.
        neuron: Builds a neuron.
        kernel_size: Side of the kernel in pixels.
        stride: Step of the kernel in pixels.
        groups: Groups of the convolution.
        bias: Whether the convolution has a bias beside the normalisation's.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        neuron: Callable[[], nn.Module],
        *,
        kernel_size: int = 1,
        stride: int = 1,
        groups: int = 1,
        bias: bool = False,
    ) -> None:
        super().__init__()
        self.neuron = neuron()
        self.synapse = ConvNorm(
            in_channels, out_channels, kernel_size, stride=stride, groups=groups, bias=bias
        )

    def forward(self, x: Tensor) -> Tensor:
        """Current [T*B, C', H / stride, W / stride] from a stream [T*B, C, H, W]."""
        current: Tensor = self.synapse(self.neuron(x))
        return current


class SpikeDrivenDeformableAttention(nn.Module):
    """Samples the value at learned positions, weighted by spikes (Spike2Former eqs. 4-8).

    The value passes an ESC, the attention weights are spikes without a softmax, and what was
    sampled passes another ESC.

    Args:
        channels: Channels of the residual stream.
        groups: Groups of channels with positions of their own; must divide `channels`.
        neuron: Builds a neuron.
        side: Side of the kernel of sampled points.
        kernel_size: Side of the depthwise kernels.
        separable: Whether value and output pass an ESC; else a 1x1 convolution (table 3,
            "w/o. ESC in SD Deformable attention").
        depthwise: Whether a depthwise convolution precedes positions and weights (eq. 6; table 3,
            "w/o. DWConv in SD Deformable attention").
        spiked: "weights", or "query": the sampled value is spikes and the weights are not
            (table 3, "Spiking in Query").
        bias: Whether the convolutions of positions and weights have biases.
        official_layout: Whether positions and weights are read in the memory layout that the
            authors' code reads them in, and pixel positions rounded as there.
        offset_bits: Bits after the binary point that positions are rounded to; None for
            real-valued ones.
    """

    def __init__(
        self,
        channels: int,
        groups: int,
        neuron: Callable[[], nn.Module],
        *,
        side: int = 3,
        kernel_size: int = 5,
        separable: bool = True,
        depthwise: bool = True,
        spiked: Spiked = "weights",
        bias: bool = False,
        official_layout: bool = False,
        offset_bits: int | None = None,
    ) -> None:
        super().__init__()
        check_divides("groups", groups, channels)

        def projection() -> nn.Module:
            if separable:
                return EnergyEfficientSeparableConv(channels, neuron, kernel_size=kernel_size)
            return NeuronConvNorm(channels, channels, neuron)

        self.value = projection()
        self.value_neuron = neuron() if spiked == "query" else nn.Identity()
        self.context = (
            NeuronConvNorm(channels, channels, neuron, kernel_size=kernel_size, groups=channels)
            if depthwise
            else nn.Identity()
        )
        self.sampling = DeformableSampling(
            groups, side, single_precision_grid=official_layout, offset_bits=offset_bits
        )
        points = groups * self.sampling.points
        self.neuron = neuron()
        self.offset = ConvNorm(channels, 2 * points, 1, bias=bias)
        self.weight = ConvNorm(channels, points, 1, bias=bias)
        self.weight_neuron = neuron() if spiked == "weights" else nn.Identity()
        layout = Rearrange("read_channels_last") if official_layout else nn.Identity()
        self.offset_layout = self.weight_layout = layout
        self.output = projection()

    def forward(self, x: Tensor) -> Tensor:
        """Current [T*B, C, H, W] of the branch from the stream [T*B, C, H, W]."""
        value = self.value_neuron(self.value(x))
        spikes = self.neuron(self.context(x))
        offset = self.offset_layout(self.offset(spikes))
        weight = self.weight_layout(self.weight_neuron(self.weight(spikes)))
        current: Tensor = self.output(self.sampling(value, offset, weight))
        return current
