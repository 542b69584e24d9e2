"""The second stage: what is said of each region, a spiking network for boxes, one for masks."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from spikesight.attention import NeuronConvNorm
from spikesight.models.neuron_choice import NeuronChoice
from spikesight.presentation import Presentation, Readout
from spikesight.synapses import ConvNorm, Synapse

BOX_SIDE = 7
"""Cells of a region that the box head sees, along one side."""
MASK_SIDE = 14
"""Cells of a region that the mask head sees, along one side; masks have twice as many."""


class BoxHead(nn.Module):
    """Two hidden layers, class and box of a region (mmdetection's Shared2FC).

    Linear maps of a region stand as convolutions of its size.

    Args:
        width: Channels of a region.
        hidden: Channels of the hidden layers.
        num_classes: Classes K.
        neuron: Builds the neurons.
    """

    def __init__(self, width: int, hidden: int, num_classes: int, neuron: NeuronChoice) -> None:
        super().__init__()
        self.presentation = Presentation(neuron.steps, width, 1)
        self.neuron = neuron.build()
        self.first = ConvNorm(width, hidden, BOX_SIDE, padding=0)
        self.second = NeuronConvNorm(hidden, hidden, neuron.build)
        self.hidden_neuron = neuron.build()
        self.classes = Synapse(nn.Conv2d(hidden, num_classes + 1, 1))
        self.deltas = Synapse(nn.Conv2d(hidden, 4 * num_classes, 1))
        self.readout = Readout(neuron.steps)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """What is said of regions.

        Args:
            x: [R, C, 7, 7].

        Returns:
            Logits [R, K + 1, 1, 1], the first one of no object, and for each class what moves the
            region onto an object of it, [R, 4 K, 1, 1].
        """
        hidden = self.second(self.first(self.neuron(self.presentation(x))))
        spikes = self.hidden_neuron(hidden)
        return self.readout(self.classes(spikes)), self.readout(self.deltas(spikes))


class MaskHead(nn.Module):
    """Convolutions, a doubling and the masks of all classes of a region.

    The doubling, a 2x2 deconvolution of stride 2, stands as the four 1x1 convolutions that it is,
    one for the pixels of each corner; host code interleaves what these say (`join_corners`).

    Args:
        width: Channels of a region and of the convolutions.
        layers: Number of 3x3 convolutions.
        num_classes: Classes K.
        neuron: Builds the neurons.
    """

    def __init__(self, width: int, layers: int, num_classes: int, neuron: NeuronChoice) -> None:
        super().__init__()
        self.presentation = Presentation(neuron.steps, width, 1)
        self.layers = nn.Sequential(
            *(NeuronConvNorm(width, width, neuron.build, kernel_size=3) for _ in range(layers))
        )
        self.neuron = neuron.build()
        self.corners = nn.ModuleList(ConvNorm(width, width, 1) for _ in range(4))
        self.corner_neurons = nn.ModuleList(neuron.build() for _ in self.corners)
        self.masks = Synapse(nn.Conv2d(width, num_classes, 1))
        self.readout = Readout(neuron.steps)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Logits [R, K, 14, 14] of the four corners of every pixel of regions [R, C, 14, 14]."""
        spikes = self.neuron(self.layers(self.presentation(x)))
        return tuple(
            self.readout(self.masks(neuron(corner(spikes))))
            for corner, neuron in zip(self.corners, self.corner_neurons, strict=True)
        )


def join_corners(corners: tuple[Tensor, ...]) -> Tensor:
    """[R, K, 2 H, 2 W] from four maps [R, K, H, W]: left upper, right upper, left lower, right."""
    left_upper, right_upper, left_lower, right_lower = corners
    upper = _interleaved(left_upper, right_upper, -1)
    return _interleaved(upper, _interleaved(left_lower, right_lower, -1), -2)


def _interleaved(first: Tensor, second: Tensor, axis: int) -> Tensor:
    return torch.stack((first, second), axis).flatten(axis - 1, axis)
