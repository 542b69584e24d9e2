"""Spike2Former, the spiking segmenter (AAAI 2025)."""

from spikesight.models.spike2former.model import Spike2Former
from spikesight.models.spike2former.sizes import (
    ABLATIONS,
    MULTIPLICATION_FREE,
    OFFICIAL,
    Sizes,
    Spike2FormerSizes,
)
from spikesight.presentation import QueryReadout
from spikesight.segmentation_outputs import Segmentation

__all__ = [
    "ABLATIONS",
    "MULTIPLICATION_FREE",
    "OFFICIAL",
    "QueryReadout",
    "Segmentation",
    "Sizes",
    "Spike2Former",
    "Spike2FormerSizes",
]
