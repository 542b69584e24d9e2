"""SpikingResformer (CVPR 2024): a residual network's stages with dual spike self-attention.

The networks of xyshi2000/SpikingResformer. Every neuron stands before its synapse and all residuals
are membrane shortcuts. Attention adds up currents where there are spikes and scales its sums by
running firing rates; see `spikesight.attention.DualSpikeSelfAttention`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

from torch import Tensor, nn

from spikesight.attention import DualSpikeSelfAttention
from spikesight.errors import UserError
from spikesight.files.ranges import Depth, Ratio, Side, Stride, Width
from spikesight.models.base import DropPath, linear_rates
from spikesight.models.classifier import Classifier
from spikesight.models.neuron_choice import NeuronChoice, starting_gain
from spikesight.models.variants import build_classifier, register_variants
from spikesight.options import AS_ARGUMENT, check_options
from spikesight.registry import register_family
from spikesight.synapses import ConvNorm

Prologue = Literal["pooled", "flat"]

_SHRINKS: dict[Prologue, int] = {"pooled": 4, "flat": 1}


@dataclass(frozen=True)
class SpikingResformerSizes:
    """Sizes of a SpikingResformer; a variant of the family is one of these.

    Attributes:
        widths: Channels of each stage; the map halves its sides between two.
        heads: Attention heads of each stage; must divide its width.
        depths: Blocks of each stage.
        patches: Side of the patches of which each is one key of a stage's attention.
        prologue: How an image becomes currents: "pooled", 7x7 of stride 2 and a maximum, at a
            fourth of its resolution (ImageNet), or "flat", 3x3 at its own (CIFAR and events).
        mlp_ratio: Hidden width of the feed-forward part over its input.
        group_size: Channels of each group of its 3x3 convolution; must divide the hidden width.
        image_size: Side of the square images by whose number of keys the attention is always
            scaled, as the released code does whatever image it is given; None for the keys that
            there are.
        norm_gain: Initial gain of the normalisations; None for one with which neurons use their
            levels from the start.
    """

    widths: tuple[Width, ...]
    heads: tuple[Width, ...]
    depths: tuple[Depth, ...] = (1, 2, 3)
    patches: tuple[Stride, ...] = (4, 2, 1)
    prologue: Prologue = "pooled"
    mlp_ratio: Ratio = 4
    group_size: Width = 64
    image_size: Side | None = None
    norm_gain: float | None = 1.0

    def __post_init__(self) -> None:
        per_stage = ("widths", "heads", "depths", "patches")
        for name in per_stage:
            object.__setattr__(self, name, tuple(getattr(self, name)))
        check_options(self, says=AS_ARGUMENT)
        stages = len(self.widths)
        if not 1 <= stages <= 8 or {len(getattr(self, name)) for name in per_stage} != {stages}:
            given = ", ".join(f"{name}={getattr(self, name)}" for name in per_stage)
            raise UserError(f"{given}; pass one entry of each for each of up to 8 stages")
        for width, heads in zip(self.widths, self.heads, strict=True):
            if width % heads:
                raise UserError(f"heads={self.heads} must divide the widths {self.widths}")
            if self.mlp_ratio * width % self.group_size:
                raise UserError(
                    f"group_size={self.group_size} must divide the hidden width "
                    f"{self.mlp_ratio * width}"
                )
        if self.image_size is not None and self.image_size % self.stride:
            raise UserError(f"image_size={self.image_size} must be divisible by {self.stride}")

    @property
    def reductions(self) -> tuple[int, ...]:
        """How many times smaller than the input each stage's map is."""
        first = _SHRINKS[self.prologue]
        return tuple(first << i for i in range(len(self.widths)))

    @property
    def stride(self) -> int:
        """What an input's sides must be divisible by: every stage's patches must fit its map."""
        pairs = zip(self.reductions, self.patches, strict=True)
        return math.lcm(*(reduction * patch for reduction, patch in pairs))

    def keys(self, stage: int) -> int | None:
        """The number of keys by which a stage's attention is always scaled, if there is one."""
        if self.image_size is None:
            return None
        side = self.image_size // (self.reductions[stage] * self.patches[stage])
        return side * side


class GroupWiseFeedForward(nn.Module):
    """1x1, then a + grouped 3x3(a) on the wide map, then 1x1, with a neuron before each.

    GWFFN of SpikingResformer without its outer shortcut: the inner one adds currents on
    the hidden map.

    Args:
        channels: Channels of the stream.
        hidden: Channels of the wide map.
        group_size: Channels of each group of the 3x3.
        neuron: Neurons of all layers.
    """

    def __init__(self, channels: int, hidden: int, group_size: int, neuron: NeuronChoice) -> None:
        super().__init__()
        self.neuron1 = neuron.build()
        self.expand = ConvNorm(channels, hidden, 1)
        self.neuron2 = neuron.build()
        self.mix = ConvNorm(hidden, hidden, 3, groups=hidden // group_size)
        self.neuron3 = neuron.build()
        self.project = ConvNorm(hidden, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Current [T*B, C, H, W] of the branch from the stream [T*B, C, H, W]."""
        wide = self.expand(self.neuron1(x))
        wide = wide + self.mix(self.neuron2(wide))
        current: Tensor = self.project(self.neuron3(wide))
        return current


class Block(nn.Module):
    """x + attention(x), then x + feed-forward(x), on a stream of currents."""

    def __init__(
        self, sizes: SpikingResformerSizes, stage: int, neuron: NeuronChoice, drop_path: float
    ) -> None:
        super().__init__()
        width = sizes.widths[stage]
        self.attention = DualSpikeSelfAttention(
            width, sizes.heads[stage], sizes.patches[stage], neuron.build, keys=sizes.keys(stage)
        )
        self.mlp = GroupWiseFeedForward(width, sizes.mlp_ratio * width, sizes.group_size, neuron)
        self.drop_path = DropPath(drop_path, neuron.steps)

    def forward(self, x: Tensor) -> Tensor:
        """Stream [T*B, C, H, W]."""
        x = x + self.drop_path(self.attention(x))
        stream: Tensor = x + self.drop_path(self.mlp(x))
        return stream


class DownSampling(nn.Module):
    """Neuron, 3x3 of stride 2, norm; without a shortcut.

    Args:
        channels: Channels of the stream.
        out_channels: Channels of the stage that follows.
        neuron: Neurons of all layers.
    """

    def __init__(self, channels: int, out_channels: int, neuron: NeuronChoice) -> None:
        super().__init__()
        self.neuron = neuron.build()
        self.conv = ConvNorm(channels, out_channels, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        """Stream [T*B, C', H/2, W/2] from [T*B, C, H, W]."""
        stream: Tensor = self.conv(self.neuron(x))
        return stream


def build_prologue(prologue: Prologue, in_channels: int, width: int) -> nn.Sequential:
    """The layers from an image to the stream of the first stage; no neuron is among them."""
    if prologue == "flat":
        return nn.Sequential(ConvNorm(in_channels, width, 3))
    return nn.Sequential(ConvNorm(in_channels, width, 7, stride=2), nn.MaxPool2d(3, 2, 1))


class SpikingResformer(Classifier):
    """SpikingResformer.

    The classifier reads the mean over the map of the last stage's currents, and has no bias.

    Args:
        sizes: Widths, heads, depths and options.
        neuron: Neurons of all layers (the paper's: LIF, T = 4).
        num_classes: Classes K.
        in_channels: Channels of the input.
        drop_path_rate: Stochastic depth of the last block; earlier blocks linearly less (released:
            none).
    """

    def __init__(
        self,
        sizes: SpikingResformerSizes,
        neuron: NeuronChoice,
        *,
        num_classes: int,
        in_channels: int,
        drop_path_rate: float = 0.0,
    ) -> None:
        sizes = replace(sizes, norm_gain=sizes.norm_gain or starting_gain(neuron))
        trunk = nn.Sequential(build_prologue(sizes.prologue, in_channels, sizes.widths[0]))
        rates = iter(linear_rates(drop_path_rate, sum(sizes.depths)))
        for stage, depth in enumerate(sizes.depths):
            layers = nn.Sequential()
            if stage > 0:
                before, width = sizes.widths[stage - 1 : stage + 1]
                layers.append(DownSampling(before, width, neuron))
            for _ in range(depth):
                layers.append(Block(sizes, stage, neuron, next(rates)))
            trunk.append(layers)
        super().__init__(
            trunk,
            in_channels=in_channels,
            stride=sizes.stride,
            num_features=sizes.widths[-1],
            num_classes=num_classes,
            steps=neuron.steps,
            head_bias=False,
        )
        self.sizes = sizes
        self.resolved = {**vars(sizes), "neuron": neuron.name, "levels": neuron.levels}
        assert sizes.norm_gain is not None
        self.initialise(sizes.norm_gain)

    def feature_stages(self) -> list[tuple[int, int, int]]:
        """(Index in the trunk, channels, reduction) of each stage."""
        stages = zip(self.sizes.widths, self.sizes.reductions, strict=True)
        return [(1 + stage, width, reduction) for stage, (width, reduction) in enumerate(stages)]


build = partial(build_classifier, SpikingResformer)
_TI = SpikingResformerSizes(widths=(64, 192, 384), heads=(1, 3, 6))


@register_family
def spikingresformer(**options: Any) -> nn.Module:
    """Of the sizes that are passed, else SpikingResformer-Ti's."""
    return build(_TI, **options)


register_variants(
    build,
    {
        # For 28-32 px images and 2 CPU cores.
        "spikingresformer_nano": SpikingResformerSizes(
            widths=(8, 32, 96),
            heads=(1, 2, 4),
            depths=(1, 1, 1),
            prologue="flat",
            group_size=16,
            norm_gain=None,
        ),
        # For CIFAR-10 and CIFAR-100, 32 px; for CIFAR10-DVS pass steps=16.
        "spikingresformer_cifar": replace(_TI, prologue="flat"),
        # For DVS128 Gesture: pass neuron="lif", neuron_arguments={"learnable_tau": True}, steps=16.
        "spikingresformer_dvsg": replace(_TI, widths=(32, 96, 192), prologue="flat", group_size=32),
        # 224 px.
        "spikingresformer_ti": _TI,
        "spikingresformer_s": replace(_TI, widths=(64, 256, 512), heads=(1, 4, 8)),
        "spikingresformer_m": replace(_TI, widths=(64, 384, 768), heads=(1, 6, 12)),
        "spikingresformer_l": replace(_TI, widths=(128, 512, 1024), heads=(2, 8, 16)),
    },
)
