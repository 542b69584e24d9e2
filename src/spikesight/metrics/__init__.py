"""Metrics of segmentation: exact counts that add up over images and processes."""

from spikesight.metrics.panoptic import PanopticCounts, PanopticQuality, Quality
from spikesight.metrics.semantic import ConfusionMatrix

__all__ = ["ConfusionMatrix", "PanopticCounts", "PanopticQuality", "Quality"]
