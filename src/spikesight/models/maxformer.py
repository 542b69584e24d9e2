"""Max-Former (NeurIPS 2025, arXiv 2505.18608): maxima of currents and depthwise convolutions first.

The networks of bic-L/MaxFormer. Spiking neurons blur; early stages therefore mix pixels by
depthwise convolutions, and the embeddings take maxima of the currents of both their paths. Every
branch is neuron, then synapse, and every sum is one of currents (membrane shortcut), so that each
synapse but the first reads spikes.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

from torch import Tensor, nn

from spikesight.attention import NeuronConvNorm, SpikingSelfAttention, TokenAttention
from spikesight.errors import UserError
from spikesight.files.ranges import Depth, Positive, Ratio, Width
from spikesight.models.base import Shortcut, linear_rates
from spikesight.models.classifier import Classifier
from spikesight.models.feed_forward import SpikeDrivenFeedForward
from spikesight.models.neuron_choice import NeuronChoice, starting_gain, summed_attention_scale
from spikesight.models.variants import build_classifier, register_variants
from spikesight.options import AS_ARGUMENT, check_options
from spikesight.registry import register_family
from spikesight.synapses import ConvNorm

Stem = Literal["flat", "strided", "pooled", "events"]
Pools = Literal["first_and_shortcut", "first", "second"]
Mixer = Literal[
    "none",
    "max_pool",
    "depthwise_3",
    "depthwise_5",
    "depthwise_7",
    "attention",
    "attention_depthwise",
    "token_attention",
]

_STEMS: dict[Stem, tuple[int, int]] = {
    "flat": (1, 2),
    "strided": (4, 2),
    "pooled": (4, 2),
    "events": (8, 8),
}
"""How many times a stem shrinks the image, and what the first width must be divisible by."""


@dataclass(frozen=True)
class MaxFormerSizes:
    """Sizes of a Max-Former; a variant of the family is one of these.

    Attributes:
        widths: Channels of each stage.
        depths: Blocks of each stage.
        mixers: What a stage's blocks begin with: a depthwise convolution of kernel 3, 5 or 7;
            "attention", the spiking self-attention, or "attention_depthwise", the same with a
            depthwise 5x5 behind it; "token_attention", QKFormer's, linear in tokens; "max_pool",
            the maximum of 3x3 currents in the place of the stream; or "none".
        heads: Attention heads; must divide the widths of the stages with attention.
        stem: How an image becomes currents: "flat" at its own resolution (CIFAR), "strided" at a
            fourth of it (ImageNet), "pooled" likewise by two maxima (MS-QKFormer), "events" by
            three maxima at an eighth (128 px event frames).
        pools: Of which currents the embeddings between two stages take maxima: those of the
            "first" or "second" 3x3 convolution alone, with a strided shortcut, or of
            "first_and_shortcut", as the paper proposes.
        mlp_ratio: Hidden width of the MLP over its input; at 1 each half has a shortcut of its own.
        attention_scale: Factor of the attention product (released 0.125); None for one with which
            small images start with attention neurons neither silent nor saturated.
        norm_gain: Initial gain of the normalisations; None for one with which neurons use their
            levels from the start.
    """

    widths: tuple[Width, ...]
    depths: tuple[Depth, ...]
    mixers: tuple[Mixer, ...]
    heads: Width
    stem: Stem = "strided"
    pools: Pools = "first_and_shortcut"
    mlp_ratio: Ratio = 4
    attention_scale: Positive | None = 0.125
    norm_gain: float | None = 1.0

    def __post_init__(self) -> None:
        for name in ("widths", "depths", "mixers"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        check_options(self, says=AS_ARGUMENT)
        stages = len(self.widths)
        if not 1 <= stages <= 8 or {len(self.depths), len(self.mixers)} != {stages}:
            raise UserError(
                f"widths={self.widths}, depths={self.depths}, mixers={self.mixers}; pass one entry "
                "of each for each of up to 8 stages"
            )
        divisor = _STEMS[self.stem][1]
        if self.widths[0] % divisor:
            raise UserError(
                f"widths={self.widths}; the stem {self.stem!r} needs a first one that is divisible "
                f"by {divisor}"
            )
        for width, mixer in zip(self.widths, self.mixers, strict=True):
            if "attention" in mixer and width % self.heads:
                raise UserError(f"heads={self.heads} must divide the width {width}")

    @property
    def reductions(self) -> tuple[int, ...]:
        """How many times smaller than the input each stage's map is."""
        first = _STEMS[self.stem][0]
        return tuple(first << stage for stage in range(len(self.widths)))


class Embedding(nn.Module):
    """Spikes read by two paths whose currents add up, at fewer pixels and more channels.

    Args:
        path: From spikes to current, with neurons of its own.
        shortcut: From the same spikes to current: a 1x1 convolution.
        neuron: Gives the spikes.
        entry: What makes currents of the image, if this is the first stage.
    """

    def __init__(
        self, path: nn.Module, shortcut: nn.Module, neuron: nn.Module, entry: nn.Module | None
    ) -> None:
        super().__init__()
        self.entry = entry or nn.Identity()
        self.neuron = neuron
        self.path = path
        self.shortcut = shortcut

    def forward(self, x: Tensor) -> Tensor:
        """Stream [T*B, C', H', W'] from the stream, or the image, [T*B, C, H, W]."""
        spikes = self.neuron(self.entry(x))
        stream: Tensor = self.path(spikes) + self.shortcut(spikes)
        return stream


def build_stem(stem: Stem, in_channels: int, width: int, neuron: NeuronChoice) -> Embedding:
    """The first embedding, which reads the image.

    Args:
        stem: See `MaxFormerSizes`.
        in_channels: Channels of the image.
        width: Channels of its currents.
        neuron: Neurons.
    """
    half = width // 2
    match stem:
        case "flat":
            entry = _chain(conv1=ConvNorm(in_channels, half, 3))
            path = _chain(conv1=ConvNorm(half, width, 3))
            shortcut = _chain(conv=ConvNorm(half, width, 1))
        case "strided":
            entry = _chain(conv1=ConvNorm(in_channels, half, 3, stride=2))
            path = _chain(
                conv1=ConvNorm(half, width, 3, stride=2),
                neuron=neuron.build(),
                conv2=ConvNorm(width, width, 3),
            )
            shortcut = _chain(conv=ConvNorm(half, width, 1, stride=2))
        case "pooled":
            entry = _chain(conv1=ConvNorm(in_channels, half, 3), pool1=_maximum())
            path = _chain(
                conv1=ConvNorm(half, width, 3),
                pool1=_maximum(),
                neuron=neuron.build(),
                conv2=ConvNorm(width, width, 3),
            )
            shortcut = _chain(conv=ConvNorm(half, width, 1, stride=2))
        case "events":
            entry = _chain(
                conv1=ConvNorm(in_channels, width // 8, 3),
                neuron=neuron.build(),
                conv2=ConvNorm(width // 8, width // 4, 3),
                pool2=_maximum(),
            )
            path = _chain(
                conv1=ConvNorm(width // 4, half, 3),
                pool1=_maximum(),
                neuron=neuron.build(),
                conv2=ConvNorm(half, width, 3),
                pool2=_maximum(),
            )
            shortcut = _chain(conv=ConvNorm(width // 4, width, 1, stride=4))
    return Embedding(path, shortcut, neuron.build(), entry)


def build_embedding(pools: Pools, in_channels: int, width: int, neuron: NeuronChoice) -> Embedding:
    """The embedding between two stages, which halves height and width.

    Args:
        pools: See `MaxFormerSizes`.
        in_channels: Channels of the stage before.
        width: Channels of the stage behind.
        neuron: Neurons.
    """
    first, second = ConvNorm(in_channels, width, 3), ConvNorm(width, width, 3)
    if pools == "second":
        path = _chain(conv1=first, neuron=neuron.build(), conv2=second, pool2=_maximum())
    else:
        path = _chain(conv1=first, pool1=_maximum(), neuron=neuron.build(), conv2=second)
    if pools == "first_and_shortcut":
        shortcut = _chain(conv=ConvNorm(in_channels, width, 1), pool=_maximum())
    else:
        shortcut = _chain(conv=ConvNorm(in_channels, width, 1, stride=2))
    return Embedding(path, shortcut, neuron.build(), None)


def _chain(**parts: nn.Module) -> nn.Sequential:
    return nn.Sequential(OrderedDict(parts))


def _maximum() -> nn.Module:
    return nn.MaxPool2d(3, 2, 1)


def build_mixer(
    mixer: Mixer, channels: int, sizes: MaxFormerSizes, neuron: NeuronChoice, drop_path: float
) -> nn.Module:
    """What mixes the pixels of a stream of currents.

    Args:
        mixer: See `MaxFormerSizes`.
        channels: Channels of the stream.
        sizes: Heads and scale of attention.
        neuron: Neurons.
        drop_path: Stochastic depth.
    """
    if mixer == "none":
        return nn.Identity()
    if mixer == "max_pool":
        return nn.MaxPool2d(3, 1, 1)
    if mixer == "token_attention":
        branch: nn.Module = TokenAttention(
            channels, sizes.heads, neuron.build, neuron.build_attention, neuron_first=True
        )
    elif mixer in ("attention", "attention_depthwise"):
        assert sizes.attention_scale is not None
        branch = SpikingSelfAttention(
            channels,
            sizes.heads,
            sizes.attention_scale,
            neuron.build,
            neuron.build_attention,
            neuron_first=True,
        )
        if mixer == "attention_depthwise":
            branch = _chain(attention=branch, depthwise=_depthwise(channels, 5, neuron))
    else:
        branch = _depthwise(channels, int(mixer.removeprefix("depthwise_")), neuron)
    return Shortcut(branch, drop_path, neuron.steps)


def _depthwise(channels: int, kernel_size: int, neuron: NeuronChoice) -> NeuronConvNorm:
    return NeuronConvNorm(
        channels, channels, neuron.build, kernel_size=kernel_size, groups=channels, bias=True
    )


def build_mlp(channels: int, hidden: int, neuron: NeuronChoice, drop_path: float) -> nn.Module:
    """The stream plus an MLP; of one width throughout, each half has a shortcut of its own.

    Args:
        channels: Channels of the stream.
        hidden: Channels between the two 1x1 convolutions.
        neuron: Neurons.
        drop_path: Stochastic depth.
    """
    if hidden != channels:
        mlp = SpikeDrivenFeedForward(channels, hidden, 1, neuron.build, bias=True)
        return Shortcut(mlp, drop_path, neuron.steps)
    halves = (NeuronConvNorm(channels, channels, neuron.build, bias=True) for _ in range(2))
    return nn.Sequential(*(Shortcut(half, drop_path, neuron.steps) for half in halves))


class Block(nn.Module):
    """A mixer, then an MLP.

    Args:
        channels: Channels of the stream.
        mixer: See `MaxFormerSizes`.
        sizes: Those of the model.
        neuron: Neurons.
        drop_path: Stochastic depth of its branches.
    """

    def __init__(
        self,
        channels: int,
        mixer: Mixer,
        sizes: MaxFormerSizes,
        neuron: NeuronChoice,
        drop_path: float,
    ) -> None:
        super().__init__()
        self.mixer = build_mixer(mixer, channels, sizes, neuron, drop_path)
        self.mlp = build_mlp(channels, sizes.mlp_ratio * channels, neuron, drop_path)

    def forward(self, x: Tensor) -> Tensor:
        """Stream [T*B, C, H, W]."""
        stream: Tensor = self.mlp(self.mixer(x))
        return stream


class MaxFormer(Classifier):
    """Max-Former, and the networks made of its parts.

    The classifier reads the spikes of the mean current over pixels.

    Args:
        sizes: Widths, depths and options.
        neuron: Neurons of all layers (the paper's: LIF, T = 4).
        num_classes: Classes K.
        in_channels: Channels of the input.
        drop_path_rate: Stochastic depth of the last block; earlier blocks linearly less. The
            released code has none.
    """

    def __init__(
        self,
        sizes: MaxFormerSizes,
        neuron: NeuronChoice,
        *,
        num_classes: int,
        in_channels: int,
        drop_path_rate: float = 0.0,
    ) -> None:
        sizes = _resolve(sizes, neuron)
        rates = iter(linear_rates(drop_path_rate, sum(sizes.depths)))
        trunk = nn.Sequential()
        before: int | None = None
        for width, depth, mixer in zip(sizes.widths, sizes.depths, sizes.mixers, strict=True):
            if before is None:
                embedding = build_stem(sizes.stem, in_channels, width, neuron)
            else:
                embedding = build_embedding(sizes.pools, before, width, neuron)
            blocks = (Block(width, mixer, sizes, neuron, next(rates)) for _ in range(depth))
            trunk.append(nn.Sequential(embedding, *blocks))
            before = width
        super().__init__(
            trunk,
            in_channels=in_channels,
            stride=sizes.reductions[-1],
            num_features=sizes.widths[-1],
            num_classes=num_classes,
            steps=neuron.steps,
            head_neuron=neuron.build(),
        )
        self.sizes = sizes
        self.resolved = {**vars(sizes), "neuron": neuron.name, "levels": neuron.levels}
        assert sizes.norm_gain is not None
        self.initialise(sizes.norm_gain)

    def feature_stages(self) -> list[tuple[int, int, int]]:
        """(Stage, channels, reduction) of each stage."""
        stages = zip(self.sizes.widths, self.sizes.reductions, strict=True)
        return [(index, width, reduction) for index, (width, reduction) in enumerate(stages)]


def _resolve(sizes: MaxFormerSizes, neuron: NeuronChoice) -> MaxFormerSizes:
    """Replaces every None by the number that suits the neuron, as Spikformer does."""
    gain = sizes.norm_gain or starting_gain(neuron)
    scale = sizes.attention_scale or summed_attention_scale(neuron, gain)
    return replace(sizes, norm_gain=gain, attention_scale=scale)


build = partial(build_classifier, MaxFormer)


def imagenet_sizes(width: int) -> MaxFormerSizes:
    """Those of Max-Former-10 with C channels in its last stage, for 224 px."""
    return MaxFormerSizes(
        widths=(width // 4, width // 2, width),
        depths=(1, 2, 7),
        mixers=("depthwise_7", "depthwise_5", "attention"),
        heads=width // 64,
    )


@register_family
def maxformer(**options: Any) -> nn.Module:
    """Of the sizes that are passed, else Max-Former-10-384's."""
    return build(imagenet_sizes(384), **options)


register_variants(
    build,
    {
        # For 28-32 px images and 2 CPU cores; the mixers of the CIFAR form.
        "maxformer_nano": MaxFormerSizes(
            widths=(16, 32, 96),
            depths=(1, 1, 1),
            mixers=("none", "depthwise_3", "attention"),
            heads=4,
            stem="flat",
            attention_scale=None,
            norm_gain=None,
        ),
        # For event frames of 128 px (CIFAR10-DVS, DVS Gesture): pass in_channels=2, steps=16.
        "maxformer_2_256": MaxFormerSizes(
            widths=(128, 256),
            depths=(1, 1),
            mixers=("depthwise_3", "attention"),
            heads=16,
            stem="events",
            mlp_ratio=1,
        ),
        # For CIFAR-10 and CIFAR-100, 32 px.
        "maxformer_4_384": MaxFormerSizes(
            widths=(96, 192, 384),
            depths=(1, 1, 2),
            mixers=("none", "depthwise_3", "attention"),
            heads=8,
            stem="flat",
        ),
        # Max-Former-10-384, 224 px.
        "maxformer_10_384": imagenet_sizes(384),
        # Max-Former-10-512, 224 px.
        "maxformer_10_512": imagenet_sizes(512),
        # Max-Former-10-768, 224 px.
        "maxformer_10_768": imagenet_sizes(768),
    },
)
