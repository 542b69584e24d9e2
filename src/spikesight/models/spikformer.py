"""Spikformer V1 (ICLR 2023): spiking patch splitting, then blocks of spiking self-attention.

The networks of ZK-Zhou/spikformer. Residuals add spikes after the neuron (SEW's ADD), so what
travels between the blocks are counts above D; every synapse still reads spikes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import partial
from typing import Annotated, Any, Literal

import torch
from msgspec import Meta
from torch import Tensor, nn

from spikesight.attention import SoftmaxSelfAttention, SpikingSelfAttention
from spikesight.errors import UserError
from spikesight.files.ranges import Depth, Positive, Ratio, Width
from spikesight.models.base import DropPath, linear_rates
from spikesight.models.classifier import Classifier
from spikesight.models.feed_forward import SpikingFeedForward
from spikesight.models.neuron_choice import NeuronChoice, starting_gain, summed_attention_scale
from spikesight.models.stems import (
    PoolOf,
    Stem,
    build_stem,
    check_strides,
    doubled_widths,
    last_maps,
)
from spikesight.models.variants import build_classifier, register_variants
from spikesight.options import AS_ARGUMENT, check_options
from spikesight.registry import register_family


@dataclass(frozen=True)
class SpikformerSizes:
    """Sizes of a Spikformer; a variant of the family is one of these.

    Attributes:
        width: Channels C of the tokens.
        depth: Transformer blocks.
        heads: Attention heads; must divide `width`.
        strides: Down-sampling of each stage of the stem, 1 or 2: (2, 2, 2, 2), CIFAR (1, 1, 2, 2).
        stem_widths: Channels of the stem's stages; ..., C / 4, C / 2 and C if omitted.
        stem: "sps" is V1's spiking patch splitting, "scs" V2's spiking convolutional stem, "pooled"
            pairs of 3x3 convolutions around a maximum of currents, for small images; "plain"
            strided 3x3 convolutions, a baseline for all.
        expansion: Width of the 3x3 pair of "scs" over its channels.
        mlp_ratio: Hidden width of the MLP over its input.
        attention: "spiking" is SSA, "softmax" a baseline that has no spike form.
        attention_scale: Factor of the attention product (released 0.125, CIFAR10-DVS 0.25); None
            for one with which small images start with attention neurons neither silent nor
            saturated.
        qkv_bias: Whether the query, key and value maps have a bias (the released CIFAR form).
        bias: Whether the other maps of a block have one.
        pool_of: What "sps" pools: "spikes", as released, or "currents", as SpikingJelly does.
        mprf: Whether QSD-Transformer's membrane potential rectify function (eq. 12) stands before
            the query, key and value neurons.
        norm_gain: Initial gain of the normalisations; None for one with which neurons use their
            levels from the start.
        layer_norms: Whether the two LayerNorms per block are there that the released modules hold
            and never read. They are frozen, and make state dicts and parameter counts equal.
        position_tokens: Tokens of the position embedding, with one more LayerNorm, that the
            released CIFAR10-DVS module holds and never reads; 0 for none. Frozen too.
    """

    width: Width
    depth: Depth
    heads: Width
    strides: tuple[int, ...] = (2, 2, 2, 2)
    stem_widths: tuple[Width, ...] | None = None
    stem: Stem = "sps"
    expansion: Ratio = 4
    mlp_ratio: Ratio = 4
    attention: Literal["spiking", "softmax"] = "spiking"
    attention_scale: Positive | None = 0.125
    qkv_bias: bool = False
    bias: bool = True
    pool_of: PoolOf = "spikes"
    mprf: bool = False
    norm_gain: float | None = 1.0
    layer_norms: bool = False
    position_tokens: Annotated[int, Meta(ge=0, le=2**16)] = 0

    def __post_init__(self) -> None:
        check_options(self, says=AS_ARGUMENT)
        object.__setattr__(self, "strides", tuple(self.strides))
        check_strides(self.strides, self.width if self.stem_widths is None else None)
        if self.stem_widths is not None:
            object.__setattr__(self, "stem_widths", tuple(self.stem_widths))
            stages = len(self.strides)
            if len(self.stem_widths) != stages or self.stem_widths[-1] != self.width:
                raise UserError(
                    f"stem_widths={self.stem_widths}; pass {stages} numbers, one for each stage of "
                    f"the stem, of which the last is width={self.width}"
                )
        if self.heads < 1 or self.width % self.heads:
            raise UserError(f"heads={self.heads} must divide the width {self.width}")

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels of the stem's stages."""
        return self.stem_widths or doubled_widths(self.width, len(self.strides))


Sizes = SpikformerSizes
"""Its name in version 0.1."""


class Block(nn.Module):
    """x + attention(x), then x + MLP(x), both added after their last neuron."""

    def __init__(self, sizes: SpikformerSizes, neuron: NeuronChoice, drop_path: float) -> None:
        super().__init__()
        assert sizes.attention_scale is not None
        self.attention: nn.Module
        if sizes.attention == "softmax":
            self.attention = SoftmaxSelfAttention(sizes.width, sizes.heads, neuron.build)
        else:
            self.attention = SpikingSelfAttention(
                sizes.width,
                sizes.heads,
                sizes.attention_scale,
                neuron.build,
                neuron.build_attention,
                bias=sizes.qkv_bias,
                project_bias=sizes.bias,
                rectified=sizes.mprf,
            )
        hidden = sizes.mlp_ratio * sizes.width
        self.mlp = SpikingFeedForward(sizes.width, hidden, neuron.build, bias=sizes.bias)
        self.drop_path = DropPath(drop_path, neuron.steps)
        if sizes.layer_norms:
            self.unread_norm1 = _unread_norm(sizes.width)
            self.unread_norm2 = _unread_norm(sizes.width)

    def forward(self, x: Tensor) -> Tensor:
        """Counts [T*B, C, H, W]."""
        x = x + self.drop_path(self.attention(x))
        counts: Tensor = x + self.drop_path(self.mlp(x))
        return counts


def _unread_norm(width: int) -> nn.LayerNorm:
    return nn.LayerNorm(width, eps=1e-6).requires_grad_(False)


class Spikformer(Classifier):
    """Spikformer V1, or V2 with `sizes.stem="scs"`.

    The classifier reads the mean of the counts over tokens and time, as in the paper.

    Args:
        sizes: Width, depth and options.
        neuron: Neurons of all layers (the paper's: LIF, T = 4).
        num_classes: Classes K.
        in_channels: Channels of the input.
        drop_path_rate: Stochastic depth of the last block; earlier blocks linearly less. The
            released V1 code builds it and never applies it.
    """

    def __init__(
        self,
        sizes: SpikformerSizes,
        neuron: NeuronChoice,
        *,
        num_classes: int,
        in_channels: int,
        drop_path_rate: float = 0.0,
    ) -> None:
        sizes = _resolve(sizes, neuron)
        stem = build_stem(
            sizes.stem,
            in_channels,
            sizes.widths,
            sizes.strides,
            neuron.build,
            expansion=sizes.expansion,
            pool_of=sizes.pool_of,
        )
        rates = linear_rates(drop_path_rate, sizes.depth)
        super().__init__(
            nn.Sequential(*stem, *(Block(sizes, neuron, rate) for rate in rates)),
            in_channels=in_channels,
            stride=math.prod(sizes.strides),
            num_features=sizes.width,
            num_classes=num_classes,
            steps=neuron.steps,
        )
        self.sizes = sizes
        self.resolved = {**vars(sizes), "neuron": neuron.name, "levels": neuron.levels}
        if sizes.position_tokens:
            position = torch.zeros(1, sizes.position_tokens, sizes.width)
            self.unread_position = nn.Parameter(position, requires_grad=False)
            self.unread_norm = _unread_norm(sizes.width)
        assert sizes.norm_gain is not None
        self.initialise(sizes.norm_gain)

    def feature_stages(self) -> list[tuple[int, int, int]]:
        """(Index in the trunk, channels, reduction) of the last map at each resolution."""
        return last_maps(self.sizes.strides, self.sizes.widths, len(self.trunk))


def _resolve(sizes: SpikformerSizes, neuron: NeuronChoice) -> SpikformerSizes:
    """Replaces every None by the number that suits the neuron."""
    gain = sizes.norm_gain or starting_gain(neuron)
    scale = sizes.attention_scale or summed_attention_scale(neuron, gain)
    return replace(sizes, norm_gain=gain, attention_scale=scale)


build = partial(build_classifier, Spikformer)


@register_family
def spikformer(**options: Any) -> nn.Module:
    """Of the sizes that are passed, else Spikformer-8-512's."""
    return build(SpikformerSizes(512, 8, 8), **options)


register_variants(
    build,
    {
        # For 28-32 px images and 2 CPU cores.
        "spikformer_nano": SpikformerSizes(
            64, 1, 4, strides=(2, 1, 2), attention_scale=None, norm_gain=None
        ),
        # For 32-96 px images; the resolutions of the CIFAR form.
        "spikformer_tiny": SpikformerSizes(
            128, 2, 4, strides=(1, 1, 2, 2), attention_scale=None, norm_gain=None
        ),
        # For 32 px images and 2 CPU cores: most of it dense convolutions, attention at 4x4.
        "spikformer_small": SpikformerSizes(
            256,
            1,
            4,
            strides=(1, 2, 2, 2),
            stem_widths=(32, 64, 256, 256),
            stem="pooled",
            mlp_ratio=2,
            attention_scale=None,
            norm_gain=None,
        ),
        # Spikformer-2-256 for CIFAR10-DVS, 128 px event frames: pass in_channels=2, steps=16.
        "spikformer_2_256": SpikformerSizes(256, 2, 16, attention_scale=0.25),
        # Spikformer-4-384 for CIFAR-10 and CIFAR-100, 32 px.
        "spikformer_4_384": SpikformerSizes(384, 4, 12, strides=(1, 1, 2, 2), qkv_bias=True),
        # Spikformer-8-384, 224 px.
        "spikformer_8_384": SpikformerSizes(384, 8, 6),
        # Spikformer-8-512, 224 px.
        "spikformer_8_512": SpikformerSizes(512, 8, 8),
        # Spikformer-8-768, 224 px.
        "spikformer_8_768": SpikformerSizes(768, 8, 12),
    },
)
