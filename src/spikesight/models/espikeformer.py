"""E-SpikeFormer, the network of Spike-driven Transformer V3 (arXiv 2411.16061).

Two networks share the name. The base ones (5 to 19 M) are trained from scratch, and each of their
synapses reads spikes. The large ones (83 M, 171 M) are pre-trained on masked images; the head that
they are published with reads a real-valued mean.
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

from torch import Tensor, nn

from spikesight.attention.e_sdsa import (
    EfficientSpikeDrivenSelfAttention,
    PointwiseRepConv,
    Projection,
)
from spikesight.errors import UserError
from spikesight.files.ranges import Depth, Kernel, Positive, Ratio, Stride, Width
from spikesight.models.base import DropPath, linear_rates
from spikesight.models.classifier import Classifier
from spikesight.models.feed_forward import SpikeDrivenFeedForward
from spikesight.models.metaspikformer import DownSampling, build_layer_scale
from spikesight.models.neuron_choice import (
    NeuronChoice,
    mean_attention_scale,
    starting_gain,
    summed_attention_scale,
)
from spikesight.models.stems import last_maps
from spikesight.models.variants import build_classifier, register_variants
from spikesight.options import AS_ARGUMENT, check_options
from spikesight.presentation import present
from spikesight.registry import as_trunk, register_family
from spikesight.synapses import EnergyEfficientSeparableConv, Linear

Mixer = Literal["separable", "rep_conv", "none"]
Head = Literal["counts", "currents", "both"]

_CONVOLUTIONAL = 3
_RELEASED_GAIN = 2.0  # of the attention product, times head_dim^-0.5

_DENSE: dict[str, Any] = {"attention_scale": None, "attention_mean": True, "norm_gain": None}


@dataclass(frozen=True)
class ESpikeFormerSizes:
    """Sizes of an E-SpikeFormer; a variant of the family is one of these.

    Attributes:
        widths: Channels of the stages: three of convolutions, then one or two of attention.
        depths: Blocks per stage.
        strides: Down-sampling at the entry of each stage.
        stem_kernel: Side of the first convolution's kernel.
        heads: Attention heads; must divide the widths of the attention's stages.
        mlp_ratio: Hidden width of the attention blocks' MLP over its input.
        conv_ratio: Hidden width of the convolution blocks' 3x3 pair over its input.
        separable: Whether a separable convolution stands before that pair (base).
        separable_ratio: Hidden width of separable convolutions over their input.
        separable_kernel: Side of their depthwise kernel in convolution blocks; 3 in the others.
        mixer: What stands before the attention of a block: a "separable" convolution (base), a
            pointwise "rep_conv" (83 M) or "none" (171 M).
        projection: How attention maps to queries, keys, values and back: by one "pointwise"
            convolution (base) or by a pointwise "rep_conv" (large).
        value_ratio: Channels of the values over those of queries and keys (base 4, large 1).
        attention_scale: Factor of the attention product (large 0.125), or "head_dim" for 2
            head_dim^-0.5 (base); None for one with which small images start with attention neurons
            neither silent nor saturated.
        attention_mean: Whether the attention's sum over pixels is a mean, so that large images
            do not saturate its neurons.
        layer_scale: Initial layer scale of attention and MLP (large 1e-6); None for none.
        head: What classifies: one head of the "counts" of a neuron behind the pooling (base), one
            of the "currents" that are pooled (large), which is not spike-driven, or "both" (large,
            distilled): a pair of logits in training, their mean in evaluation.
        norm_gain: Initial gain of the normalisations, in thresholds per standard deviation of a
            current; None for one with which neurons use their levels from the start.
    """

    widths: tuple[Width, ...]
    depths: tuple[Depth, ...] = (1, 1, 2, 6, 2)
    strides: tuple[Stride, ...] = (2, 2, 2, 2, 1)
    stem_kernel: Kernel = 7
    heads: Width = 8
    mlp_ratio: Ratio = 4
    conv_ratio: Ratio = 4
    separable: bool = True
    separable_ratio: Ratio = 2
    separable_kernel: Kernel = 7
    mixer: Mixer = "separable"
    projection: Projection = "pointwise"
    value_ratio: Ratio = 4
    attention_scale: Positive | Literal["head_dim"] | None = "head_dim"
    attention_mean: bool = False
    layer_scale: float | None = None
    head: Head = "counts"
    norm_gain: float | None = 1.0

    def __post_init__(self) -> None:
        for name in ("widths", "depths", "strides"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        check_options(self, says=AS_ARGUMENT)
        if len(self.widths) not in (_CONVOLUTIONAL + 1, _CONVOLUTIONAL + 2):
            raise UserError(
                f"widths={self.widths}; pass 4 or 5 numbers: three stages of convolutions, then "
                "one or two of attention"
            )
        for name in ("depths", "strides"):
            if len(getattr(self, name)) != len(self.widths):
                raise UserError(f"{name} needs {len(self.widths)} entries, as many as widths")
        for width in self.widths[_CONVOLUTIONAL:]:
            if width % self.heads:
                raise UserError(f"heads={self.heads} must divide the attention width {width}")


class ConvBlock(nn.Module):
    """x + separable convolution(x) in base networks, then x + two 3x3 convolutions."""

    def __init__(
        self, channels: int, sizes: ESpikeFormerSizes, neuron: NeuronChoice, drop_path: float
    ) -> None:
        super().__init__()
        separable = _separable(channels, sizes, sizes.separable_kernel, neuron)
        self.separable = separable if sizes.separable else None
        hidden, bias = sizes.conv_ratio * channels, not sizes.separable
        self.pair = SpikeDrivenFeedForward(channels, hidden, 3, neuron.build, bias=bias)
        self.drop_path = DropPath(drop_path, neuron.steps)

    def forward(self, x: Tensor) -> Tensor:
        """Stream [T*B, C, H, W]."""
        if self.separable is not None:
            x = x + self.drop_path(self.separable(x))
        stream: Tensor = x + self.drop_path(self.pair(x))
        return stream


class TransformerBlock(nn.Module):
    """x + mixer(x) where there is one, then x + attention(x), then x + MLP(x)."""

    def __init__(
        self, channels: int, sizes: ESpikeFormerSizes, neuron: NeuronChoice, drop_path: float
    ) -> None:
        super().__init__()
        self.mixer: nn.Module | None = None
        if sizes.mixer == "separable":
            self.mixer = _separable(channels, sizes, 3, neuron)
        elif sizes.mixer == "rep_conv":
            linear = PointwiseRepConv(channels, channels, ratio=1, outer_norm=False)
            self.mixer = nn.Sequential(neuron.build(), linear)
        scale = sizes.attention_scale
        assert scale is not None
        self.attention = EfficientSpikeDrivenSelfAttention(
            channels,
            sizes.heads,
            _RELEASED_GAIN / math.sqrt(channels // sizes.heads) if scale == "head_dim" else scale,
            neuron.build,
            neuron.build_attention,
            value_ratio=sizes.value_ratio,
            projection=sizes.projection,
            mean=sizes.attention_mean,
        )
        self.mlp = SpikeDrivenFeedForward(
            channels, sizes.mlp_ratio * channels, 1, neuron.build, bias=True
        )
        self.attention_scale = build_layer_scale(channels, sizes.layer_scale)
        self.mlp_scale = build_layer_scale(channels, sizes.layer_scale)
        self.drop_path = DropPath(drop_path, neuron.steps)

    def forward(self, x: Tensor) -> Tensor:
        """Stream [T*B, C, H, W]."""
        if self.mixer is not None:
            x = x + self.drop_path(self.mixer(x))
        x = x + self.drop_path(self.attention_scale(self.attention(x)))
        stream: Tensor = x + self.drop_path(self.mlp_scale(self.mlp(x)))
        return stream


def _separable(
    channels: int, sizes: ESpikeFormerSizes, kernel: int, neuron: NeuronChoice
) -> EnergyEfficientSeparableConv:
    return EnergyEfficientSeparableConv(
        channels, neuron.build, ratio=sizes.separable_ratio, kernel_size=kernel
    )


class ESpikeFormer(Classifier):
    """E-SpikeFormer (Spike-driven Transformer V3, TPAMI 2025).

    Args:
        sizes: Widths, depths and options.
        neuron: Neurons of all layers.
        num_classes: Classes K.
        in_channels: Channels of the input.
        drop_path_rate: Stochastic depth of the last block; earlier blocks linearly less. The
            released base code builds it and never applies it.
    """

    def __init__(
        self,
        sizes: ESpikeFormerSizes,
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
            kernel = 3 if index else sizes.stem_kernel
            of_stage = neuron if index else None
            down = DownSampling(channels, width, kernel, sizes.strides[index], of_stage)
            block = ConvBlock if index < _CONVOLUTIONAL else TransformerBlock
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
            head_neuron=None if sizes.head == "currents" else neuron.build_head(),
        )
        both = sizes.head == "both"
        self.head_of_currents = Linear(channels, num_classes) if both else None
        if both:
            self.untraceable = (
                "head='both' averages the logits of two heads, one of which reads currents, and is "
                "not spike-driven; build or load the model with head='counts', or 'currents', "
                "whose classifier multiplies"
            )
        self.sizes = sizes
        self.resolved = {**vars(sizes), "neuron": neuron.name, "levels": neuron.levels}
        assert sizes.norm_gain is not None
        self.initialise(sizes.norm_gain)

    def forward(self, x: Tensor) -> Any:
        """Logits [B, K] of images [B, C, H, W] or event frames [B, T, C, H, W].

        With both heads: in training the logits of currents and those of counts, in evaluation
        their mean.
        """
        if self.head_of_currents is None:
            return super().forward(x)
        return self._both(self.pool(self.trunk(self.presentation(x))))

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Any:
        """What the head makes of the trunk's last map; see `Classifier`."""
        if self.head_of_currents is None or pre_logits:
            return super().forward_head(x, pre_logits)
        return self._both(self.pool(present(x, self.steps)))

    def _both(self, pooled: Tensor) -> Any:
        assert self.head_of_currents is not None
        of_currents = self.readout(self.head_of_currents(pooled))
        of_counts = self.readout(self.head(self.head_neuron(pooled)))
        return (of_currents, of_counts) if self.training else (of_currents + of_counts) / 2

    def reset_classifier(self, num_classes: int, global_pool: str | None = None) -> None:
        """Gives the model fresh heads, for other classes; see `Classifier`."""
        super().reset_classifier(num_classes, global_pool)
        if self.head_of_currents is not None:
            self.head_of_currents = copy.deepcopy(self.head)

    def feature_stages(self) -> list[tuple[int, int, int]]:
        """(Stage, channels, reduction) of the last stage at each resolution."""
        return last_maps(self.sizes.strides, self.sizes.widths, len(self.trunk))


def _resolve(sizes: ESpikeFormerSizes, neuron: NeuronChoice) -> ESpikeFormerSizes:
    """Replaces every None by the number that suits the neuron."""
    gain = sizes.norm_gain or starting_gain(neuron)
    scale = sizes.attention_scale
    if scale is None and sizes.attention_mean:
        scale = mean_attention_scale(sizes.widths[-1] // sizes.heads, neuron, gain)
    elif scale is None:
        scale = summed_attention_scale(neuron, gain)
    return replace(sizes, norm_gain=gain, attention_scale=scale)


_build = partial(build_classifier, ESpikeFormer)
_NANO: dict[str, Any] = {
    **{"depths": (0, 1, 1, 1, 1), "stem_kernel": 3, "conv_ratio": 1, "separable_kernel": 3},
    **{"attention_scale": None, "norm_gain": None},
}
_LARGE: dict[str, Any] = {
    **{"depths": (1, 1, 2, 12), "strides": (2, 2, 2, 2), "separable": False},
    **{"projection": "rep_conv", "value_ratio": 1, "attention_scale": 0.125},
    **{"layer_scale": 1e-6, "head": "currents"},
}


@register_family
@as_trunk(**_DENSE)
def espikeformer(**options: Any) -> nn.Module:
    """Of the sizes that are passed, else the 5.1 M network's."""
    return _build(ESpikeFormerSizes((16, 32, 64, 128, 192)), **options)


register_variants(
    _build,
    {
        # For 28-32 px images and 2 CPU cores.
        "espikeformer_nano": ESpikeFormerSizes(
            (32, 32, 64, 64, 64), strides=(2, 1, 2, 1, 1), heads=4, **_NANO
        ),
        # For 32-96 px images.
        "espikeformer_tiny": ESpikeFormerSizes(
            (32, 64, 128, 128, 128), strides=(1, 2, 2, 2, 1), **_NANO
        ),
    },
    strides=(2, 2, 2, 2, 1),
    **_DENSE,
)

register_variants(
    _build,
    {
        # 224 px; the released Efficient_Spiking_Transformer_t, _s, _m and _l.
        "espikeformer_2_7m": ESpikeFormerSizes((12, 24, 48, 96, 128)),
        "espikeformer_5m": ESpikeFormerSizes((16, 32, 64, 128, 192)),
        "espikeformer_10m": ESpikeFormerSizes((24, 48, 96, 192, 240)),
        "espikeformer_19m": ESpikeFormerSizes((32, 64, 128, 256, 360)),
        # 224 or 384 px; the released spikformer12_512.
        "espikeformer_83m": ESpikeFormerSizes((64, 128, 256, 512), mixer="rep_conv", **_LARGE),
        # spikformer12_768 with the stem of its pre-training; that of fine-tuning is (98, 196, ...).
        "espikeformer_171m": ESpikeFormerSizes((96, 192, 384, 768), mixer="none", **_LARGE),
    },
    **_DENSE,
)
