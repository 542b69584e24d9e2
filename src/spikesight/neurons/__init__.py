"""Spiking neurons: the part of a model that turns currents into spikes and knows time."""

from spikesight.neurons.dynamics import Dynamics, binary_spikes, charge, count, integrate, reset
from spikesight.neurons.i_lif import ILIF
from spikesight.neurons.ie_lif import IELIF
from spikesight.neurons.integer_lif import IntegerLIF
from spikesight.neurons.kernels import use_kernels
from spikesight.neurons.lif import LIF
from spikesight.neurons.neuron import Neuron
from spikesight.neurons.ni_lif import NILIF
from spikesight.neurons.presets import (
    ConfiguredNeuron,
    create_neuron,
    list_neurons,
    register_neuron,
)
from spikesight.neurons.relu import ReLU
from spikesight.neurons.sigmoid_neuron import SigmoidNeuron
from spikesight.neurons.streaming import run_with_state
from spikesight.neurons.surrogate import (
    Arctan,
    Rectangular,
    Sigmoid,
    StraightThrough,
    Surrogate,
    find_surrogate,
)

__all__ = [
    "IELIF",
    "ILIF",
    "LIF",
    "NILIF",
    "Arctan",
    "ConfiguredNeuron",
    "Dynamics",
    "IntegerLIF",
    "Neuron",
    "ReLU",
    "Rectangular",
    "Sigmoid",
    "SigmoidNeuron",
    "StraightThrough",
    "Surrogate",
    "binary_spikes",
    "charge",
    "count",
    "create_neuron",
    "find_surrogate",
    "integrate",
    "list_neurons",
    "register_neuron",
    "reset",
    "run_with_state",
    "use_kernels",
]
