"""The synapse: a chain of affine modules between one neuron and the next."""

from __future__ import annotations

from collections import OrderedDict

from torch import nn


class Synapse(nn.Sequential):
    """A chain of affine modules that turns spikes into current.

    Everything between two neurons that holds weights is one synapse: convolution or linear map,
    normalisation, layer scale. Each child is affine in evaluation mode, so the whole chain is one
    affine map of the spikes, which is what the passes over the graph rely on. Children are
    `nn.Conv2d`, `nn.Linear`, `nn.BatchNorm2d`, `BorderNorm` or `LayerScale`.

    Shapes: current [T*B, C_out, H', W'] from spikes [T*B, C_in, H, W]
    (`Linear`: [T*B, C_out] from [T*B, C_in]).
    """


class ConvNorm(Synapse):
    """Convolution followed by batch normalisation.

    Args:
        in_channels: Channels of the spikes.
        out_channels: Channels of the current.
        kernel_size: Side of the kernel in pixels.
        stride: Step of the kernel in pixels.
        padding: Zero padding in pixels; half the kernel when omitted.
        groups: Groups of the convolution.
        bias: Whether the convolution has a bias of its own beside the normalisation's.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        *,
        stride: int = 1,
        padding: int | None = None,
        groups: int = 1,
        bias: bool = False,
    ) -> None:
        padding = kernel_size // 2 if padding is None else padding
        conv = nn.Conv2d(
            in_channels, out_channels, kernel_size, stride, padding, groups=groups, bias=bias
        )
        super().__init__(OrderedDict(conv=conv, norm=nn.BatchNorm2d(out_channels)))


class DepthwiseSeparableConvNorm(Synapse):
    """Depthwise convolution, pointwise convolution and batch normalisation, no neuron between.

    The second half of Meta-SpikeFormer's SepConv. Its pointwise factor reads real values, not
    spikes: energy counts it as multiplications.

    Args:
        in_channels: Channels of the spikes.
        out_channels: Channels of the current.
        kernel_size: Side of the depthwise kernel in pixels.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int) -> None:
        depthwise = nn.Conv2d(
            in_channels,
            in_channels,
            kernel_size,
            padding=kernel_size // 2,
            groups=in_channels,
            bias=False,
        )
        pointwise = nn.Conv2d(in_channels, out_channels, 1, bias=False)
        norm = nn.BatchNorm2d(out_channels)
        super().__init__(OrderedDict(depthwise=depthwise, pointwise=pointwise, norm=norm))


class Linear(Synapse):
    """Linear map, the classifier's synapse.

    Args:
        in_features: Features of the spikes.
        out_features: Features of the current.
        bias: Whether it has a bias.
    """

    def __init__(self, in_features: int, out_features: int, *, bias: bool = True) -> None:
        super().__init__(OrderedDict(linear=nn.Linear(in_features, out_features, bias)))
