"""Spike-driven Transformer (SDT-V1, NeurIPS 2023): element-wise attention on a stream of currents.

The networks of BICLab/Spike-Driven-Transformer. Keys and values meet element by element, a neuron
makes a mask per channel of their sum over tokens, and the mask gates the queries: nothing is
multiplied but spikes. All residuals are membrane shortcuts, which add currents.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

from torch import Tensor, nn

from spikesight.attention import AttentionPools, ElementwiseSelfAttention
from spikesight.errors import UserError
from spikesight.files.ranges import Depth, Positive, Ratio, Width
from spikesight.models.base import DropPath, linear_rates
from spikesight.models.classifier import Classifier
from spikesight.models.feed_forward import SpikeDrivenFeedForward
from spikesight.models.neuron_choice import NeuronChoice, starting_gain, starting_scale
from spikesight.models.stems import (
    PatchSplittingStage,
    check_strides,
    doubled_widths,
    last_maps,
)
from spikesight.models.variants import build_classifier, register_variants
from spikesight.options import AS_ARGUMENT, check_options
from spikesight.registry import register_family
from spikesight.synapses import ConvNorm

Official = Literal["channel_pools"]

_USUAL_TOKENS = 64


@dataclass(frozen=True)
class SDTV1Sizes:
    """Sizes of a Spike-driven Transformer V1; a variant of the family is one of these.

    Attributes:
        width: Channels C of the tokens.
        depth: Transformer blocks.
        strides: Down-sampling of each stage of the stem, 1 or 2, from C / 2^(stages - 1) channels
            to C: (2, 2, 2, 2), CIFAR (1, 1, 2, 2). The authors' pooling_stat.
        mlp_ratio: Hidden width of the MLP over its input. With 1 there is a shortcut around each of
            its two layers, as in the released code.
        attention_scale: Factor of the sum over tokens that feeds the mask (released 1); None for
            one with which small images start with mask neurons neither silent nor saturated.
        attention_pools: Whether 3x3 maxima over space spread keys, values, their products and the
            gated queries (the authors' dvs_mode, for events). Only binary neurons have products
            whose maximum spikes can give.
        norm_gain: Initial gain of the normalisations; None for one with which neurons use their
            levels from the start.
        official: "channel_pools" reproduces a slip of the released code, for its checkpoints: with
            attention_pools its last two maxima are over token numbers and channels.
        heads: Heads of "channel_pools", which they matter to alone; must divide `width`.
    """

    width: Width
    depth: Depth
    strides: tuple[int, ...] = (2, 2, 2, 2)
    mlp_ratio: Ratio = 4
    attention_scale: Positive | None = 1.0
    attention_pools: bool = False
    norm_gain: float | None = 1.0
    official: Official | None = None
    heads: Width = 8

    def __post_init__(self) -> None:
        check_options(self, says=AS_ARGUMENT)
        object.__setattr__(self, "strides", tuple(self.strides))
        check_strides(self.strides, self.width)
        if self.official is not None and not self.attention_pools:
            raise UserError(
                f"official={self.official!r} is about maxima within the attention, of which there "
                "are none; pass attention_pools=True with it"
            )
        if self.official is not None and self.width % self.heads:
            raise UserError(f"heads={self.heads} must divide the width {self.width}")

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels of the stem's stages."""
        return doubled_widths(self.width, len(self.strides))


class PooledCurrents(nn.Module):
    """The stem's last convolution: 3x3, norm, and a maximum of currents before any neuron.

    Args:
        in_channels: Channels of the input.
        channels: Channels of the output.
        stride: 2 pools, 1 does not.
    """

    def __init__(self, in_channels: int, channels: int, stride: int) -> None:
        super().__init__()
        self.conv = ConvNorm(in_channels, channels, 3)
        self.pool = nn.MaxPool2d(3, 2, 1) if stride == 2 else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Stream [T*B, C', H/stride, W/stride] from spikes [T*B, C, H, W]."""
        stream: Tensor = self.pool(self.conv(x))
        return stream


class MembranePosition(nn.Module):
    """x + norm(3x3(neuron(x))): position by convolution, as a branch of the stream.

    Args:
        channels: Channels of the stream.
        neuron: Neurons of all layers.
    """

    def __init__(self, channels: int, neuron: NeuronChoice) -> None:
        super().__init__()
        self.neuron = neuron.build()
        self.conv = ConvNorm(channels, channels, 3)

    def forward(self, x: Tensor) -> Tensor:
        """Stream [T*B, C, H, W]."""
        stream: Tensor = x + self.conv(self.neuron(x))
        return stream


def build_attention(sizes: SDTV1Sizes, neuron: NeuronChoice) -> ElementwiseSelfAttention:
    """The attention of a block."""
    assert sizes.attention_scale is not None
    pools: AttentionPools = "space" if sizes.attention_pools else "none"
    slips = sizes.official == "channel_pools"
    return ElementwiseSelfAttention(
        sizes.width,
        neuron.build,
        neuron.build_attention,
        scale=sizes.attention_scale,
        pools="channels" if slips else pools,
        heads=sizes.heads if slips else 1,
    )


class Block(nn.Module):
    """x + attention(x), then x + MLP(x), on a stream of currents."""

    def __init__(self, sizes: SDTV1Sizes, neuron: NeuronChoice, drop_path: float) -> None:
        super().__init__()
        self.attention = build_attention(sizes, neuron)
        hidden = sizes.mlp_ratio * sizes.width
        self.mlp = SpikeDrivenFeedForward(sizes.width, hidden, 1, neuron.build, bias=True)
        self.shortcut_within = hidden == sizes.width
        self.drop_path = DropPath(drop_path, neuron.steps)

    def forward(self, x: Tensor) -> Tensor:
        """Stream [T*B, C, H, W]."""
        x = x + self.drop_path(self.attention(x))
        if self.shortcut_within:
            x = x + self.drop_path(self.mlp.expand(self.mlp.neuron1(x)))
            branch = self.mlp.project(self.mlp.neuron2(x))
        else:
            branch = self.mlp(x)
        stream: Tensor = x + self.drop_path(branch)
        return stream


class SDTV1(Classifier):
    """Spike-driven Transformer V1.

    The classifier reads the spikes that a neuron makes of the mean over tokens of the currents.

    Args:
        sizes: Width, depth and options.
        neuron: Neurons of all layers (the paper's: LIF, T = 4).
        num_classes: Classes K.
        in_channels: Channels of the input.
        drop_path_rate: Stochastic depth of the last block; earlier blocks linearly less. The
            released code builds it and never applies it.
    """

    def __init__(
        self,
        sizes: SDTV1Sizes,
        neuron: NeuronChoice,
        *,
        num_classes: int,
        in_channels: int,
        drop_path_rate: float = 0.0,
    ) -> None:
        sizes = _resolve(sizes, neuron)
        *spiking, last = sizes.strides
        trunk = nn.Sequential()
        channels = in_channels
        for width, stride in zip(sizes.widths, spiking, strict=False):
            trunk.append(PatchSplittingStage(channels, width, stride, neuron.build, "spikes"))
            channels = width
        trunk.append(PooledCurrents(channels, sizes.width, last))
        trunk.append(MembranePosition(sizes.width, neuron))
        for rate in linear_rates(drop_path_rate, sizes.depth):
            trunk.append(Block(sizes, neuron, rate))
        super().__init__(
            trunk,
            in_channels=in_channels,
            stride=math.prod(sizes.strides),
            num_features=sizes.width,
            num_classes=num_classes,
            steps=neuron.steps,
            head_neuron=neuron.build(),
        )
        self.sizes = sizes
        self.resolved = {**vars(sizes), "neuron": neuron.name, "levels": neuron.levels}
        assert sizes.norm_gain is not None
        self.initialise(sizes.norm_gain)

    def feature_stages(self) -> list[tuple[int, int, int]]:
        """(Index in the trunk, channels, reduction) of the last map at each resolution."""
        return last_maps(self.sizes.strides, self.sizes.widths, len(self.trunk))


def _resolve(sizes: SDTV1Sizes, neuron: NeuronChoice) -> SDTV1Sizes:
    """Replaces every None by the number that suits the neuron."""
    gain = sizes.norm_gain or starting_gain(neuron)
    scale = sizes.attention_scale
    if scale is None:
        scale = starting_scale(_USUAL_TOKENS, 2, neuron, gain)
    return replace(sizes, norm_gain=gain, attention_scale=scale)


build = partial(build_classifier, SDTV1)


@register_family
def sdtv1(**options: Any) -> nn.Module:
    """Of the sizes that are passed, else SDT-V1 8-512's."""
    return build(SDTV1Sizes(512, 8), **options)


register_variants(
    build,
    {
        # For 28-32 px images and 2 CPU cores.
        "sdtv1_nano": SDTV1Sizes(64, 1, strides=(2, 1, 2), attention_scale=None, norm_gain=None),
        # For CIFAR-10 and CIFAR-100, 32 px.
        "sdtv1_2_256": SDTV1Sizes(256, 2, strides=(1, 1, 2, 2)),
        "sdtv1_2_512": SDTV1Sizes(512, 2, strides=(1, 1, 2, 2)),
        # For CIFAR10-DVS, 64 px event frames: pass in_channels=2, steps=10.
        "sdtv1_2_256_cifar10dvs": SDTV1Sizes(256, 2, strides=(1, 1, 2, 2), attention_pools=True),
        # For DVS128 Gesture, 128 px event frames: pass in_channels=2, steps=16.
        "sdtv1_2_256_gesture": SDTV1Sizes(256, 2, strides=(1, 2, 2, 2)),
        # 224 px.
        "sdtv1_8_384": SDTV1Sizes(384, 8),
        "sdtv1_6_512": SDTV1Sizes(512, 6),
        "sdtv1_8_512": SDTV1Sizes(512, 8),
        "sdtv1_10_512": SDTV1Sizes(512, 10),
        "sdtv1_8_768": SDTV1Sizes(768, 8),
    },
)
