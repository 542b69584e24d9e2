"""What the neurons of a segmenter divide their counts by (Spike2Former, table 3)."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch.nn.functional as F
from torch import Tensor, nn

from spikesight.errors import UserError
from spikesight.models.neuron_choice import NeuronBuilder, NeuronChoice
from spikesight.models.spike2former.sizes import Normalisation
from spikesight.neurons import ConfiguredNeuron
from spikesight.neurons.presets import NeuronLike

_NEURON = {
    "levels": "ni_lif",
    "none": "i_lif",
    "cross_attention": "i_lif",
    "constant_8": "constant_8_lif",
    "sigmoid_l2": "i_lif",
}


class SigmoidL2Neuron(nn.Module):
    """Counts of D * sigmoid(X), divided by their L2 norm over the channels.

    The paper's "Norm with Sigmoid&L2", which did not converge there; the formula is not in the
    paper, so this is a reconstruction.

    Args:
        choice: The neuron that counts.
    """

    def __init__(self, choice: NeuronChoice) -> None:
        super().__init__()
        self.neuron = choice.build()
        self.levels = choice.levels

    def forward(self, current: Tensor) -> Tensor:
        """Counts of current [T*B, C, H, W] over their norm."""
        return F.normalize(self.neuron(current.sigmoid() * self.levels), dim=1)


@dataclass(frozen=True)
class SigmoidL2:
    """Builds `SigmoidL2Neuron`s.

    Attributes:
        choice: The neurons that count.
    """

    choice: NeuronChoice

    def build(self) -> nn.Module:
        """An ordinary neuron."""
        return SigmoidL2Neuron(self.choice)

    def build_mask_embedding(self) -> nn.Module:
        """A neuron of the mask embedding."""
        return self.build()


@dataclass(frozen=True)
class HeadNeurons:
    """The neurons of trunk and head.

    Attributes:
        trunk: Of the trunk.
        head: Of pixel decoder, queries and mask embedding.
        cross: Of the decoder's cross attention.
    """

    trunk: NeuronChoice
    head: NeuronBuilder
    cross: NeuronBuilder


def choose_neurons(
    normalisation: Normalisation | None,
    neuron: NeuronLike | ConfiguredNeuron | None,
    steps: int,
    levels: int | None,
    usual: str,
) -> HeadNeurons:
    """The neurons that a normalisation, or else a neuron or the usual name, stands for.

    Raises:
        ValueError: If both are given and contradict each other.
    """
    if normalisation is None:
        choice = NeuronChoice.resolve(neuron, steps, levels, usual)
        return HeadNeurons(choice, choice, choice)
    name = _NEURON[normalisation]
    named = neuron.neuron if isinstance(neuron, ConfiguredNeuron) else neuron
    if named not in (None, name):
        raise UserError(
            f"normalisation={normalisation!r} and neuron={named!r} contradict each other; "
            "leave one of them out"
        )
    choice = NeuronChoice.resolve(neuron, steps, levels, name)
    if normalisation == "sigmoid_l2":
        squashed = SigmoidL2(choice)
        return HeadNeurons(choice, squashed, squashed)
    if normalisation == "cross_attention":
        return HeadNeurons(choice, choice, replace(choice, name="ni_lif"))
    return HeadNeurons(choice, choice, choice)
