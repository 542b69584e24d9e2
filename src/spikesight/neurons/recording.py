"""What the neurons of a model emit while it runs."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Self

import torch
from torch import Tensor, nn

from spikesight.neurons.neuron import Neuron

Note = Callable[[str, Neuron, Tensor], None]


def spiking_neurons(model: nn.Module) -> dict[str, Neuron]:
    """The neurons of a model that emit counts, by name.

    Args:
        model: Any module.

    Returns:
        Names as in `named_modules`, in the model's order; analog ReLU twins are left out.
    """
    return {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, Neuron) and module.levels > 0
    }


def firing_rate(neuron: Neuron, output: Tensor) -> Tensor:
    """The share of the largest possible number of spikes that was fired.

    Args:
        neuron: A spiking neuron.
        output: What it emitted.

    Returns:
        The mean output over unit * levels, a float32 scalar; in [0, 1] for counts that cannot be
        negative.
    """
    return output.mean(dtype=torch.float32) / (neuron.unit * neuron.levels)


class NeuronRecorder:
    """Tells what every spiking neuron emits, until it is closed or its with block ends.

    Args:
        model: Model whose neurons are watched.
        note: Called with name, neuron and output at each call of a neuron.

    Attributes:
        names: The neurons.
    """

    def __init__(self, model: nn.Module, note: Note) -> None:
        neurons = spiking_neurons(model)
        self.names = list(neurons)
        self._handles = [
            neuron.register_forward_hook(partial(_tell, note, name))
            for name, neuron in neurons.items()
        ]

    def close(self) -> None:
        """Stops watching."""
        for handle in self._handles:
            handle.remove()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def _tell(note: Note, name: str, neuron: nn.Module, inputs: object, output: Tensor) -> None:
    assert isinstance(neuron, Neuron)
    note(name, neuron, output)


class FiringRates(NeuronRecorder):
    """Records the firing rate of every spiking neuron layer during forward passes.

    Args:
        model: Model whose neurons are watched.
        only_in_training: Whether to ignore neurons in evaluation mode.
    """

    def __init__(self, model: nn.Module, *, only_in_training: bool = False) -> None:
        super().__init__(model, self._record)
        self._only_in_training = only_in_training
        self._rates: list[Tensor] = []

    def _record(self, _: str, neuron: Neuron, output: Tensor) -> None:
        if neuron.training or not self._only_in_training:
            self._rates.append(firing_rate(neuron, output))

    def take(self) -> Tensor:
        """The rates recorded since the last call, and forgets them.

        Returns:
            One rate per call of a neuron, in the order of the calls; differentiable. Empty if no
            neuron fired or none is watched.
        """
        rates, self._rates = self._rates, []
        return torch.stack(rates) if rates else torch.zeros(0)
