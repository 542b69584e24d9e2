"""The pixel decoder: the encoder at the coarsest map and a spiking feature pyramid."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor, nn

from spikesight.attention import NeuronConvNorm, SinePosition
from spikesight.models.neuron_choice import NeuronBuilder
from spikesight.models.spike2former.encoder import build_encoder
from spikesight.models.spike2former.sizes import Spike2FormerSizes
from spikesight.synapses import BilinearResize, ConvNorm, Synapse

MEMORIES = 3


def memory_count(channels: list[int]) -> int:
    """How many of the maps the queries attend to: three, and not the finest one if another is."""
    return max(1, min(MEMORIES, len(channels) - 1))


class PixelFeatures(NamedTuple):
    """What the pixel decoder hands on.

    Attributes:
        mask_features: [T*B, C, H, W] at the finest resolution, real-valued or spikes.
        memories: F_1, F_2, F_3 [T*B, C, H_i, W_i], coarsest first, that the queries attend to.
    """

    mask_features: Tensor
    memories: list[Tensor]


class PixelDecoder(nn.Module):
    """SDTE and SpikeFPN with depthwise convolutions (Spike2Former, appendix).

    Args:
        channels: Channels of the trunk's maps, finest first.
        sizes: Widths and options.
        neuron: Builds the neurons.
    """

    def __init__(
        self, channels: list[int], sizes: Spike2FormerSizes, neuron: NeuronBuilder
    ) -> None:
        super().__init__()
        width = sizes.width

        def reads(in_channels: int, kernel_size: int = 1, groups: int = 1) -> NeuronConvNorm:
            return NeuronConvNorm(
                in_channels,
                width,
                neuron.build,
                kernel_size=kernel_size,
                groups=groups,
                bias=sizes.biased and groups == 1 and kernel_size == 1,
            )

        self.memory_count = memory_count(channels)
        *finer, coarsest = channels
        encoded_finer = min(MEMORIES - 1, len(finer)) if sizes.multi_scale else 0
        self.encoder_inputs = nn.ModuleList([reads(coarsest)])
        self.encoder_inputs.extend(reads(c) for c in reversed(finer[len(finer) - encoded_finer :]))
        self.position = SinePosition(width) if sizes.pixel_positions else None
        self.encoder = build_encoder(sizes, neuron)
        self.encoder_output = reads(width)
        self.laterals = nn.ModuleList(
            reads(width if index < encoded_finer else c) for index, c in enumerate(reversed(finer))
        )
        groups = width if sizes.fpn == "depthwise" else 1
        self.outputs = nn.ModuleList(reads(width, 3, groups) for _ in finer)
        self.resize = BilinearResize(shifts=sizes.upsampling == "shift")
        self.mask_neuron = neuron.build()
        spikes = sizes.mask_features == "spikes"
        self.mask_features = (
            ConvNorm(width, width, 1) if spikes else Synapse(nn.Conv2d(width, width, 1))
        )
        self.mask_feature_neuron = neuron.build() if spikes else nn.Identity()

    def forward(self, maps: list[Tensor]) -> PixelFeatures:
        """Features from the trunk's maps [T*B, C_i, H_i, W_i], finest first."""
        coarse_first = maps[::-1]
        encoded = []
        for reads, source in zip(self.encoder_inputs, coarse_first, strict=False):
            encoded.append(self.encoder(self._located(reads(source))))
        stream = self.encoder_output(encoded[0])
        memories = [stream]
        sources = encoded[1:] + coarse_first[len(encoded) :]
        for source, lateral, output in zip(sources, self.laterals, self.outputs, strict=True):
            current = lateral(source)
            current = self._located(current + self.resize(stream, current))
            stream = self._located(output(current))
            memories.append(stream)
        features = self.mask_feature_neuron(self.mask_features(self.mask_neuron(stream)))
        return PixelFeatures(features, memories[: self.memory_count])

    def _located(self, current: Tensor) -> Tensor:
        return current if self.position is None else current + self.position(current)
