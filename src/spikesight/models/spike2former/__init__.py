"""Spike2Former, the spiking segmenter (Spike2Former, AAAI 2025)."""

from spikesight.models.spike2former.output import Segmentation

__all__ = ["Segmentation"]
