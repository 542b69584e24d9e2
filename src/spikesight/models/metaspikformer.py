"""Meta-SpikeFormer, the backbone of Spike-driven Transformer V2 and of QSD-Transformer."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

from torch import Tensor, nn

from spikesight.attention import RepConvForm, SpikeDrivenSelfAttention
from spikesight.errors import UserError
from spikesight.files.ranges import Depth, Kernel, Positive, Ratio, Share, Stride, Width
from spikesight.models.base import DropPath, linear_rates, quieten
from spikesight.models.classifier import Classifier
from spikesight.models.feed_forward import SpikeDrivenFeedForward
from spikesight.models.neuron_choice import COUNTS_SHARE, NeuronChoice, mean_attention_scale
from spikesight.models.stems import last_maps
from spikesight.models.variants import build_classifier, register_variants
from spikesight.options import AS_ARGUMENT, check_options
from spikesight.registry import as_trunk, register_family
from spikesight.synapses import ConvNorm, DepthwiseSeparableConvNorm, LayerScale, Synapse

SeparableForm = Literal["official", "spike_driven"]
HeadPools = Literal["currents", "counts"]

# Attention that sums over the pixels of a photo would saturate, so a segmenter's trunk takes means.
_DENSE: dict[str, Any] = {"attention_scale": None, "attention_mean": True, "norm_gain": None}


@dataclass(frozen=True)
class MetaSpikFormerSizes:
    """Sizes of a Meta-SpikeFormer; a variant of the family is one of these.

    Attributes:
        widths: Channels of the five stages (1a, 1b, 2: convolution; 3, 4: attention).
        depths: Blocks per stage.
        strides: Down-sampling at the entry of each stage.
        stem_kernel: Side of the first convolution's kernel.
        heads: Attention heads; must divide the last two widths.
        mlp_ratio: Hidden width of the attention blocks' MLP over its input.
        conv_ratio: Hidden width of the convolution blocks' 3x3 pair over its input.
        separable_ratio: Hidden width of SepConv over its input.
        separable_kernel: Side of SepConv's depthwise kernel.
        separable: "official" has no neuron before SepConv's second pointwise convolution, which
            then multiplies real values; "spike_driven" has one (Spike2Former's ESC, eqs. 1-3).
        rep_conv: "official" has no neuron between the factors of the attention's RepConv, which
            fold into one dense 3x3 kernel; "spike_driven" has, and nothing folds: a quarter of
            the operations, and low-bit factors stay low-bit.
        attention_scale: Factor of the attention product (SDT-V2 0.125), or "head_dim" for
            head_dim^-0.5 (Spike2Former's trunk); None for one with which small images start with
            attention neurons neither silent nor saturated.
        attention_mean: Whether the attention's sum over pixels is a mean, so that large images
            do not saturate its neurons.
        mprf: Whether QSD-Transformer's membrane potential rectify function (eq. 12) stands before
            the query, key and value neurons; the authors' release lacks it.
        layer_scale: Initial layer scale of the attention blocks' branches; None for none.
        norm_gain: Initial gain of the normalisations, in thresholds per standard deviation of a
            current; None for D / 4, at least 1, with which neurons use their levels from the start.
        branch_gain: Initial gain of the last normalisation of every residual branch over norm_gain;
            small ones keep the first gradients from drowning in what neurons round off.
        head_pools: What is averaged over the last map for the classifier: "currents", as released,
            of whose small means the neuron behind loses most in rounding, or the "counts" of a
            neuron at every pixel.
    """

    widths: tuple[Width, Width, Width, Width, Width]
    depths: tuple[Depth, Depth, Depth, Depth, Depth] = (1, 1, 2, 6, 2)
    strides: tuple[Stride, Stride, Stride, Stride, Stride] = (2, 2, 2, 2, 1)
    stem_kernel: Kernel = 7
    heads: Width = 8
    mlp_ratio: Ratio = 4
    conv_ratio: Ratio = 4
    separable_ratio: Ratio = 2
    separable_kernel: Kernel = 7
    separable: SeparableForm = "official"
    rep_conv: RepConvForm = "official"
    attention_scale: Positive | Literal["head_dim"] | None = 0.125
    attention_mean: bool = False
    mprf: bool = False
    layer_scale: float | None = None
    norm_gain: float | None = 1.0
    branch_gain: Share = 1.0
    head_pools: HeadPools = "currents"

    def __post_init__(self) -> None:
        for name in ("widths", "depths", "strides"):
            value = tuple(getattr(self, name))
            object.__setattr__(self, name, value)
            if len(value) != 5:
                raise UserError(f"{name} needs 5 entries (stages 1a, 1b, 2, 3, 4), not {value}")
        check_options(self, says=AS_ARGUMENT)
        for width in self.widths[3:]:
            if width % self.heads:
                raise UserError(f"heads={self.heads} must divide the attention width {width}")


Sizes = MetaSpikFormerSizes
"""Its name in version 0.1."""


class SepConv(nn.Module):
    """Inverted separable convolution: pointwise, depthwise, pointwise, with neurons between."""

    def __init__(self, channels: int, sizes: MetaSpikFormerSizes, neuron: NeuronChoice) -> None:
        super().__init__()
        hidden, kernel = sizes.separable_ratio * channels, sizes.separable_kernel
        self.neuron1 = neuron.build()
        self.expand = ConvNorm(channels, hidden, 1)
        self.neuron2 = neuron.build()
        if sizes.separable == "official":
            self.project = nn.Sequential(DepthwiseSeparableConvNorm(hidden, channels, kernel))
        else:
            depthwise = ConvNorm(hidden, hidden, kernel, groups=hidden)
            self.project = nn.Sequential(depthwise, neuron.build(), ConvNorm(hidden, channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Current [T*B, C, H, W] of the branch."""
        x = self.expand(self.neuron1(x))
        current: Tensor = self.project(self.neuron2(x))
        return current


class ConvBlock(nn.Module):
    """x + SepConv(x), then x + two 3x3 convolutions."""

    def __init__(
        self, channels: int, sizes: MetaSpikFormerSizes, neuron: NeuronChoice, drop_path: float
    ) -> None:
        super().__init__()
        self.separable = SepConv(channels, sizes, neuron)
        self.mixer = SpikeDrivenFeedForward(channels, sizes.conv_ratio * channels, 3, neuron.build)
        self.drop_path = DropPath(drop_path, neuron.steps)

    def branches(self) -> tuple[nn.Module, ...]:
        """What is added to the stream."""
        return self.separable, self.mixer

    def forward(self, x: Tensor) -> Tensor:
        """Stream [T*B, C, H, W]."""
        x = x + self.drop_path(self.separable(x))
        stream: Tensor = x + self.drop_path(self.mixer(x))
        return stream


class TransformerBlock(nn.Module):
    """x + attention(x), then x + MLP(x)."""

    def __init__(
        self, channels: int, sizes: MetaSpikFormerSizes, neuron: NeuronChoice, drop_path: float
    ) -> None:
        super().__init__()
        assert sizes.attention_scale is not None
        scale = sizes.attention_scale
        self.attention = SpikeDrivenSelfAttention(
            channels,
            sizes.heads,
            (channels // sizes.heads) ** -0.5 if scale == "head_dim" else scale,
            neuron.build,
            neuron.build_attention,
            rectified=sizes.mprf,
            rep_conv=sizes.rep_conv,
            mean=sizes.attention_mean,
        )
        self.mlp = SpikeDrivenFeedForward(
            channels, sizes.mlp_ratio * channels, 1, neuron.build, bias=True
        )
        self.attention_scale = build_layer_scale(channels, sizes.layer_scale)
        self.mlp_scale = build_layer_scale(channels, sizes.layer_scale)
        self.drop_path = DropPath(drop_path, neuron.steps)

    def branches(self) -> tuple[nn.Module, ...]:
        """What is added to the stream."""
        return self.attention, self.mlp

    def forward(self, x: Tensor) -> Tensor:
        """Stream [T*B, C, H, W]."""
        x = x + self.drop_path(self.attention_scale(self.attention(x)))
        stream: Tensor = x + self.drop_path(self.mlp_scale(self.mlp(x)))
        return stream


def _resolve(sizes: MetaSpikFormerSizes, neuron: NeuronChoice) -> MetaSpikFormerSizes:
    """Replaces every None by the number that suits the neuron.

    The attention product starts at a share of the product of counts (binary spikes are rarer: all
    of it), measured on 28-32 px images. It grows with the cube of the norms' gain, and its neuron
    should see a current of that gain.
    """
    probe = neuron.probe()
    gain = sizes.norm_gain or max(1.0, probe.levels / 4)
    scale = 1.0 if probe.levels == 1 else COUNTS_SHARE / gain**2 / probe.unit**3
    if sizes.attention_mean:
        scale = mean_attention_scale(sizes.widths[-1] // sizes.heads, neuron, gain)
    return replace(sizes, norm_gain=gain, attention_scale=sizes.attention_scale or scale)


def build_layer_scale(channels: int, initial: float | None) -> nn.Module:
    """The scale of a residual branch; none where it has no initial value."""
    return nn.Identity() if initial is None else Synapse(LayerScale(channels, initial))


class DownSampling(nn.Module):
    """Neuron and strided 3x3 convolution, or the stem's convolution on the image itself."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int,
        stride: int,
        neuron: NeuronChoice | None,
    ) -> None:
        super().__init__()
        self.neuron = nn.Identity() if neuron is None else neuron.build()
        self.conv = ConvNorm(in_channels, out_channels, kernel, stride=stride, bias=True)

    def forward(self, x: Tensor) -> Tensor:
        """Stream [T*B, C', H/stride, W/stride] from [T*B, C, H, W]."""
        stream: Tensor = self.conv(self.neuron(x))
        return stream


class MetaSpikFormer(Classifier):
    """Meta-SpikeFormer (SDT-V2, ICLR 2024; the network of QSD-Transformer, ICLR 2025).

    Args:
        sizes: Widths, depths and options.
        neuron: Neurons of all layers.
        num_classes: Classes K.
        in_channels: Channels of the input.
        drop_path_rate: Stochastic depth of the last block; earlier blocks linearly less.
    """

    def __init__(
        self,
        sizes: MetaSpikFormerSizes,
        neuron: NeuronChoice,
        *,
        num_classes: int,
        in_channels: int,
        drop_path_rate: float = 0.0,
    ) -> None:
        sizes = _resolve(sizes, neuron)
        rates = iter(linear_rates(drop_path_rate, sum(sizes.depths)))
        trunk = nn.Sequential()
        channels = in_channels
        for index, (width, depth) in enumerate(zip(sizes.widths, sizes.depths, strict=True)):
            kernel = sizes.stem_kernel if index == 0 else 3
            down = DownSampling(
                channels, width, kernel, sizes.strides[index], neuron if index else None
            )
            block = ConvBlock if index < 3 else TransformerBlock
            blocks = (block(width, sizes, neuron, next(rates)) for _ in range(depth))
            trunk.append(nn.Sequential(down, *blocks))
            channels = width
        super().__init__(
            trunk,
            in_channels=in_channels,
            stride=math.prod(sizes.strides),
            num_features=channels,
            num_classes=num_classes,
            steps=neuron.steps,
            head_neuron=neuron.build(),
            pools_counts=sizes.head_pools == "counts",
        )
        self.sizes = sizes
        self.resolved = {**vars(sizes), "neuron": neuron.name, "levels": neuron.levels}
        assert sizes.norm_gain is not None
        self.initialise(sizes.norm_gain)
        for part in self.modules():
            if isinstance(part, ConvBlock | TransformerBlock):
                for branch in part.branches():
                    quieten(branch, sizes.branch_gain)

    def feature_stages(self) -> list[tuple[int, int, int]]:
        """(Stage, channels, reduction) of the last stage at each resolution."""
        return last_maps(self.sizes.strides, self.sizes.widths, len(self.trunk))


_build = partial(build_classifier, MetaSpikFormer)


@register_family
@as_trunk(**_DENSE)
def metaspikformer(**options: Any) -> nn.Module:
    """Of the sizes that are passed, else SDT-V2 15M's."""
    return _build(MetaSpikFormerSizes(widths=(32, 64, 128, 256, 360)), **options)


register_variants(
    _build,
    {
        # For 28-32 px images and 2 CPU cores; every synapse reads spikes.
        "metaspikformer_nano": MetaSpikFormerSizes(
            widths=(32, 32, 64, 64, 64),
            depths=(0, 1, 1, 1, 1),
            strides=(2, 1, 2, 1, 1),
            stem_kernel=3,
            heads=4,
            conv_ratio=1,
            separable_kernel=3,
            separable="spike_driven",
            attention_scale=None,
            norm_gain=None,
        ),
        # For 32-96 px images; every synapse reads spikes.
        "metaspikformer_tiny": MetaSpikFormerSizes(
            widths=(32, 64, 128, 128, 128),
            depths=(0, 1, 1, 1, 1),
            strides=(1, 2, 2, 2, 1),
            stem_kernel=3,
            conv_ratio=2,
            separable_kernel=3,
            separable="spike_driven",
            attention_scale=None,
            norm_gain=None,
        ),
    },
    strides=(2, 2, 2, 2, 1),
    **_DENSE,
)


register_variants(
    _build,
    {
        # SDT-V2 15M (QSD-Transformer's 1.8M at 4 bits), 224 px.
        "metaspikformer_15m": MetaSpikFormerSizes(widths=(32, 64, 128, 256, 360)),
        # SDT-V2 31M (QSD-Transformer's 3.9M at 4 bits), 224 px.
        "metaspikformer_31m": MetaSpikFormerSizes(widths=(48, 96, 192, 384, 480)),
        # SDT-V2 55M (QSD-Transformer's 6.8M at 4 bits), 224 px.
        "metaspikformer_55m": MetaSpikFormerSizes(widths=(64, 128, 256, 512, 640)),
    },
    **_DENSE,
)
