"""Spiking neurons: the part of a model that turns currents into spikes and knows time."""

from spikesight.neurons.calibrated_i_lif import CalibratedILIF as CalibratedILIF
from spikesight.neurons.dynamics import (
    Dynamics as Dynamics,
    binary_spikes as binary_spikes,
    charge as charge,
    count as count,
    integrate as integrate,
    reset as reset,
)
from spikesight.neurons.i_lif import ILIF as ILIF
from spikesight.neurons.ie_lif import IELIF as IELIF
from spikesight.neurons.integer_lif import IntegerLIF as IntegerLIF
from spikesight.neurons.kernels import use_kernels as use_kernels
from spikesight.neurons.lif import LIF as LIF
from spikesight.neurons.neuron import Neuron as Neuron
from spikesight.neurons.ni_lif import NILIF as NILIF
from spikesight.neurons.presets import (
    ConfiguredNeuron as ConfiguredNeuron,
    create_neuron as create_neuron,
    list_neurons as list_neurons,
    register_neuron as register_neuron,
)
from spikesight.neurons.relu import ReLU as ReLU
from spikesight.neurons.sigmoid_neuron import SigmoidNeuron as SigmoidNeuron
from spikesight.neurons.streaming import run_with_state as run_with_state
from spikesight.neurons.surrogate import (
    Arctan as Arctan,
    Rectangular as Rectangular,
    Sigmoid as Sigmoid,
    StraightThrough as StraightThrough,
    Surrogate as Surrogate,
    find_surrogate as find_surrogate,
)
