"""Spike2Former, the spiking segmenter (AAAI 2025)."""

from spikesight.models.spike2former.model import QueryReadout, Spike2Former
from spikesight.models.spike2former.output import Segmentation
from spikesight.models.spike2former.sizes import ABLATIONS, OFFICIAL, Sizes

__all__ = ["ABLATIONS", "OFFICIAL", "QueryReadout", "Segmentation", "Sizes", "Spike2Former"]
