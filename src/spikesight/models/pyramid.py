"""A spiking feature pyramid over the maps of a trunk."""

from __future__ import annotations

from torch import Tensor, nn

from spikesight.attention import NeuronConvNorm
from spikesight.models.neuron_choice import NeuronChoice
from spikesight.synapses import BilinearResize


class SpikingPyramid(nn.Module):
    """1x1 laterals, summed from coarse to fine, and a 3x3 convolution on each level.

    Args:
        channels: Channels of the trunk's maps, finest first.
        width: Channels of the pyramid.
        neuron: Builds the neurons.
    """

    def __init__(self, channels: list[int], width: int, neuron: NeuronChoice) -> None:
        super().__init__()
        self.laterals = nn.ModuleList(NeuronConvNorm(c, width, neuron.build) for c in channels)
        self.outputs = nn.ModuleList(
            NeuronConvNorm(width, width, neuron.build, kernel_size=3) for _ in channels
        )
        self.resize = BilinearResize()

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        """Levels [T*B, C, H_i, W_i] from maps [T*B, C_i, H_i, W_i], finest first."""
        streams = [lateral(x) for lateral, x in zip(self.laterals, maps, strict=True)]
        for finer in range(len(streams) - 2, -1, -1):
            coarse = self.resize(streams[finer + 1], streams[finer])
            streams[finer] = streams[finer] + coarse
        return [output(x) for output, x in zip(self.outputs, streams, strict=True)]
