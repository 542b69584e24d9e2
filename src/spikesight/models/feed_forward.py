"""The two feed-forward branches of the field: neurons first, or neurons last."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from spikesight.synapses import ConvNorm


class SpikeDrivenFeedForward(nn.Module):
    """Neuron, convolution, neuron, convolution: a branch of a stream of currents (SDT-V2).

    With kernels of 1 it is the MLP of a block, with kernels of 3 the channel mixer.

    Args:
        channels: Channels of the stream.
        hidden: Channels between the two convolutions.
        kernel_size: Side of the kernels in pixels.
        neuron: Builds a neuron.
        bias: Whether the convolutions have biases of their own.
    """

    def __init__(
        self,
        channels: int,
        hidden: int,
        kernel_size: int,
        neuron: Callable[[], nn.Module],
        *,
        bias: bool = False,
    ) -> None:
        super().__init__()
        self.neuron1 = neuron()
        self.expand = ConvNorm(channels, hidden, kernel_size, bias=bias)
        self.neuron2 = neuron()
        self.project = ConvNorm(hidden, channels, kernel_size, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """Current [T*B, C, H, W] of the branch from the stream [T*B, C, H, W]."""
        x = self.expand(self.neuron1(x))
        current: Tensor = self.project(self.neuron2(x))
        return current


class SpikingFeedForward(nn.Module):
    """1x1, norm, neuron, 1x1, norm, neuron: a branch whose spikes are added (Spikformer's MLP).

    Args:
        channels: Channels of the counts.
        hidden: Channels between the two convolutions.
        neuron: Builds a neuron.
        bias: Whether the convolutions have biases of their own.
    """

    def __init__(
        self, channels: int, hidden: int, neuron: Callable[[], nn.Module], *, bias: bool = False
    ) -> None:
        super().__init__()
        self.expand = ConvNorm(channels, hidden, 1, bias=bias)
        self.expand_neuron = neuron()
        self.project = ConvNorm(hidden, channels, 1, bias=bias)
        self.project_neuron = neuron()

    def forward(self, x: Tensor) -> Tensor:
        """Spikes [T*B, C, H, W] of the branch from counts [T*B, C, H, W]."""
        x = self.expand_neuron(self.expand(x))
        spikes: Tensor = self.project_neuron(self.project(x))
        return spikes
