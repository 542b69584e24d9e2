"""Spike2Former, the spiking segmenter (AAAI 2025)."""

from spikesight.models.spike2former.model import Spike2Former as Spike2Former
from spikesight.models.spike2former.sizes import (
    ABLATIONS as ABLATIONS,
    MULTIPLICATION_FREE as MULTIPLICATION_FREE,
    OFFICIAL as OFFICIAL,
    Sizes as Sizes,
    Spike2FormerSizes as Spike2FormerSizes,
)
from spikesight.presentation import QueryReadout as QueryReadout
from spikesight.segmentation_outputs import Segmentation as Segmentation
