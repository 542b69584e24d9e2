"""SpikeDet: a trunk, a spiking path-aggregating pyramid and boxes at every pixel of its levels."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any

import torch
from msgspec import Meta
from torch import Tensor, nn

from spikesight.attention import NeuronConvNorm
from spikesight.detection_outputs import DenseDetection
from spikesight.errors import UserError
from spikesight.files.ranges import Width
from spikesight.models.base import SpikingModel, initialise_xavier, trunk_layers
from spikesight.models.neuron_choice import NeuronChoice
from spikesight.models.trunks import begin_over_trunk, build_over_trunk
from spikesight.models.variants import register_variants
from spikesight.options import AS_ARGUMENT, check_options
from spikesight.presentation import Readout
from spikesight.registry import register_family
from spikesight.synapses import BilinearResize, Synapse

_PRIOR = 0.01
"""Probability of a class with which a pixel starts (Focal loss, arXiv 1708.02002, section 4.1)."""
_REACH = 2.0
"""Distance of a box's edges from its pixel at the start, in strides."""


@dataclass(frozen=True)
class SpikeDetSizes:
    """Sizes of a SpikeDet; a variant of the family is one of these.

    Attributes:
        trunk: Name of the registered model whose maps are read.
        trunk_options: Further arguments of the trunk; None for those with which it starts alive
            on photos.
        finest: Stride of the finest map that is read.
        coarser: Levels beyond the trunk's coarsest map, each half as large.
        width: Channels of the pyramid and the heads.
        depth: 3x3 convolutions before the outputs of a head.
        norm_gain: Initial gain of the normalisations; None for D / 4, at least 1.
    """

    trunk: str = "metaspikformer_15m"
    trunk_options: Mapping[str, Any] | None = None
    finest: Annotated[int, Meta(ge=1, le=64)] = 8
    coarser: Annotated[int, Meta(ge=0, le=3)] = 1
    width: Width = 128
    depth: Annotated[int, Meta(ge=1, le=8)] = 2
    norm_gain: float | None = None

    def __post_init__(self) -> None:
        check_options(self, says=AS_ARGUMENT)


class PathPyramid(nn.Module):
    """Levels of one width whose currents flow from coarse to fine and back.

    1x1 laterals and, beyond the coarsest map, strided 3x3 convolutions; maps double by shifts and
    are added, each level passes a 3x3 residual, and strided 3x3 convolutions lead down again
    (PANet, arXiv 1803.01534, with sums).

    Args:
        channels: Channels of the trunk's maps, finest first.
        coarser: Levels beyond them.
        width: Channels of the pyramid.
        neuron: Builds the neurons.
    """

    def __init__(self, channels: list[int], coarser: int, width: int, neuron: NeuronChoice) -> None:
        super().__init__()

        def convolution(stride: int = 1) -> NeuronConvNorm:
            return NeuronConvNorm(width, width, neuron.build, kernel_size=3, stride=stride)

        levels = len(channels) + coarser
        self.laterals = nn.ModuleList(NeuronConvNorm(c, width, neuron.build) for c in channels)
        self.coarser = nn.ModuleList(convolution(2) for _ in range(coarser))
        self.resize = BilinearResize(shifts=True)
        self.mixing = nn.ModuleList(convolution() for _ in range(levels))
        self.down = nn.ModuleList(convolution(2) for _ in range(levels - 1))

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        """Levels [T*B, C, H_i, W_i] from maps [T*B, C_i, H_i, W_i], finest first."""
        streams = [lateral(x) for lateral, x in zip(self.laterals, maps, strict=True)]
        for down in self.coarser:
            streams.append(down(streams[-1]))
        for finer in range(len(streams) - 2, -1, -1):
            streams[finer] = streams[finer] + self.resize(streams[finer + 1], streams[finer])
        streams = [x + mix(x) for mix, x in zip(self.mixing, streams, strict=True)]
        for level, down in enumerate(self.down):
            streams[level + 1] = streams[level + 1] + down(streams[level])
        return streams


class Tower(nn.Module):
    """Residual 3x3 convolutions and the neuron whose spikes the outputs read.

    Args:
        width: Channels.
        depth: Number of convolutions.
        neuron: Builds the neurons.
    """

    def __init__(self, width: int, depth: int, neuron: NeuronChoice) -> None:
        super().__init__()
        self.convolutions = nn.ModuleList(
            NeuronConvNorm(width, width, neuron.build, kernel_size=3) for _ in range(depth)
        )
        self.neuron = neuron.build()

    def forward(self, x: Tensor) -> Tensor:
        """Spikes [T*B, C, H, W] from a level [T*B, C, H, W]."""
        for convolution in self.convolutions:
            x = x + convolution(x)
        spikes: Tensor = self.neuron(x)
        return spikes


class BoxHead(nn.Module):
    """Centre, distances and classes of a level, the classes by a tower of their own.

    Args:
        width: Channels of the level.
        depth: Convolutions of a tower.
        num_classes: Classes K.
        neuron: Builds the neurons.
    """

    def __init__(self, width: int, depth: int, num_classes: int, neuron: NeuronChoice) -> None:
        super().__init__()
        self.box_tower = Tower(width, depth, neuron)
        self.class_tower = Tower(width, depth, neuron)
        self.centre = Synapse(nn.Conv2d(width, 1, 1))
        self.distances = Synapse(nn.Conv2d(width, 4, 1))
        self.classes = Synapse(nn.Conv2d(width, num_classes, 1))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Currents [T*B, 1, H, W], [T*B, 4, H, W] and [T*B, K, H, W] from [T*B, C, H, W]."""
        boxes, classes = self.box_tower(x), self.class_tower(x)
        return self.centre(boxes), self.distances(boxes), self.classes(classes)


class SpikeDet(SpikingModel):
    """SpikeDet, a dense one-stage detector without anchors over any registered trunk.

    Centre, distances and classes at every pixel (FCOS, arXiv 1904.01355); every synapse reads
    spikes, shortcuts add currents, and maps double by shifts, so that the whole of it deploys.

    Args:
        sizes: Sizes.
        neuron: Neurons of all parts.
        num_classes: Classes K.
        in_channels: Channels of the input.
        drop_path_rate: Stochastic depth of the trunk.
    """

    gives = "boxes"

    def __init__(
        self,
        sizes: SpikeDetSizes,
        neuron: NeuronChoice,
        *,
        num_classes: int,
        in_channels: int,
        drop_path_rate: float = 0.0,
    ) -> None:
        super().__init__()
        sizes, gain, trunk = begin_over_trunk(self, sizes, neuron, in_channels, drop_path_rate)
        self.sizes = sizes
        self.num_classes = num_classes
        self.read = [i for i, stride in enumerate(trunk.reductions) if stride >= sizes.finest]
        if not self.read:
            raise UserError(
                f"finest={sizes.finest}, but the coarsest map of {sizes.trunk} has stride "
                f"{trunk.reductions[-1]}; pass one of {', '.join(map(str, trunk.reductions))}"
            )
        channels = [trunk.channels[i] for i in self.read]
        self.pyramid = PathPyramid(channels, sizes.coarser, sizes.width, neuron)
        self.heads = nn.ModuleList(
            BoxHead(sizes.width, sizes.depth, num_classes, neuron)
            for _ in range(len(channels) + sizes.coarser)
        )
        self.readout = Readout(neuron.steps)
        self.initialise(gain)
        self.trunk = trunk
        self.stride = trunk.stride * 2**sizes.coarser
        trunk.presentation.stride = self.stride

    def forward(self, x: Tensor) -> DenseDetection:
        """Boxes of images [B, C, H, W] or event frames [B, T, C, H, W]."""
        maps = self.trunk.stage_maps(x)
        levels = self.pyramid([maps[i] for i in self.read])
        centres, distances, classes = zip(
            *(head(level) for head, level in zip(self.heads, levels, strict=True)), strict=True
        )
        return DenseDetection(
            tuple(self.readout(centre) for centre in centres),
            tuple(self.readout(distance) for distance in distances),
            tuple(self.readout(logits) for logits in classes),
        )

    def stages(self) -> list[nn.Module]:
        """The trunk's blocks, the pyramid and the heads."""
        return [*trunk_layers(self.trunk.trunk), self.pyramid, self.heads]

    @torch.no_grad()
    def initialise(self, norm_gain: float = 1.0) -> None:
        """Xavier weights of what is not the trunk; classes improbable, edges two strides away."""
        super().initialise(norm_gain)
        initialise_xavier(self)
        for head in self.heads:
            assert isinstance(head, BoxHead)
            for synapse, value in (
                (head.distances, math.log(math.expm1(_REACH))),
                (head.classes, math.log(_PRIOR / (1 - _PRIOR))),
            ):
                nn.init.constant_(synapse.get_parameter("0.bias"), value)


_build = partial(build_over_trunk, SpikeDet)


@register_family
def spike_det(**options: Any) -> nn.Module:
    """Of the sizes that are passed, else SpikeDet on Meta-SpikeFormer 15M."""
    return _build(SpikeDetSizes(), **options)


register_variants(
    _build,
    {
        # For 160-416 px images and 2 CPU cores.
        "spike_det_nano": SpikeDetSizes("metaspikformer_nano", width=48),
        # For 160-416 px images.
        "spike_det_tiny": SpikeDetSizes("metaspikformer_tiny", width=96),
        # On Meta-SpikeFormer 15M, 640 px.
        "spike_det_15m": SpikeDetSizes("metaspikformer_15m"),
    },
)
