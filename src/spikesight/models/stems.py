"""Stems of the Spikformers: from an image to tokens, as stages of falling resolution."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

from torch import Tensor, nn

from spikesight.errors import UserError
from spikesight.neurons import Neuron
from spikesight.synapses import ConvNorm

Stem = Literal["sps", "scs", "pooled", "plain"]
PoolOf = Literal["spikes", "currents"]


class PatchSplittingStage(nn.Module):
    """One stage of spiking patch splitting (SPS): 3x3, norm, neuron, max-pool (3, 2, 1).

    Args:
        in_channels: Channels of the input.
        channels: Channels of the output.
        stride: 2 pools, 1 does not.
        neuron: Builds a neuron.
        pool_of: What is pooled: the neuron's "spikes", as released, or the "currents" before it,
            as in SpikingJelly's Spikformer. At T = 1 the two are equal.
    """

    def __init__(
        self,
        in_channels: int,
        channels: int,
        stride: int,
        neuron: Callable[[], Neuron],
        pool_of: PoolOf,
    ) -> None:
        super().__init__()
        self.conv = ConvNorm(in_channels, channels, 3)
        self.neuron = neuron()
        self.pool = nn.MaxPool2d(3, 2, 1) if stride == 2 else nn.Identity()
        self.pools_spikes = pool_of == "spikes"

    def forward(self, x: Tensor) -> Tensor:
        """Spikes [T*B, C', H/stride, W/stride] from [T*B, C, H, W]."""
        current = self.conv(x)
        if self.pools_spikes:
            spikes: Tensor = self.pool(self.neuron(current))
        else:
            spikes = self.neuron(self.pool(current))
        return spikes


class RelativePosition(nn.Module):
    """x + neuron(norm(3x3(x))): position by convolution, the end of SPS.

    Args:
        channels: Channels of the map.
        neuron: Builds a neuron.
    """

    def __init__(self, channels: int, neuron: Callable[[], Neuron]) -> None:
        super().__init__()
        self.conv = ConvNorm(channels, channels, 3)
        self.neuron = neuron()

    def forward(self, x: Tensor) -> Tensor:
        """Counts [T*B, C, H, W] from spikes [T*B, C, H, W]."""
        counts: Tensor = x + self.neuron(self.conv(x))
        return counts


class SpikingConvolutionStage(nn.Module):
    """One stage of the spiking convolutional stem (SCS) of Spikformer V2, as reconstructed.

    A convolution as large as its stride with norm and neuron, then x + two 3x3 convolutions that
    widen and narrow, each with norm and neuron. There is no max-pool.

    Args:
        in_channels: Channels of the input.
        channels: Channels of the output.
        stride: 2 has a 2x2 kernel; 1, which is not published, a 3x3 kernel.
        expansion: Width between the two 3x3 convolutions over `channels`.
        neuron: Builds a neuron.
    """

    def __init__(
        self,
        in_channels: int,
        channels: int,
        stride: int,
        expansion: int,
        neuron: Callable[[], Neuron],
    ) -> None:
        super().__init__()
        kernel, padding = (2, 0) if stride == 2 else (3, 1)
        self.down = ConvNorm(in_channels, channels, kernel, stride=stride, padding=padding)
        self.down_neuron = neuron()
        self.widen = ConvNorm(channels, expansion * channels, 3)
        self.widen_neuron = neuron()
        self.narrow = ConvNorm(expansion * channels, channels, 3)
        self.narrow_neuron = neuron()

    def forward(self, x: Tensor) -> Tensor:
        """Counts [T*B, C', H/stride, W/stride] from [T*B, C, H, W]."""
        x = self.down_neuron(self.down(x))
        branch = self.narrow_neuron(self.narrow(self.widen_neuron(self.widen(x))))
        counts: Tensor = x + branch
        return counts


class PooledConvolutionStage(nn.Module):
    """One stage of a stem that pools currents: dense 3x3 convolutions at falling resolution.

    3x3, norm, max-pool (2, 2) and neuron, then x + (3x3, norm, neuron): the order of the small
    convolutional networks that learn CIFAR-10 in the fewest operations (airbench,
    arXiv 2404.00498), with the residual addition after the neuron as in SCS.

    Args:
        in_channels: Channels of the input.
        channels: Channels of the output.
        neuron: Builds a neuron.
    """

    def __init__(self, in_channels: int, channels: int, neuron: Callable[[], Neuron]) -> None:
        super().__init__()
        self.conv = ConvNorm(in_channels, channels, 3)
        self.pool = nn.MaxPool2d(2, 2)
        self.neuron = neuron()
        self.refine = ConvNorm(channels, channels, 3)
        self.refine_neuron = neuron()

    def forward(self, x: Tensor) -> Tensor:
        """Counts [T*B, C', H/2, W/2] from [T*B, C, H, W]."""
        x = self.neuron(self.pool(self.conv(x)))
        counts: Tensor = x + self.refine_neuron(self.refine(x))
        return counts


class PlainStage(nn.Module):
    """One stage of a plain convolutional stem, a baseline: strided 3x3, norm, neuron.

    Args:
        in_channels: Channels of the input.
        channels: Channels of the output.
        stride: Step of the kernel in pixels.
        neuron: Builds a neuron.
    """

    def __init__(
        self, in_channels: int, channels: int, stride: int, neuron: Callable[[], Neuron]
    ) -> None:
        super().__init__()
        self.conv = ConvNorm(in_channels, channels, 3, stride=stride)
        self.neuron = neuron()

    def forward(self, x: Tensor) -> Tensor:
        """Spikes [T*B, C', H/stride, W/stride] from [T*B, C, H, W]."""
        spikes: Tensor = self.neuron(self.conv(x))
        return spikes


def build_stem(
    stem: Stem,
    in_channels: int,
    widths: Sequence[int],
    strides: Sequence[int],
    neuron: Callable[[], Neuron],
    *,
    expansion: int,
    pool_of: PoolOf,
) -> list[nn.Module]:
    """The stages of a stem.

    Args:
        stem: "sps" (V1), "scs" (V2), "pooled", whose stages of stride 1 are plain, or "plain".
        in_channels: Channels of the image.
        widths: Channels of each stage.
        strides: Down-sampling of each stage.
        neuron: Builds a neuron.
        expansion: Of SCS.
        pool_of: Of SPS.

    Returns:
        One module per stage; SPS has its relative position after them.
    """
    stages: list[nn.Module] = []
    for channels, stride in zip(widths, strides, strict=True):
        if stem == "sps":
            stages.append(PatchSplittingStage(in_channels, channels, stride, neuron, pool_of))
        elif stem == "scs":
            stages.append(SpikingConvolutionStage(in_channels, channels, stride, expansion, neuron))
        elif stem == "pooled" and stride == 2:
            stages.append(PooledConvolutionStage(in_channels, channels, neuron))
        else:
            stages.append(PlainStage(in_channels, channels, stride, neuron))
        in_channels = channels
    if stem == "sps":
        stages.append(RelativePosition(in_channels, neuron))
    return stages


def check_strides(strides: tuple[int, ...], width: int | None) -> None:
    """Refuses what is no stem of a few stages that keep or halve their map.

    Args:
        strides: Down-sampling of each stage.
        width: Channels of the last one, where each has twice those of the one before.

    Raises:
        UserError: If there are too many, a stage shrinks its map otherwise, or the channels do not
            halve so often.
    """
    stages = len(strides)
    if not 1 <= stages <= 8 or not set(strides) <= {1, 2}:
        raise UserError(f"strides={strides}; pass 1 or 2 for each of up to 8 stages of the stem")
    if width is not None and (width < 1 or width % 2 ** (stages - 1)):
        raise UserError(
            f"width={width} is not divisible by {2 ** (stages - 1)}, as {stages} stages "
            "that double their channels need"
        )


def doubled_widths(width: int, stages: int) -> tuple[int, ...]:
    """Channels of stages of which each has twice those of the one before, up to `width`."""
    return tuple(width >> stages - 1 - i for i in range(stages))


def last_maps(
    strides: Sequence[int], widths: Sequence[int], layers: int
) -> list[tuple[int, int, int]]:
    """(Index, channels, reduction) of the last map at each resolution of a trunk.

    Args:
        strides: Down-sampling of the stages of the stem, the trunk's first layers.
        widths: Their channels.
        layers: Layers of the trunk; those behind the stem keep the size of its last map.
    """
    maps: list[tuple[int, int, int]] = []
    reduction = 1
    stages = len(strides)
    for index in range(layers):
        if index < stages:
            reduction *= strides[index]
        if maps and maps[-1][2] == reduction:
            maps.pop()
        maps.append((index, widths[min(index, stages - 1)], reduction))
    return maps
