"""Losses: classification with soft or hard targets, and the price of firing."""

from spikesight.losses.classification import build_classification_loss
from spikesight.losses.firing_rate import (
    FiringRateConfig,
    FiringRates,
    firing_rate_penalty,
    recorded_firing_rates,
    spiking_neurons,
)

__all__ = [
    "FiringRateConfig",
    "FiringRates",
    "build_classification_loss",
    "firing_rate_penalty",
    "recorded_firing_rates",
    "spiking_neurons",
]
