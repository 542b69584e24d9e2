"""Which neurons a model is built from."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from spikesight.errors import UserError
from spikesight.neurons import ConfiguredNeuron, Neuron, create_neuron
from spikesight.neurons.presets import NeuronLike, arguments_of
from spikesight.parts import find_part

_ATTENTION_VARIANT: dict[NeuronLike, str] = {
    "lif": "sdt_attention",
    "qsd_classification": "qsd_classification_attention",
}
_HEAD_VARIANT: dict[NeuronLike, str] = {
    "espikeformer": "espikeformer_head",
    "espikeformer_large": "espikeformer_large_head",
}
_MASK_VARIANT: dict[NeuronLike, str] = {"spike2former": "spike2former_mask_embedding"}
_WITHOUT_LEVELS = ("lif", "relu", "sdt", "sdt_attention")


COUNTS_SHARE = 1 / 32
"""Share of the product of counts with which attention starts; benchmarks/attention_scale.py."""


_DECAYING_GAIN = 2.0


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
    """Builds every neuron of a model alike.

    Attributes:
        name: "lif", "i_lif", "ni_lif", "ie_lif", "relu" (the ANN twin), an authors' preset, or a
            neuron of the user's: its name, its class, a function that builds it, or a neuron.
        steps: Time steps T.
        levels: Largest count D per time step.
        arguments: What the neuron takes beside these, such as a threshold.
    """

    name: NeuronLike
    steps: int
    levels: int
    arguments: Mapping[str, Any] = field(default_factory=dict)

    @staticmethod
    def resolve(
        name: NeuronLike | ConfiguredNeuron | None,
        steps: int,
        levels: int | None,
        usual: str | None = None,
    ) -> NeuronChoice:
        """Fills in what the user left out.

        Without a name it is the usual one, or else one level means a binary LIF and more mean an
        I-LIF; without levels, integer neurons count to 4. LIF and ReLU have no levels to choose.
        """
        arguments: Mapping[str, Any] = {}
        if isinstance(name, ConfiguredNeuron):
            arguments = name.arguments
            name = name.neuron
        name = name or usual or ("lif" if levels == 1 else "i_lif")
        if name in _WITHOUT_LEVELS:
            own, chooses = 1, False
        elif isinstance(name, str) and find_part("neuron", name) is None:
            own, chooses = 4, True
        else:
            own = max(1, create_neuron(ConfiguredNeuron(name, arguments), steps).levels)
            chooses = (known := arguments_of(name)) is None or "levels" in known
        if not chooses and levels not in (None, own) and name != "relu":
            warnings.warn(
                f"neuron={name!r} is {'binary' if own == 1 else f'of {own} levels'}; "
                f"levels={levels} is ignored",
                stacklevel=3,
            )
        chosen = own if levels is None or not chooses else levels
        return NeuronChoice(name, steps, chosen, arguments)

    def build(self) -> Neuron:
        """An ordinary neuron."""
        return self._build(self.name)

    def probe(self) -> Neuron:
        """An ordinary neuron to look at, with values even where a model is built without."""
        with torch.device("cpu"):
            return self.build()

    def build_attention(self) -> Neuron:
        """The neuron after the attention product (SDT-V2: threshold 0.5 instead of 1)."""
        return self._build(_ATTENTION_VARIANT.get(self.name, self.name))

    def build_head(self) -> Neuron:
        """The neuron before a classifier (E-SpikeFormer's authors: counts themselves)."""
        return self._build(_HEAD_VARIANT.get(self.name, self.name))

    def build_mask_embedding(self) -> nn.Module:
        """A neuron of the mask embedding (official Spike2Former: counts worth 4 / D)."""
        return self._build(_MASK_VARIANT.get(self.name, self.name))

    def _build(self, name: NeuronLike) -> Neuron:
        return create_neuron(ConfiguredNeuron(name, self.arguments), self.steps, self.levels)


def starting_gain(choice: NeuronChoice) -> float:
    """Gain of normalisations with which neurons use their levels from the start.

    A LIF whose input decays sees a part of its current, which the gain makes up for.

    Args:
        choice: The neurons.

    Returns:
        Thresholds per standard deviation of a current.
    """
    probe = choice.probe()
    decays = probe.dynamics is not None and probe.dynamics.decay_input
    return _DECAYING_GAIN if decays else max(1.0, probe.levels / 4)


def summed_attention_scale(choice: NeuronChoice, gain: float) -> float:
    """A factor with which attention that sums over its keys starts neither silent nor full.

    A share of the product of counts, measured on 28-32 px images; it grows with the cube of the
    norms' gain, and its neuron should see a current of that gain. Of binary spikes the released
    0.125 serves.

    Args:
        choice: The neurons.
        gain: Of the normalisations.
    """
    probe = choice.probe()
    return 0.125 if probe.levels == 1 else COUNTS_SHARE / gain**2 / probe.unit**3


def mean_attention_scale(head_dim: int, choice: NeuronChoice, gain: float) -> float:
    """A factor with which attention that averages over its keys starts neither silent nor full.

    The mean over the keys of (q . k) v is a sum of head_dim products of three spikes.

    Args:
        head_dim: Channels per head.
        choice: The neurons.
        gain: Standard deviation of the currents of queries, keys and values.
    """
    return starting_scale(head_dim, 3, choice, gain)


@torch.no_grad()
def starting_scale(products: int, spikes: int, choice: NeuronChoice, gain: float) -> float:
    """A factor of a sum of products of spikes with which its neuron starts neither silent nor full.

    With independent spikes of mean r, the sum of n products of k is n * r^k; the factor takes it to
    the current that fires the neuron about once, times the gain.

    Args:
        products: How many products are summed, n.
        spikes: How many spikes are multiplied, k.
        choice: The neurons.
        gain: Standard deviation of the currents of those who spike.
    """
    probe = choice.probe()
    quantiles = torch.linspace(0, 1, 1025, dtype=torch.float64, device="cpu")[1:-1]
    outputs: Tensor = probe(torch.special.ndtri(quantiles).repeat(choice.steps) * gain)
    mean = float(outputs.mean())
    if not mean > 0:
        raise UserError(
            f"neuron={choice.name!r} never fires at currents of standard deviation {gain}, so no "
            "attention_scale suits it; pass a lower threshold in neuron_arguments, or "
            "attention_scale"
        )
    dynamics = probe.dynamics
    decays = dynamics is not None and dynamics.decay_input
    charged = 1.0 - dynamics.retain if dynamics is not None and decays else 1.0
    return gain * probe.threshold / charged / (products * mean**spikes)
