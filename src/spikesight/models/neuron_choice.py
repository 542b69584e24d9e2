"""Which neurons a model is built from."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from spikesight.neurons import Neuron, create_neuron

_ATTENTION_VARIANT = {"lif": "sdt_attention", "qsd_classification": "qsd_classification_attention"}
_MASK_VARIANT = {"spike2former": "spike2former_mask_embedding"}
_WITHOUT_LEVELS = ("lif", "relu", "sdt", "sdt_attention")


class NeuronBuilder(Protocol):
    """Builds the ordinary neurons of a model."""

    def build(self) -> nn.Module:
        """An ordinary neuron."""
        ...

    def build_mask_embedding(self) -> nn.Module:
        """A neuron of the mask embedding."""
        ...


@dataclass(frozen=True)
class NeuronChoice:
    """Builds every neuron of a model from one name.

    Attributes:
        name: "lif", "i_lif", "ni_lif", "ie_lif", "relu" (the ANN twin) or an authors' preset.
        steps: Time steps T.
        levels: Largest count D per time step.
    """

    name: str
    steps: int
    levels: int

    @staticmethod
    def resolve(name: str | None, steps: int, levels: int | None) -> NeuronChoice:
        """Fills in what the user left out.

        Without a name, one level means a binary LIF and more mean an I-LIF; without levels,
        integer neurons count to 4. LIF and ReLU have no levels to choose.
        """
        if name is None:
            name = "lif" if levels == 1 else "i_lif"
        if name in _WITHOUT_LEVELS:
            if levels not in (None, 1) and name != "relu":
                warnings.warn(
                    f"neuron={name!r} is binary; levels={levels} is ignored", stacklevel=3
                )
            levels = 1
        return NeuronChoice(name, steps, 4 if levels is None else levels)

    def build(self) -> Neuron:
        """An ordinary neuron."""
        return create_neuron(self.name, steps=self.steps, levels=self.levels)

    def build_attention(self) -> Neuron:
        """The neuron after the attention product (SDT-V2: threshold 0.5 instead of 1)."""
        name = _ATTENTION_VARIANT.get(self.name, self.name)
        return create_neuron(name, steps=self.steps, levels=self.levels)

    def build_mask_embedding(self) -> nn.Module:
        """A neuron of the mask embedding (official Spike2Former: counts worth 4 / D)."""
        if (name := _MASK_VARIANT.get(self.name)) is None:
            return self.build()
        return create_neuron(name, steps=self.steps, levels=self.levels)


@torch.no_grad()
def mean_attention_scale(head_dim: int, choice: NeuronChoice, gain: float) -> float:
    """A factor with which attention that averages over its keys starts neither silent nor full.

    With independent queries, keys and values of mean output r, the mean over the keys of
    (q . k) v is head_dim * r^3; the factor takes it to the current that fires the neuron about
    once, times the gain.

    Args:
        head_dim: Channels per head.
        choice: The neurons.
        gain: Standard deviation of the currents of queries, keys and values.
    """
    probe = choice.build()
    quantiles = torch.linspace(0, 1, 1025, dtype=torch.float64, device="cpu")[1:-1]
    outputs: Tensor = probe(torch.special.ndtri(quantiles).repeat(choice.steps) * gain)
    mean = float(outputs.mean())
    dynamics = probe.dynamics
    decays = dynamics is not None and dynamics.decay_input
    charged = 1.0 - dynamics.retain if dynamics is not None and decays else 1.0
    return gain * probe.threshold / charged / (head_dim * mean**3)
