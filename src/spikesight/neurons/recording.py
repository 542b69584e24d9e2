"""What the neurons of a model emit while it runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
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


def nonzero_share(neuron: Neuron, output: Tensor) -> Tensor:
    """The share of counts that are not zero.

    It is a step function of the counts, so its gradient is that of the capped L1 norm min(n, c) / c
    with c = D / 4, at least 1, through the neuron's own surrogate: counts up to the cap, which
    could be 0, are pushed down alike, and higher ones, which tell the most, are let be.

    Args:
        neuron: A spiking neuron.
        output: What it emitted, counts that cannot be negative.

    Returns:
        A float32 scalar in [0, 1]; differentiable.
    """
    cap = neuron.unit * max(1.0, neuron.levels / 4)
    capped = torch.where(output > cap, cap, output).mean(dtype=torch.float32) / cap
    share = output.detach().ne(0).mean(dtype=torch.float32)
    return capped + (share - capped).detach()


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


@dataclass(frozen=True)
class Firing:
    """What one call of a neuron emitted.

    Attributes:
        name: The neuron.
        share: Its firing rate, or what else was measured; a differentiable scalar.
        samples: Inputs times time steps.
    """

    name: str
    share: Tensor
    samples: int


class FiringRates(NeuronRecorder):
    """Records the firing rate of every spiking neuron layer during forward passes.

    Args:
        model: Model whose neurons are watched.
        only_in_training: Whether to ignore neurons in evaluation mode.
        measure: What is recorded of a neuron's output: `firing_rate` or `nonzero_share`.
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        only_in_training: bool = False,
        measure: Callable[[Neuron, Tensor], Tensor] = firing_rate,
    ) -> None:
        super().__init__(model, self._record)
        self._only_in_training = only_in_training
        self._measure = measure
        self._calls: list[Firing] = []

    def _record(self, name: str, neuron: Neuron, output: Tensor) -> None:
        if neuron.training or not self._only_in_training:
            self._calls.append(Firing(name, self._measure(neuron, output), len(output)))

    def take_calls(self) -> list[Firing]:
        """The calls of neurons since the last time, first to last, and forgets them."""
        calls, self._calls = self._calls, []
        return calls

    def take(self) -> Tensor:
        """The rates recorded since the last call, and forgets them.

        Returns:
            One rate per call of a neuron, in the order of the calls; differentiable. Empty if no
            neuron fired or none is watched.
        """
        return rates_of(self.take_calls())


def rates_of(calls: list[Firing]) -> Tensor:
    """The share of each call [L]."""
    return torch.stack([call.share for call in calls]) if calls else torch.zeros(0)
