"""QKFormer (NeurIPS 2024): stages of token attention, then one of spiking self-attention.

The networks of zhouchenlin2096/QKFormer. Residuals add spikes after the neuron (SEW's ADD), so what
travels between the blocks are counts above D; every synapse still reads spikes.
"""

from __future__ import annotations

import copy
import math
import operator
import warnings
from dataclasses import dataclass, replace
from functools import partial
from itertools import accumulate
from typing import Any, Literal, NamedTuple

from torch import Tensor, nn

from spikesight.attention import SpikingSelfAttention, TokenAttention
from spikesight.errors import UserError
from spikesight.files.ranges import Depth, Positive, Ratio, Width
from spikesight.models.base import DropPath, linear_rates
from spikesight.models.classifier import Classifier
from spikesight.models.feed_forward import SpikingFeedForward
from spikesight.models.neuron_choice import COUNTS_SHARE, NeuronChoice
from spikesight.models.stems import PatchSplittingStage, doubled_widths
from spikesight.models.variants import build_classifier, register_variants
from spikesight.neurons import Neuron
from spikesight.options import AS_ARGUMENT, check_options
from spikesight.registry import register_family
from spikesight.synapses import ConvNorm

Form = Literal["imagenet", "cifar", "events"]
Official = Literal["leaking"]


class Convolution(NamedTuple):
    """A 3x3 convolution of an embedding.

    Attributes:
        divisor: Channels of the stage over its own.
        pools: Whether its currents are pooled.
    """

    divisor: int
    pools: bool


class Plan(NamedTuple):
    """What an embedding is made of.

    Attributes:
        lead: Convolutions before the shortcut branches off.
        main: Convolutions beside it.
    """

    lead: tuple[Convolution, ...]
    main: tuple[Convolution, ...]

    @property
    def stride(self) -> int:
        """How many times it shrinks its map."""
        return 1 << sum(convolution.pools for convolution in self.lead + self.main)


_EARLY = Plan((), (Convolution(1, True), Convolution(1, False)))
_LATE = Plan((), (Convolution(1, False), Convolution(1, True)))
PLANS: dict[Form, tuple[Plan, Plan]] = {
    "imagenet": (Plan((Convolution(2, True),), _EARLY.main), _EARLY),
    "cifar": (Plan((Convolution(2, False),), (Convolution(1, False),)), _LATE),
    "events": (
        Plan(
            (Convolution(8, False), Convolution(4, True)),
            (Convolution(2, True), Convolution(1, True)),
        ),
        _LATE,
    ),
}
"""The embeddings of the first stage and of each later one."""


@dataclass(frozen=True)
class QKFormerSizes:
    """Sizes of a QKFormer; a variant of the family is one of these.

    Attributes:
        width: Channels C of the last stage; each stage before it has half as many.
        depths: Blocks of each stage; the last stage's have spiking self-attention, all others'
            token attention.
        heads: Attention heads of every stage; must divide the channels of each.
        mlp_ratio: Hidden width of the MLPs over their input.
        form: The embeddings: "imagenet" shrinks the image 4 times before the first stage and pools
            early, "cifar" not at all and late, "events" 8 times. Each later stage halves its map.
        attention_scale: Factor of the attention product (released 0.125, whatever the heads); None
            for one with which small images start with attention neurons neither silent nor
            saturated.
        norm_gain: Initial gain of the normalisations; None for one with which neurons use their
            levels from the start.
        official: "leaking" reproduces the released fault, for its checkpoints: the last neuron of
            spiking self-attention takes the samples of a batch for time steps, so that logits
            depend on batch-mates and their order.
    """

    width: Width
    depths: tuple[Depth, ...]
    heads: Width
    mlp_ratio: Ratio = 4
    form: Form = "imagenet"
    attention_scale: Positive | None = 0.125
    norm_gain: float | None = 1.0
    official: Official | None = None

    def __post_init__(self) -> None:
        check_options(self, says=AS_ARGUMENT)
        object.__setattr__(self, "depths", tuple(self.depths))
        stages = len(self.depths)
        if not 1 <= stages <= 6:
            raise UserError(f"depths={self.depths}; pass the blocks of each of 1 to 6 stages")
        whole = 2 ** (stages - 1)
        finest = max(convolution.divisor for plan in self.plans for convolution in sum(plan, ()))
        if self.width % (whole * finest) or self.width // whole % self.heads:
            raise UserError(
                f"width={self.width} over {whole} is the first of {stages} stages; it must be "
                f"divisible by heads={self.heads} and by {finest}"
            )

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels of the stages."""
        return doubled_widths(self.width, len(self.depths))

    @property
    def plans(self) -> tuple[Plan, ...]:
        """Embeddings of the stages."""
        first, later = PLANS[self.form]
        return (first, *[later] * (len(self.depths) - 1))


class Embedding(nn.Module):
    """Entry of a stage: convolutions around maxima of currents, beside a strided 1x1 shortcut.

    Both give spikes, which are added (the paper's SPEDS).

    Args:
        in_channels: Channels of the input.
        channels: Channels of the output.
        plan: The convolutions.
        neuron: Neurons of all layers.
    """

    def __init__(self, in_channels: int, channels: int, plan: Plan, neuron: NeuronChoice) -> None:
        super().__init__()

        def convolutions(wanted: tuple[Convolution, ...], before: int) -> nn.Sequential:
            layers = nn.Sequential()
            for divisor, pools in wanted:
                after, stride = channels // divisor, 1 + pools
                layers.append(PatchSplittingStage(before, after, stride, neuron.build, "currents"))
                before = after
            return layers

        self.lead = convolutions(plan.lead, in_channels) if plan.lead else nn.Identity()
        branching = channels // plan.lead[-1].divisor if plan.lead else in_channels
        self.main = convolutions(plan.main, branching)
        stride = plan._replace(lead=()).stride
        self.shortcut = ConvNorm(branching, channels, 1, stride=stride)
        self.shortcut_neuron = neuron.build()

    def forward(self, x: Tensor) -> Tensor:
        """Counts [T*B, C', H/stride, W/stride] from [T*B, C, H, W]."""
        x = self.lead(x)
        counts: Tensor = self.main(x) + self.shortcut_neuron(self.shortcut(x))
        return counts


class LeakingNeuron(nn.Module):
    """Takes [T*B, ...] for T*B time steps of one sample: a fault of the released code.

    What a sample leaves on the membrane decays into the next one of the batch, and the last one's
    at a time step into the first one's at the next.

    Args:
        neuron: The neuron.
    """

    untraceable = (
        "official='leaking' lets batch-mates leak into each other, as the released code does by "
        "mistake, which no graph can say; build the model without it, and train or evaluate it so"
    )

    def __init__(self, neuron: Neuron) -> None:
        super().__init__()
        self.neuron = neuron

    def forward(self, current: Tensor) -> Tensor:
        """Spikes [T*B, ...] of currents [T*B, ...]."""
        neuron = copy.copy(self.neuron)
        neuron.set_steps(len(current))
        spikes: Tensor = neuron(current)
        return spikes


def build_attention(
    sizes: QKFormerSizes, channels: int, neuron: NeuronChoice, *, last: bool
) -> nn.Module:
    """The attention of a stage.

    Args:
        sizes: Sizes of the model.
        channels: Channels of the stage.
        neuron: Neurons of all layers.
        last: Whether it is the last stage, that of spiking self-attention.
    """
    if not last:
        return TokenAttention(channels, sizes.heads, neuron.build, neuron.build_attention)
    assert sizes.attention_scale is not None
    attention = SpikingSelfAttention(
        channels, sizes.heads, sizes.attention_scale, neuron.build, neuron.build_attention
    )
    if sizes.official == "leaking":
        warnings.warn(
            "official='leaking' lets the samples of a batch leak into each other, as the released "
            "code does by mistake: logits depend on batch-mates and their order, and accuracies "
            "are too high; leave it out unless you reproduce the authors' numbers",
            stacklevel=2,
        )
        neuron_behind = attention.project_neuron
        assert isinstance(neuron_behind, Neuron)
        attention.add_module("project_neuron", LeakingNeuron(neuron_behind))
    return attention


class Block(nn.Module):
    """x + attention(x), then x + MLP(x), both added after their last neuron."""

    def __init__(
        self,
        sizes: QKFormerSizes,
        channels: int,
        neuron: NeuronChoice,
        drop_path: float,
        *,
        last: bool,
    ) -> None:
        super().__init__()
        self.attention = build_attention(sizes, channels, neuron, last=last)
        self.mlp = SpikingFeedForward(channels, sizes.mlp_ratio * channels, neuron.build, bias=True)
        self.drop_path = DropPath(drop_path, neuron.steps)

    def forward(self, x: Tensor) -> Tensor:
        """Counts [T*B, C, H, W]."""
        x = x + self.drop_path(self.attention(x))
        counts: Tensor = x + self.drop_path(self.mlp(x))
        return counts


class QKFormer(Classifier):
    """QKFormer, the hierarchical spiking transformer.

    The classifier reads the mean of the counts over tokens and time, as in the paper.

    Args:
        sizes: Width, depths and options.
        neuron: Neurons of all layers (the paper's: LIF, T = 4).
        num_classes: Classes K.
        in_channels: Channels of the input.
        drop_path_rate: Stochastic depth of the last block; earlier blocks linearly less. The
            released code builds it and never applies it.
    """

    def __init__(
        self,
        sizes: QKFormerSizes,
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
        last = len(sizes.depths) - 1
        for stage, (width, depth) in enumerate(zip(sizes.widths, sizes.depths, strict=True)):
            embedding = Embedding(channels, width, sizes.plans[stage], neuron)
            blocks = (
                Block(sizes, width, neuron, next(rates), last=stage == last) for _ in range(depth)
            )
            trunk.append(nn.Sequential(embedding, *blocks))
            channels = width
        super().__init__(
            trunk,
            in_channels=in_channels,
            stride=math.prod(plan.stride for plan in sizes.plans),
            num_features=channels,
            num_classes=num_classes,
            steps=neuron.steps,
        )
        self.sizes = sizes
        self.resolved = {**vars(sizes), "neuron": neuron.name, "levels": neuron.levels}
        assert sizes.norm_gain is not None
        self.initialise(sizes.norm_gain)

    def feature_stages(self) -> list[tuple[int, int, int]]:
        """(Stage, channels, reduction) of each stage."""
        reductions = accumulate((plan.stride for plan in self.sizes.plans), operator.mul)
        return [
            (stage, width, reduction)
            for stage, (width, reduction) in enumerate(
                zip(self.sizes.widths, reductions, strict=True)
            )
        ]


def _resolve(sizes: QKFormerSizes, neuron: NeuronChoice) -> QKFormerSizes:
    """Replaces every None by the number that suits the neuron, as a Spikformer does."""
    probe = neuron.probe()
    decays = probe.dynamics is not None and probe.dynamics.decay_input
    gain = sizes.norm_gain or (2.0 if decays else max(1.0, probe.levels / 4))
    scale = 0.125 if probe.levels == 1 else COUNTS_SHARE / gain**2 / probe.unit**3
    return replace(sizes, norm_gain=gain, attention_scale=sizes.attention_scale or scale)


build = partial(build_classifier, QKFormer)


@register_family
def qkformer(**options: Any) -> nn.Module:
    """Of the sizes that are passed, else those of HST-10-384."""
    return build(QKFormerSizes(384, (1, 2, 7), 6), **options)


register_variants(
    build,
    {
        # For 28-32 px images and 2 CPU cores.
        "qkformer_nano": QKFormerSizes(
            64, (0, 1, 1), 4, form="cifar", attention_scale=None, norm_gain=None
        ),
        # For CIFAR-10 and CIFAR-100, 32 px.
        "qkformer_4_384": QKFormerSizes(384, (1, 1, 2), 8, form="cifar"),
        # For CIFAR10-DVS, 128 px event frames: pass in_channels=2, steps=16.
        "qkformer_2_256_cifar10dvs": QKFormerSizes(256, (1, 1), 16, mlp_ratio=1, form="events"),
        # For DVS128 Gesture, 128 px event frames: pass in_channels=2, steps=16.
        "qkformer_2_256_gesture": QKFormerSizes(256, (1, 1), 16, form="events"),
        # The paper's HST-10-384, HST-10-512 and HST-10-768, 224 px.
        "qkformer_10_384": QKFormerSizes(384, (1, 2, 7), 6),
        "qkformer_10_512": QKFormerSizes(512, (1, 2, 7), 8),
        "qkformer_10_768": QKFormerSizes(768, (1, 2, 7), 12),
    },
)
