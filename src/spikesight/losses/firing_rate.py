"""A price on firing."""

from __future__ import annotations

from torch import Tensor

from spikesight.losses.config import FiringRateConfig as FiringRateConfig
from spikesight.neurons.recording import (
    FiringRates as FiringRates,
    spiking_neurons as spiking_neurons,
)

recorded_firing_rates = FiringRates
"""Watches a model's neurons within a with block."""


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
