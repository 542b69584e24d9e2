"""SpikeFPN: a trunk, a spiking feature pyramid and a class for every pixel."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

from torch import Tensor, nn

from spikesight.attention import NeuronConvNorm
from spikesight.files.ranges import Width
from spikesight.models.base import SpikingModel, initialise_xavier, trunk_layers
from spikesight.models.neuron_choice import NeuronChoice
from spikesight.models.pyramid import SpikingPyramid
from spikesight.models.trunks import begin_over_trunk, build_over_trunk
from spikesight.models.variants import register_variants
from spikesight.options import AS_ARGUMENT, check_options
from spikesight.presentation import Readout
from spikesight.segmentation_outputs import PixelSegmentation
from spikesight.synapses import BilinearResize, Synapse


@dataclass(frozen=True)
class SpikeFPNSizes:
    """Sizes of a SpikeFPN; a variant of the family is one of these.

    Attributes:
        trunk: Name of the registered model whose maps are read.
        trunk_options: Further arguments of the trunk; None for those with which it starts alive
            on street photos.
        width: Channels of the pyramid.
        head_width: Channels of the head.
        norm_gain: Initial gain of the normalisations; None for D / 4, at least 1.
        start: How the weights of pyramid and head start: "he", or "xavier" as QSD-Transformer
            starts what it adds to a trained trunk.
    """

    trunk: str = "metaspikformer_15m"
    trunk_options: Mapping[str, Any] | None = None
    width: Width = 128
    head_width: Width = 128
    norm_gain: float | None = None
    start: Literal["he", "xavier"] = "he"

    def __post_init__(self) -> None:
        check_options(self, says=AS_ARGUMENT)


Sizes = SpikeFPNSizes
"""Its name in version 0.1."""


class PixelHead(nn.Module):
    """Brings every level to the finest resolution, adds them up and classifies each pixel.

    A level passes a 3x3 convolution before each doubling; the finest one passes one.

    Args:
        levels: Number of levels.
        width: Channels of the levels.
        head_width: Channels of the sum.
        num_classes: Classes K.
        neuron: Builds the neurons.
    """

    def __init__(
        self, levels: int, width: int, head_width: int, num_classes: int, neuron: NeuronChoice
    ) -> None:
        super().__init__()
        self.scales = nn.ModuleList(
            nn.ModuleList(
                NeuronConvNorm(head_width if i else width, head_width, neuron.build, kernel_size=3)
                for i in range(max(level, 1))
            )
            for level in range(levels)
        )
        self.resize = BilinearResize()
        self.neuron = neuron.build()
        self.classes = Synapse(nn.Conv2d(head_width, num_classes, 1))

    def forward(self, levels: list[Tensor]) -> Tensor:
        """Class currents [T*B, K, H, W] from levels [T*B, C, H_i, W_i], finest first."""
        sums: list[Tensor] = []
        for level, convolutions in enumerate(self.scales):
            assert isinstance(convolutions, nn.ModuleList)
            stream = levels[level]
            for step, reads in enumerate(convolutions):
                stream = reads(stream)
                if level:
                    stream = self.resize(stream, levels[level - step - 1])
            sums.append(stream if not sums else sums[-1] + stream)
        currents: Tensor = self.classes(self.neuron(sums[-1]))
        return currents


class SpikeFPN(SpikingModel):
    """SpikeFPN, the per-pixel baseline of Spike2Former (its tables 1 and 2).

    Meta-SpikeFormer with a spiking Semantic FPN, as SDT-V2 (ICLR 2024) measured it. Differs from
    the released code: the pyramid's convolutions have normalisations, without which a deep spiking
    network from scratch stays silent, and maps double bilinearly everywhere.

    Args:
        sizes: Sizes.
        neuron: Neurons of all parts.
        num_classes: Classes K.
        in_channels: Channels of the input.
        drop_path_rate: Stochastic depth of the trunk.
    """

    gives = "pixels"

    def __init__(
        self,
        sizes: SpikeFPNSizes,
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
        channels = trunk.channels
        self.pyramid = SpikingPyramid(channels, sizes.width, neuron)
        self.head = PixelHead(len(channels), sizes.width, sizes.head_width, num_classes, neuron)
        self.readout = Readout(neuron.steps)
        self.initialise(gain)
        if sizes.start == "xavier":
            initialise_xavier(self)
        self.trunk = trunk
        self.stride = trunk.stride

    def forward(self, x: Tensor) -> PixelSegmentation:
        """Classes of the pixels of images [B, C, H, W] or event frames [B, T, C, H, W]."""
        levels = self.pyramid(self.trunk.stage_maps(x))
        return PixelSegmentation(self.readout(self.head(levels)))

    def stages(self) -> list[nn.Module]:
        """The trunk's blocks, the pyramid and the head."""
        return [*trunk_layers(self.trunk.trunk), self.pyramid, self.head]


build = partial(build_over_trunk, SpikeFPN)
"""A variant, from its sizes and what `create_model` was given."""


register_variants(
    build,
    {
        # For 96-240 px images and 2 CPU cores.
        "spike_fpn_nano": SpikeFPNSizes("metaspikformer_nano", width=32, head_width=32),
        # For 96-240 px images.
        "spike_fpn_tiny": SpikeFPNSizes("metaspikformer_tiny", width=64, head_width=64),
        # SDT-V2's segmenter on Meta-SpikeFormer 15M, 512 px.
        "spike_fpn_15m": SpikeFPNSizes("metaspikformer_15m"),
        # SDT-V2's segmenter on Meta-SpikeFormer 55M, 512 px.
        "spike_fpn_55m": SpikeFPNSizes("metaspikformer_55m", width=256),
    },
)
