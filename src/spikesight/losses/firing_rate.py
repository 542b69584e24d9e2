"""A price on firing."""

from __future__ import annotations

import torch
from torch import Tensor

from spikesight.losses.config import FiringRateConfig as FiringRateConfig
from spikesight.neurons.recording import (
    FiringRates as FiringRates,
    nonzero_share as nonzero_share,
    spiking_neurons as spiking_neurons,
)

recorded_firing_rates = FiringRates
"""Watches a model's neurons within a with block."""


def weighted_rate(rates: Tensor, costs: Tensor) -> Tensor:
    """Mean of the layers' rates, each weighted by what its counts cost.

    Args:
        rates: Firing rates or nonzero shares [L], one per layer.
        costs: What the counts of each layer cost if none is spared, [L], in any unit.

    Returns:
        A scalar; 0 where nothing costs anything.
    """
    return (rates * costs).sum() / costs.sum().clamp_min(torch.finfo(costs.dtype).tiny)


def cost_weighted_penalty(rates: Tensor, costs: Tensor, config: FiringRateConfig) -> Tensor:
    """Weighted amount by which `weighted_rate` exceeds the target.

    Above the target every operation has the same price, in whichever layer it is; below it all are
    free. So the target is reached and kept, by layers that need few of their counts most.

    Args:
        rates: Firing rates or nonzero shares [L], one per layer.
        costs: As of `weighted_rate`.
        config: Weight and target.

    Returns:
        A scalar.
    """
    return config.weight * (weighted_rate(rates, costs) - config.target).clamp_min(0.0)


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
