"""The first stage: from an image to the maps that propose regions."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from spikesight.models.features import StageFeatures
from spikesight.models.mask_rcnn.outputs import RegionMaps
from spikesight.models.neuron_choice import NeuronChoice
from spikesight.models.pyramid import SpikingPyramid
from spikesight.presentation import Readout
from spikesight.synapses import Synapse

RATIOS = (0.5, 1.0, 2.0)
"""Heights over widths of the anchors."""


class ProposalHead(nn.Module):
    """The head of a spiking region proposal network, the same one for every level.

    A coarser level is added, every other pixel of the coarsest, as in FPN. Its hidden convolution
    has no normalisation: levels, which it meets one after the other, have statistics of their own.

    Args:
        width: Channels of the levels.
        neuron: Builds the neurons.
    """

    def __init__(self, width: int, neuron: NeuronChoice) -> None:
        super().__init__()
        self.neuron = neuron.build()
        self.coarser = nn.MaxPool2d(1, 2)
        self.hidden = Synapse(nn.Conv2d(width, width, 3, padding=1))
        self.hidden_neuron = neuron.build()
        self.objectness = Synapse(nn.Conv2d(width, len(RATIOS), 1))
        self.deltas = Synapse(nn.Conv2d(width, 4 * len(RATIOS), 1))

    @torch.no_grad()
    def initialise(self, neuron: NeuronChoice, gain: float) -> None:
        """Gives the hidden convolution Xavier's weights with the gain of its neurons.

        As torch's `calculate_gain` says it of ReLU (the root of 2), the gain is 1 over the root
        mean square of what a neuron makes of normal currents, so that currents stay as large.

        Args:
            neuron: The neurons.
            gain: Standard deviation of the currents of the levels.
        """
        weight = self.hidden.get_parameter("0.weight")
        if weight.is_meta:
            return
        quantiles = torch.linspace(0, 1, 1025, dtype=torch.float64, device="cpu")[1:-1]
        outputs = neuron.probe()(torch.special.ndtri(quantiles).repeat(neuron.steps) * gain)
        rms = float(outputs.square().mean().sqrt())
        nn.init.xavier_uniform_(weight, gain / rms if rms > 0 else 1.0)

    def forward(self, levels: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """Objectness [T*B, A, h, w] and deltas [T*B, 4 A, h, w] of levels, finest first."""
        spikes = [self.neuron(level) for level in levels]
        spikes.append(self.coarser(spikes[-1]))
        hidden = [self.hidden_neuron(self.hidden(level)) for level in spikes]
        return [self.objectness(x) for x in hidden], [self.deltas(x) for x in hidden]


class RegionMapper(nn.Module):
    """Trunk, pyramid and region proposals: all that a graph can say of a whole image.

    Its parts are those of a Mask R-CNN, under the same names.

    Args:
        trunk: Gives the maps.
        skipped: How many of the finest maps are not read.
        pyramid: Makes levels of them.
        proposal_head: Makes objectness and deltas of these.
        readout: Means over time.
    """

    def __init__(
        self,
        trunk: StageFeatures,
        skipped: int,
        pyramid: SpikingPyramid,
        proposal_head: ProposalHead,
        readout: Readout,
    ) -> None:
        super().__init__()
        self.trunk = trunk
        self.pyramid = pyramid
        self.proposal_head = proposal_head
        self.readout = readout
        self._skipped = skipped

    def forward(self, x: Tensor) -> RegionMaps:
        """Maps of images [B, C, H, W] or event frames [B, T, C, H, W]."""
        levels = self.pyramid(self.trunk.stage_maps(x)[self._skipped :])
        objectness, deltas = self.proposal_head(levels)
        return RegionMaps(
            *(tuple(self.readout(part) for part in parts) for parts in (objectness, deltas, levels))
        )
