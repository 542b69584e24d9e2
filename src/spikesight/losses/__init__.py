"""Losses: classification, segmentation, masked images, distillation, the price of firing."""

from spikesight.losses.attention_similarity import attention_similarity_loss, matching_layers
from spikesight.losses.classification import build_classification_loss
from spikesight.losses.distillation import (
    DistillationConfig,
    hard_label_loss,
    soft_label_loss,
)
from spikesight.losses.firing_rate import (
    FiringRateConfig,
    FiringRates,
    firing_rate_penalty,
    recorded_firing_rates,
    spiking_neurons,
)
from spikesight.losses.pixels import PixelLoss
from spikesight.losses.reconstruction import reconstruction_loss
from spikesight.losses.segmentation import SegmentationLoss
from spikesight.losses.segments import Segments

__all__ = [
    "DistillationConfig",
    "FiringRateConfig",
    "FiringRates",
    "PixelLoss",
    "SegmentationLoss",
    "Segments",
    "attention_similarity_loss",
    "build_classification_loss",
    "firing_rate_penalty",
    "hard_label_loss",
    "matching_layers",
    "reconstruction_loss",
    "recorded_firing_rates",
    "soft_label_loss",
    "spiking_neurons",
]
