"""Spike2Former, the spiking segmenter (AAAI 2025)."""

from spikesight.models.spike2former.model import QueryReadout, Spike2Former
from spikesight.models.spike2former.output import Segmentation
from spikesight.models.spike2former.sizes import (
    ABLATIONS,
    MULTIPLICATION_FREE,
    OFFICIAL,
    Sizes,
)

__all__ = [
    "ABLATIONS",
    "MULTIPLICATION_FREE",
    "OFFICIAL",
    "QueryReadout",
    "Segmentation",
    "Sizes",
    "Spike2Former",
]
