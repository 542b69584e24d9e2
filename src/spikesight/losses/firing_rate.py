"""How often neurons fire, measured and differentiable."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from spikesight.losses.config import FiringRateConfig as FiringRateConfig
from spikesight.neurons import Neuron


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


class FiringRates:
    """Records the mean firing rate of every spiking neuron layer during forward passes.

    The rate of a layer is its mean output over unit * levels, hence the share of the largest
    possible number of spikes that was fired; it lies in [0, 1] for counts that cannot be negative.

    Args:
        model: Model whose neurons are watched.
        only_in_training: Whether to ignore neurons in evaluation mode.
    """

    def __init__(self, model: nn.Module, *, only_in_training: bool = False) -> None:
        self.names = list(spiking_neurons(model))
        self._only_in_training = only_in_training
        self._rates: list[Tensor] = []
        self._handles = [
            neuron.register_forward_hook(self._record) for neuron in spiking_neurons(model).values()
        ]

    def _record(self, neuron: nn.Module, inputs: object, output: Tensor) -> None:
        assert isinstance(neuron, Neuron)
        if self._only_in_training and not neuron.training:
            return
        self._rates.append(output.mean(dtype=torch.float32) / (neuron.unit * neuron.levels))

    def take(self) -> Tensor:
        """The rates recorded since the last call, and forgets them.

        Returns:
            One rate per call of a neuron, in the order of the calls; differentiable. Empty if no
            neuron fired or none is watched.
        """
        rates, self._rates = self._rates, []
        return torch.stack(rates) if rates else torch.zeros(0)

    def close(self) -> None:
        """Stops watching."""
        for handle in self._handles:
            handle.remove()


@contextmanager
def recorded_firing_rates(model: nn.Module) -> Iterator[FiringRates]:
    """Watches a model's neurons within a with block."""
    rates = FiringRates(model)
    try:
        yield rates
    finally:
        rates.close()


def firing_rate_penalty(rates: Tensor, config: FiringRateConfig) -> Tensor:
    """Weighted mean over the layers of the squared firing rate above the target.

    The square makes busy layers pay most, and its slope vanishes at the target, so that a layer
    is never driven into silence by this term.

    Args:
        rates: Firing rates [L], one per layer.
        config: Weight and target.

    Returns:
        A scalar; 0 if there are no layers.
    """
    if rates.numel() == 0:
        return rates.sum()
    return config.weight * (rates - config.target).clamp_min(0.0).square().mean()
