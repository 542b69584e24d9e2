from .attention_similarity import attention_similarity_loss, matching_layers
from .classification import build_classification_loss
from .config import DistillationConfig, FiringRateConfig
from .detection import DetectionLoss
from .distillation import (
    class_logits,
    hard_label_loss,
    soft_label_loss,
)
from .firing_rate import (
    FiringRates,
    cost_weighted_penalty,
    firing_rate_penalty,
    nonzero_share,
    recorded_firing_rates,
    spiking_neurons,
    weighted_rate,
)
from .pixels import PixelLoss
from .reconstruction import reconstruction_loss
from .segmentation import SegmentationLoss
from .segments import Segments

__all__ = [
    "DetectionLoss",
    "DistillationConfig",
    "FiringRateConfig",
    "FiringRates",
    "PixelLoss",
    "SegmentationLoss",
    "Segments",
    "attention_similarity_loss",
    "build_classification_loss",
    "class_logits",
    "cost_weighted_penalty",
    "firing_rate_penalty",
    "hard_label_loss",
    "matching_layers",
    "nonzero_share",
    "reconstruction_loss",
    "recorded_firing_rates",
    "soft_label_loss",
    "spiking_neurons",
    "weighted_rate",
]
